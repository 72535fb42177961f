//! Enums whose values manifests and plans write by name.

/// An enum whose values have names in manifests and plans.
pub(super) trait Choice: Copy + Into<&'static str> + strum::VariantArray {
    fn name(self) -> &'static str {
        self.into()
    }
}

impl<T: Copy + Into<&'static str> + strum::VariantArray> Choice for T {}

/// The names of all values, in the order of the enum.
pub(super) fn names<T: Choice>() -> impl Iterator<Item = &'static str> + Clone {
    T::VARIANTS.iter().map(|value| T::name(*value))
}
