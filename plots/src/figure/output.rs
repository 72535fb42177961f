//! Figures as files: SVG, PNG and the caption as text.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::description::Description;
use super::theme;
use crate::Error;
use crate::file::write;

/// Draws `figure` into `folder`; returns the files. The same description gives the same bytes.
///
/// # Errors
/// When it cannot be drawn or a file cannot be written.
pub fn save(figure: &Description, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let svg = super::draw::svg(figure).map_err(|error| wrong(error.to_string()))?;
    let png = png(&svg).map_err(wrong)?;
    let path = |end: &str| folder.join(format!("{}.{end}", figure.name));
    let files = [path("svg"), path("png"), path("caption.txt")];
    write(&files[0], physical(&svg).as_bytes())?;
    write(&files[1], &png)?;
    write(&files[2], format!("{}\n", figure.caption).as_bytes())?;
    Ok(files.into())
}

/// Gives the SVG its printed size, and browsers other fonts to fall back on.
fn physical(svg: &str) -> String {
    let (width, height) = size(svg);
    let inches = |units: f64| units / theme::UNITS_PER_INCH;
    svg.replacen(&format!("width=\"{width}\""), &format!("width=\"{:.4}in\"", inches(width)), 1)
        .replacen(&format!("height=\"{height}\""), &format!("height=\"{:.4}in\"", inches(height)), 1)
        .replace(&format!("font-family=\"{}\"", theme::FONT), &format!("font-family=\"{}\"", theme::FONT_FALLBACK))
}

/// Width and height in canvas units, as plotters wrote them.
fn size(svg: &str) -> (f64, f64) {
    let number = |name: &str| {
        let rest = svg.split(&format!("{name}=\"")).nth(1)?;
        rest.split('"').next()?.parse().ok()
    };
    (number("width").unwrap_or(1.0), number("height").unwrap_or(1.0))
}

/// The picture as PNG, with the font that the program carries and none of the machine's.
fn png(svg: &str) -> Result<Vec<u8>, String> {
    let mut fonts = fontdb::Database::new();
    fonts.load_font_data(theme::REGULAR.to_vec());
    fonts.load_font_data(theme::BOLD.to_vec());
    let options = Options { fontdb: Arc::new(fonts), font_family: theme::FONT.into(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|error| error.to_string())?;
    let scale = (theme::PNG_DPI / theme::UNITS_PER_INCH) as f32;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32).ok_or("the picture has no size")?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}
