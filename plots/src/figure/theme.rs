//! Sizes, colours and the font of every figure.

use plotters::style::{FontStyle, RGBColor, register_font};

/// Canvas units for one inch: fine enough that plotters' rounding to whole units does not show.
pub const UNITS_PER_INCH: f64 = 600.0;
/// Width of a figure over two columns, inches.
pub const WIDTH_INCHES: f64 = 7.2;
/// Pixels for one inch of a PNG.
pub const PNG_DPI: f64 = 200.0;

/// Family name of the font that the figures carry (SIL Open Font License; see fonts/).
pub const FONT: &str = "Inter";
/// What a browser takes where it has no such font.
pub const FONT_FALLBACK: &str = "Inter, Helvetica, Arial, sans-serif";

/// Regular weight.
pub const REGULAR: &[u8] = include_bytes!("../../fonts/Inter-400.ttf");
/// Semi-bold weight.
pub const BOLD: &[u8] = include_bytes!("../../fonts/Inter-600.ttf");

/// Text.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Axes and captions.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Grid lines.
pub const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Marks of what is missing.
pub const ALARM: RGBColor = RGBColor(0xb0, 0x30, 0x00);

/// Group colours: M. Okabe & K. Ito, Color Universal Design (2008), ordered so that neighbours differ in grey too.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xf0, 0xe4, 0x42),
];

/// Colour of the n-th group.
#[must_use]
pub fn colour(group: usize) -> RGBColor {
    PALETTE[group % PALETTE.len()]
}

/// The colour of an area: three quarters of `colour` on white, opaque, so that no grid line shows through.
#[must_use]
pub fn fill(colour: RGBColor) -> RGBColor {
    let lighten = |part: u8| u8::MAX - ((u16::from(u8::MAX - part) * 3) / 4) as u8;
    RGBColor(lighten(colour.0), lighten(colour.1), lighten(colour.2))
}

/// Points (1/72 inch) in canvas units.
#[must_use]
pub fn points(size: f64) -> i32 {
    (size / 72.0 * UNITS_PER_INCH).round() as i32
}

/// Makes the font known to plotters; again is no harm.
pub fn register() {
    // Both return an error only for a font that does not parse; the files are in the program.
    let _ = register_font(FONT, FontStyle::Normal, REGULAR);
    let _ = register_font(FONT, FontStyle::Bold, BOLD);
}
