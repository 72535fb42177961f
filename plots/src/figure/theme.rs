//! Sizes, colours and the font of all figures.

use std::sync::Once;

use microbench_formats::figure::{Column, Theme};
use plotters::style::{FontStyle, RGBColor, register_font};

use super::hatch::{DASHES, Hatch};

/// Canvas units per inch. plotters rounds to whole units; at this resolution the rounding is invisible.
pub const UNITS_PER_INCH: f64 = 600.0;
/// Pixels per inch of a PNG.
pub const PNG_DPI: f64 = 200.0;

/// Family name of the embedded font (SIL Open Font License; see `fonts/`).
pub const FONT: &str = "Inter";
/// Font list for browsers that do not have the embedded font.
pub const FONT_FALLBACK: &str = "Inter, Helvetica, Arial, sans-serif";

/// Regular weight.
pub const REGULAR: &[u8] = include_bytes!("../../fonts/Inter-400.ttf");
/// Semi-bold weight.
pub const BOLD: &[u8] = include_bytes!("../../fonts/Inter-600.ttf");

pub const WHITE: RGBColor = RGBColor(0xff, 0xff, 0xff);
/// Colour of text and axes.
pub const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// Colour of captions and secondary text.
pub const FAINT: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Colour of grid lines.
pub const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
/// Fill of areas that encode no data.
pub const PALE: RGBColor = RGBColor(0xf2, 0xf5, 0xf8);
/// Colour of missing values and their notes.
pub const ALARM: RGBColor = RGBColor(0xb0, 0x30, 0x00);

/// Group colours: M. Okabe & K. Ito, Color Universal Design (2008), ordered so that neighbours also differ in
/// greyscale.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0xf0, 0xe4, 0x42),
];

/// Colours of the charts of the 2019 paper: matplotlib's default cycle since version 2.
const PAPER_PALETTE: [RGBColor; 7] = [
    RGBColor(0x1f, 0x77, 0xb4),
    RGBColor(0xff, 0x7f, 0x0e),
    RGBColor(0x2c, 0xa0, 0x2c),
    RGBColor(0xd6, 0x27, 0x28),
    RGBColor(0x94, 0x67, 0xbd),
    RGBColor(0x8c, 0x56, 0x4b),
    RGBColor(0xe3, 0x77, 0xc2),
];

/// Sizes and colours of a theme at a column width.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// Whether the figure imitates the charts of the 2019 paper.
    pub paper: bool,
    /// Width of the figure in inches.
    pub width_inches: f64,
    /// Height of the plotting area in inches.
    pub plot_inches: f64,
}

impl Style {
    /// The paper's theme has matplotlib's size, 6.4 by 4.8 inches, for both column widths.
    #[must_use]
    pub fn new(theme: Theme, column: Column) -> Self {
        match (theme, column) {
            (Theme::Paper, _) => Self { paper: true, width_inches: 6.4, plot_inches: 3.7 },
            (Theme::Publication, Column::Single) => Self { paper: false, width_inches: 3.5, plot_inches: 1.9 },
            (Theme::Publication, Column::Double) => Self { paper: false, width_inches: 7.2, plot_inches: 2.2 },
        }
    }

    /// Colour of a group; colours repeat after seven groups.
    #[must_use]
    pub fn colour(self, group: usize) -> RGBColor {
        let palette = if self.paper { PAPER_PALETTE } else { PALETTE };
        palette[group % palette.len()]
    }

    /// Hatching of a group's areas. There are six patterns and seven colours, so that 42 groups differ in one of them.
    /// The paper's theme has no hatching.
    #[must_use]
    pub fn hatch(self, group: usize) -> Hatch {
        if self.paper { Hatch::Plain } else { Hatch::ALL[group % Hatch::ALL.len()] }
    }

