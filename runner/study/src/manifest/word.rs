//! Enums whose values a manifest names by a word.

/// An enum of words: each value has the name that plans and manifests write.
pub(super) trait Word: Copy + Into<&'static str> + strum::VariantArray {
    /// The value's word.
    fn name(self) -> &'static str {
        self.into()
    }
}

impl<T: Copy + Into<&'static str> + strum::VariantArray> Word for T {}

/// The words of an enum, in its order.
pub(super) fn names<T: Word>() -> impl Iterator<Item = &'static str> + Clone {
    T::VARIANTS.iter().map(|value| T::name(*value))
}
