//! Figures as files: SVG, PDF, PNG, and the caption as text and for LaTeX.

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
use super::draw::{Sides, svg};
use super::theme;
use crate::file::write;
use crate::{Error, latex};

/// Draws `figure` into `folder`; returns the files: `NAME.svg` and `NAME.png` to be read by themselves, with title and caption in
/// the picture; `NAME.pdf` without either, for a document that sets them itself from `NAME.caption.tex`; and
/// `NAME.caption.txt`. The same description gives the same bytes.
///
/// # Errors
/// When it cannot be drawn or a file cannot be written.
pub fn save(figure: &Description, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let draw = |sides| svg(figure, sides).map_err(|error| wrong(error.to_string()));
    let whole = draw(Sides::All)?;
    let (pixels, page) = rayon::join(
        || png(&whole).map_err(wrong),
        || draw(Sides::Legend).and_then(|bare| pdf(&bare, &figure.title).map_err(wrong)),
    );
    let files = [
        ("svg", physical(&whole).into_bytes()),
        ("pdf", page?),
        ("png", pixels?),
        ("caption.txt", format!("{}\n", figure.caption).into_bytes()),
        ("caption.tex", caption(figure).into_bytes()),
    ];
    let save = |(end, bytes): (&str, Vec<u8>)| {
        let path = folder.join(format!("{}.{end}", figure.name));
        write(&path, &bytes)?;
        Ok(path)
    };
    files.into_iter().map(save).collect()
}

/// What goes into `\caption[In the list of figures]{\input{NAME.caption.tex}}` (LaTeX reads no file into that list, hence the
/// words of its own): the title as the first sentence, then the caption. It ends in a comment, so that the file's end adds no space.
fn caption(figure: &Description) -> String {
    let title = figure.title.trim().trim_end_matches('.');
    let title = if title.is_empty() { String::new() } else { format!("{title}. ") };
    // A line breaks neither before a percent sign nor in `n = 30`.
    let text = latex::escape(&format!("{title}{}", figure.caption)).replace(" \\%", "~\\%").replace(" n = ", " n~=~");
    format!("{text}%\n")
}

/// The picture as an element for a page that sets title and caption itself: no declaration, no size but its proportions, ids that
/// begin with `prefix`, so that no two pictures of a page share one.
///
/// # Errors
/// When it cannot be drawn.
pub(crate) fn element(figure: &Description, prefix: &str) -> Result<String, Error> {
    let wrong = |problem: String| Error::Figure { name: figure.name.clone(), problem };
    let whole = physical(&svg(figure, Sides::Legend).map_err(|error| wrong(error.to_string()))?);
    let at = whole.find("<svg").ok_or_else(|| wrong("it is no picture".to_owned()))?;
    let mut out = whole[at..].to_owned();
    for before in [" id=\"", "url(#", "href=\"#"] {
        out = out.replace(before, &format!("{before}{prefix}-"));
    }
    Ok(out.replacen("<svg", &format!("<svg role=\"img\" aria-labelledby=\"{prefix}-caption\""), 1))
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

/// The picture with the font that the program carries and none of the machine's.
fn tree(svg: &str) -> Result<Tree, String> {
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
    let tree = tree(svg)?;
    let scale = (theme::PNG_DPI / theme::UNITS_PER_INCH) as f32;
    let (width, height) = (tree.size().width() * scale, tree.size().height() * scale);
    let mut pixels = Pixmap::new(width.ceil() as u32, height.ceil() as u32).ok_or("the picture has no size")?;
    resvg::render(&tree, Transform::from_scale(scale, scale), &mut pixels.as_mut());
    pixels.encode_png().map_err(|error| error.to_string())
}

/// One page of the printed size; text is text in the embedded part of the font. It holds no date, so that it is the same whenever it
/// is made.
fn pdf(svg: &str, title: &str) -> Result<Vec<u8>, String> {
    let tree = tree(svg)?;
    // Whole hundredths, so that 7.2 inches are 518.4 points and not 518.39996.
    let points = |units: f32| ((f64::from(units) * 7200.0 / theme::UNITS_PER_INCH).round() / 100.0) as f32;
    let size = Size::from_wh(points(tree.size().width()), points(tree.size().height()));
    let size = size.ok_or("the picture has no size")?;
    let mut document = Document::new();
    let mut metadata = Metadata::new().creator("microbench".to_owned());
    if !title.is_empty() {
        metadata = metadata.title(title.to_owned());
    }
    document.set_metadata(metadata);
    let mut page = document.start_page_with(PageSettings::new(size));
    let mut surface = page.surface();
    surface.draw_svg(&tree, size, SvgSettings::default()).ok_or("the picture cannot be drawn as PDF")?;
    surface.finish();
    page.finish();
    document.finish().map_err(|error| format!("{error:?}"))
}
