//! Writes a figure as SVG, PDF and PNG, and its caption as text and for LaTeX.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use krilla::Document;
use krilla::geom::Size;
use krilla::metadata::Metadata;
use krilla::page::PageSettings;
use krilla_svg::{SurfaceExt, SvgSettings};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::description::Description;
use super::draw::{Surroundings, render_svg};
use super::theme;
use crate::file::write;
use crate::{Error, latex};

/// Draws `figure` into `folder` and returns the paths of five files. The same description gives the same bytes.
///
/// - `NAME.svg` and `NAME.png` contain title and caption.
/// - `NAME.pdf` contains neither: a document typesets them from `NAME.caption.tex`.
/// - `NAME.caption.tex` and `NAME.caption.txt` contain the caption.
///
/// # Errors
/// If the figure cannot be drawn, or a file cannot be written.
pub fn save(figure: &Description, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let draw = |surroundings| render_svg(figure, surroundings).map_err(|error| wrong(error.to_string()));
    let full = draw(Surroundings::All)?;
    let (pixels, page) = rayon::join(
        || png(&full).map_err(wrong),
        || draw(Surroundings::LegendOnly).and_then(|bare| pdf(&bare, &figure.title).map_err(wrong)),
    );
    let files = [
        ("svg", with_print_size(&full).into_bytes()),
        ("pdf", page?),
        ("png", pixels?),
        ("caption.txt", format!("{}\n", figure.caption).into_bytes()),
        ("caption.tex", latex_caption(figure).into_bytes()),
    ];
    let save = |(end, bytes): (&str, Vec<u8>)| {
        let path = folder.join(format!("{}.{end}", figure.name));
        write(&path, &bytes)?;
        Ok(path)
    };
    files.into_iter().map(save).collect()
}

/// The text of `NAME.caption.tex`: the title as the first sentence, then the caption.
/// Use it as `\caption[Short title]{\input{NAME.caption.tex}}`; the short title is needed because LaTeX cannot read a
/// file into the list of figures. The text ends in a comment, so that the end of the file adds no space.
fn latex_caption(figure: &Description) -> String {
    let title = figure.title.trim().trim_end_matches('.');
    let title = if title.is_empty() { String::new() } else { format!("{title}. ") };
    // No line break before a percent sign or within `n = 30`.
    let text = latex::escape(&format!("{title}{}", figure.caption)).replace(" \\%", "~\\%").replace(" n = ", " n~=~");
    format!("{text}%\n")
}

/// The figure as an `<svg>` element for a page that shows title and caption itself.
/// All ids begin with `prefix`, so that the figures of a page do not share an id.
///
/// # Errors
/// If the figure cannot be drawn.
pub(crate) fn inline_svg(figure: &Description, prefix: &str) -> Result<String, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let svg = with_print_size(&render_svg(figure, Surroundings::LegendOnly).map_err(|error| wrong(error.to_string()))?);
    let at = svg.find("<svg").ok_or_else(|| wrong("the drawing has no <svg> element".to_owned()))?;
    let mut out = svg[at..].to_owned();
    for before in [" id=\"", "url(#", "href=\"#"] {
        out = out.replace(before, &format!("{before}{prefix}-"));
    }
    Ok(out.replacen("<svg", &format!("<svg role=\"img\" aria-labelledby=\"{prefix}-caption\""), 1))
}

/// Sets the printed size of the SVG in inches, and adds fallback fonts for browsers.
fn with_print_size(svg: &str) -> String {
    let (width, height) = svg_size(svg);
    let inches = |units: f64| units / theme::UNITS_PER_INCH;
    svg.replacen(&format!("width=\"{width}\""), &format!("width=\"{:.4}in\"", inches(width)), 1)
        .replacen(&format!("height=\"{height}\""), &format!("height=\"{:.4}in\"", inches(height)), 1)
        .replace(&format!("font-family=\"{}\"", theme::FONT), &format!("font-family=\"{}\"", theme::FONT_FALLBACK))
}

/// Width and height in canvas units, from the attributes that plotters wrote; 1 if an attribute is missing.
fn svg_size(svg: &str) -> (f64, f64) {
    let number = |name: &str| {
        let rest = svg.split(&format!("{name}=\"")).nth(1)?;
        rest.split('"').next()?.parse().ok()
    };
    (number("width").unwrap_or(1.0), number("height").unwrap_or(1.0))
}

/// Parses the SVG with the embedded fonts only, so that the output does not depend on the fonts of the machine.
fn parse_svg(svg: &str) -> Result<Tree, String> {
    static FONTS: LazyLock<Arc<fontdb::Database>> = LazyLock::new(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(theme::REGULAR.to_vec());
        fonts.load_font_data(theme::BOLD.to_vec());
        Arc::new(fonts)
    });
    let options = Options { fontdb: FONTS.clone(), font_family: theme::FONT.into(), ..Options::default() };
    Tree::from_str(svg, &options).map_err(|error| error.to_string())
}

fn png(svg: &str) -> Result<Vec<u8>, String> {
    let tree = parse_svg(svg)?;
    let scale = (theme::PNG_DPI / theme::UNITS_PER_INCH) as f32;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32).ok_or("the figure has no size")?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

/// A one-page PDF of the printed size with an embedded font subset. It contains no date, so that it is reproducible.
fn pdf(svg: &str, title: &str) -> Result<Vec<u8>, String> {
    let tree = parse_svg(svg)?;
    // Rounded to hundredths: 7.2 inches are 518.4 points, not 518.39996.
    let points = |units: f32| ((f64::from(units) * 7200.0 / theme::UNITS_PER_INCH).round() / 100.0) as f32;
    let size = Size::from_wh(points(tree.size().width()), points(tree.size().height()));
    let size = size.ok_or("the figure has no size")?;
    let mut document = Document::new();
    let mut metadata = Metadata::new().creator("microbench".to_owned());
    if !title.is_empty() {
        metadata = metadata.title(title.to_owned());
    }
    document.set_metadata(metadata);
    let mut page = document.start_page_with(PageSettings::new(size));
    let mut surface = page.surface();
    surface.draw_svg(&tree, size, SvgSettings::default()).ok_or("the figure cannot be drawn as PDF")?;
    surface.finish();
    page.finish();
    document.finish().map_err(|error| format!("{error:?}"))
}
