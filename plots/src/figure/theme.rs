//! Sizes, colours and the font of every figure.

use plotters::style::{FontStyle, RGBColor, register_font};

use crate::record::{Column, Theme};

/// Canvas units for one inch: fine enough that plotters' rounding to whole units does not show.
pub const UNITS_PER_INCH: f64 = 600.0;
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
/// Areas without a meaning of their own.
pub const PALE: RGBColor = RGBColor(0xf2, 0xf5, 0xf8);
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

/// Colours of the 2019 paper's charts: matplotlib's cycle since version 2.
const PAPER_PALETTE: [RGBColor; 7] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
];

/// A theme at a width: sizes and colours.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// As the 2019 paper printed.
    pub paper: bool,
    /// Width of the figure, inches.
    pub width_inches: f64,
    /// Height of the plotting area, inches.
    pub plot_inches: f64,
}

impl Look {
    /// The sizes of a theme at a width. The paper's charts have matplotlib's 6.4 by 4.8 inches at any width.
    #[must_use]
    pub fn of(theme: Theme, column: Column) -> Self {
        match (theme, column) {
            (Theme::Paper, _) => Self { paper: true, width_inches: 6.4, plot_inches: 3.7 },
            (Theme::Publication, Column::Single) => Self { paper: false, width_inches: 3.5, plot_inches: 1.9 },
            (Theme::Publication, Column::Double) => Self { paper: false, width_inches: 7.2, plot_inches: 2.2 },
        }
    }

    /// Colour of the n-th group.
    #[must_use]
    pub fn colour(self, group: usize) -> RGBColor {
        let palette = if self.paper { PAPER_PALETTE } else { PALETTE };
        palette[group % palette.len()]
    }

    /// Colour of the area of a bar in layer `n` of `of`: opaque, so that no grid line shows through. The paper's bars were half
    /// transparent, one over the other.
    #[must_use]
    pub fn area(self, colour: RGBColor, (n, of): (usize, usize)) -> RGBColor {
        let share = match (self.paper, of) {
            (true, _) => 1.0 - 0.5_f64.powi(i32::try_from(n).unwrap_or(0) + 1),
            (false, 0 | 1) => 0.75,
            (false, _) => 0.3 + 0.55 * n as f64 / (of - 1) as f64,
        };
        let mix = |part: u8| (255.0 - share * (255.0 - f64::from(part))).round() as u8;
        RGBColor(mix(colour.0), mix(colour.1), mix(colour.2))
    }
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