    /// Dash lengths of a group's line in points; empty for a solid line.
    #[must_use]
    pub fn dash(self, group: usize) -> &'static [f64] {
        if self.paper { DASHES[0] } else { DASHES[group % DASHES.len()] }
    }

    /// Fill colour of a bar in layer `n` of `of`. It is opaque, so that grid lines do not show through.
    /// The shades of the paper's theme imitate bars of 50 % opacity on top of one another.
    #[must_use]
    pub fn area(self, colour: RGBColor, (n, of): (usize, usize)) -> RGBColor {
        let share = match (self.paper, of) {
            (true, _) => 1.0 - 0.5_f64.powi(i32::try_from(n).unwrap_or(0) + 1),
            (false, 0 | 1) => 0.7,
            (false, _) => 0.3 + 0.55 * n as f64 / (of - 1) as f64,
        };
        mix(colour, WHITE, share)
    }

    /// Colour of the hatching of an area, which is darker than the area and its outline.
    #[must_use]
    pub fn stroke(self, colour: RGBColor) -> RGBColor {
        mix(colour, RGBColor(0, 0, 0), 0.55)
    }
}

/// Mixes `share` (0 to 1) of `colour` with the rest of `other`.
#[must_use]
pub fn mix(colour: RGBColor, other: RGBColor, share: f64) -> RGBColor {
    let mix = |a: u8, b: u8| (share * f64::from(a) + (1.0 - share) * f64::from(b)).round() as u8;
    RGBColor(mix(colour.0, other.0), mix(colour.1, other.1), mix(colour.2, other.2))
}

/// Relative luminance of a colour, from 0 (black) to 1 (white): Web Content Accessibility Guidelines 2.2, after
/// IEC 61966-2-1. It predicts how a colour looks in greyscale print.
#[must_use]
pub fn luminance(colour: RGBColor) -> f64 {
    let linear = |part: u8| {
        let part = f64::from(part) / 255.0;
        if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * linear(colour.0) + 0.7152 * linear(colour.1) + 0.0722 * linear(colour.2)
}

/// Converts points (1/72 inch) to canvas units.
#[must_use]
pub fn points(size: f64) -> i32 {
    (size / 72.0 * UNITS_PER_INCH).round() as i32
}

/// Registers the embedded fonts with plotters. Later calls do nothing.
pub fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // Registration fails only for a font that does not parse, and these are embedded.
        let _ = register_font(FONT, FontStyle::Normal, REGULAR);
        let _ = register_font(FONT, FontStyle::Bold, BOLD);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Contrast of two luminances, from 1 (none) to 21 (black on white): Web Content Accessibility Guidelines 2.2.
    fn contrast(a: RGBColor, b: RGBColor) -> f64 {
        let (a, b) = (luminance(a), luminance(b));
        (a.max(b) + 0.05) / (a.min(b) + 0.05)
    }

    #[test]
    fn groups_differ_in_hatch_or_in_greyscale() {
        let style = Style::new(Theme::Publication, Column::Single);
        for a in 0..42 {
            for b in 0..a {
                let same = style.hatch(a) == style.hatch(b) && style.colour(a) == style.colour(b);
                assert!(!same, "{b} and {a} style the same");
            }
        }
        // Without colour, the first six groups differ in hatch.
        for a in 0..6 {
            for b in 0..a {
                assert!(style.hatch(a) != style.hatch(b), "{b} and {a} have the same hatch");
                assert!(a > 4 || style.dash(a) != style.dash(b), "{b} and {a} have the same dash");
            }
            let (area, next) = (style.area(style.colour(a), (0, 1)), style.area(style.colour(a + 1), (0, 1)));
            assert!(style.hatch(a) != style.hatch(a + 1) || contrast(area, next) > 1.3, "{a}");
        }
    }

    #[test]
    fn hatching_and_text_contrast_with_their_background() {
        let style = Style::new(Theme::Publication, Column::Single);
        for group in 0..7 {
            let area = style.area(style.colour(group), (0, 1));
            assert!(contrast(style.stroke(style.colour(group)), area) > 2.0, "{group}");
        }
        assert!(contrast(INK, WHITE) > 7.0 && contrast(ALARM, WHITE) > 4.5 && contrast(FAINT, WHITE) > 4.5);
        assert!((luminance(WHITE) - 1.0).abs() < 1e-9 && luminance(RGBColor(0, 0, 0)) == 0.0);
    }
}
