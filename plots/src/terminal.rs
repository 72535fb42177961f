//! Text for a terminal of 100 columns.

/// Columns.
const WIDTH: usize = 100;

/// A line broken at spaces, what follows the first part indented by `indent` columns.
pub fn wrapped(line: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let (mut out, mut used) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if used + length > WIDTH && used > indent.len() {
            out.truncate(out.trim_end().len());
            out.push('\n');
            out.push_str(&indent);
            used = indent.len();
        }
        out.push_str(word);
        used += word.chars().count();
    }
    out
}

/// Rows, the header first, in aligned columns; those of `right` stand to the right, numbers mostly.
pub(crate) fn table<const N: usize>(
    rows: impl IntoIterator<Item = [String; N]>,
    right: std::ops::Range<usize>,
) -> String {
    let lines: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    let right: Vec<bool> = (0..N).map(|n| right.contains(&n)).collect();
    aligned(&lines, &right)
}

/// As [`table`], of any number of columns: `right` says which of them stand to the right.
pub(crate) fn aligned(lines: &[Vec<String>], right: &[bool]) -> String {
    let width =
        |n: usize| lines.iter().filter_map(|line| line.get(n)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..right.len()).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let mut shown = String::new();
        for ((cell, width), right) in line.iter().zip(&widths).zip(right) {
            let pad = " ".repeat(width - cell.chars().count());
            let (before, after) = if *right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            shown.push_str(&[before, cell, after, "  "].concat());
        }
        out.push_str(shown.trim_end());
        out.push('\n');
    }
    out
}
