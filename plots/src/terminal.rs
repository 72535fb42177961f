//! Text for a terminal of 100 columns.

/// Columns.
const WIDTH: usize = 100;

/// A line broken at spaces, what follows the first part indented by `indent` columns.
pub(crate) fn wrapped(line: &str, indent: usize) -> String {
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
