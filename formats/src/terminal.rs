//! Text for a terminal: lines that are broken at spaces, tables whose columns fit.

/// Columns where nobody knows how many there are.
pub const WIDTH: usize = 100;

/// The room that text has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Columns at which lines of words are broken.
    pub words: usize,
    /// Columns that tables must fit into.
    pub table: usize,
}

impl Room {
    /// Where there is no terminal: words in [`WIDTH`] columns, tables with every column.
    pub const ANY: Self = Self { words: WIDTH, table: usize::MAX };

    /// A terminal of `columns`.
    #[must_use]
    pub const fn of(columns: usize) -> Self {
        Self { words: columns, table: columns }
    }

    /// What a table left out to fit, as a line; empty for nothing.
    #[must_use]
    pub fn left_out(self, columns: &[&str]) -> String {
        if columns.is_empty() {
            return String::new();
        }
        wrapped_to(self.words, &format!("left out, for {} columns: {}", self.table, columns.join(", ")), 2) + "\n"
    }
}

/// A line broken at spaces, what follows the first part indented by `indent` columns, for a terminal of [`WIDTH`] columns.
#[must_use]
pub fn wrapped(line: &str, indent: usize) -> String {
    wrapped_to(WIDTH, line, indent)
}

/// As [`wrapped`], for a terminal of `width` columns. A word that is wider than that stays whole.
#[must_use]
pub fn wrapped_to(width: usize, line: &str, indent: usize) -> String {
    let indent = " ".repeat(indent);
    let (mut out, mut used) = (String::new(), 0);
    for word in line.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if used + length > width && used > indent.len() {
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

/// `text` with no line wider than `width`: what is wider, a path mostly, goes on in the next line.
#[must_use]
pub fn folded(text: &str, width: usize) -> String {
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let letters: Vec<char> = line.chars().collect();
        let parts: Vec<String> = letters.chunks(width.max(1)).map(|part| part.iter().collect()).collect();
        out.push_str(&parts.join("\n"));
        out.push_str(end);
    }
    out
}

/// Rows, the header first, in aligned columns; those of `right` stand to the right, numbers mostly.
pub fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>, right: std::ops::Range<usize>) -> String {
    let lines: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    let right: Vec<bool> = (0..N).map(|n| right.contains(&n)).collect();
    aligned(&lines, &right)
}

/// As [`table`], of any number of columns: `right` says which of them stand to the right.
pub fn aligned(lines: &[Vec<String>], right: &[bool]) -> String {
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

/// A column of a table that fits its terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Heading.
    pub name: &'static str,
    /// Stands to the right, as numbers do.
    pub right: bool,
    /// 0 for a column that stays; of the others the highest is left out first where the terminal is too narrow.
    pub rank: u8,
}

impl Column {
    /// A column of words.
    #[must_use]
    pub const fn left(name: &'static str, rank: u8) -> Self {
        Self { name, right: false, rank }
    }

    /// A column of numbers.
    #[must_use]
    pub const fn right(name: &'static str, rank: u8) -> Self {
        Self { name, right: true, rank }
    }
}

/// Columns of the first one that a cut leaves at least.
const LEAST: usize = 8;
/// What stands for what was cut off.
const CUT: char = '\u{2026}';

/// Rows in aligned columns under a heading, no line wider than `width`: columns are left out by their rank, the names of which are
/// returned, and then the last column is cut if it is one of words, the first, and a last one of numbers. A row of one cell is a heading of those below it and has the whole line.
#[must_use]
pub fn fitted(columns: &[Column], rows: &[Vec<String>], width: usize) -> (String, Vec<&'static str>) {
    const GAP: usize = 2;
    let length = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = (0..columns.len())
        .map(|n| {
            rows.iter()
                .filter(|row| row.len() > 1)
                .filter_map(|row| row.get(n))
                .map(|cell| length(cell))
                .max()
                .unwrap_or(0)
                .max(length(columns[n].name))
        })
        .collect();
    let mut shown: Vec<usize> = (0..columns.len()).collect();
    let mut left_out = Vec::new();
    let total = |shown: &[usize], widths: &[usize]| {
        shown.iter().map(|&n| widths[n]).sum::<usize>() + GAP * shown.len().saturating_sub(1)
    };
    while total(&shown, &widths) > width {
        // Of one rank the last goes first.
        let Some(at) =
            (0..shown.len()).filter(|&at| columns[shown[at]].rank > 0).max_by_key(|&at| columns[shown[at]].rank)
        else {
            break;
        };
        left_out.push(columns[shown.remove(at)].name);
    }
    let last = shown.len().saturating_sub(1);
    // Words give way before numbers do.
    let words_last = shown.get(last).is_some_and(|&n| !columns[n].right);
    for end in if words_last { [last, 0] } else { [0, last] } {
        let over = total(&shown, &widths).saturating_sub(width);
        if let Some(&n) = shown.get(end).filter(|_| over > 0) {
            widths[n] = widths[n].saturating_sub(over).max(LEAST.min(widths[n]));
        }
    }
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = shown
            .iter()
            .map(|&n| {
                let text = cut(&cell(n), widths[n]);
                let pad = " ".repeat(widths[n].saturating_sub(length(&text)));
                if columns[n].right { pad + &text } else { text + &pad }
            })
            .collect();
        cells.join(&" ".repeat(GAP)).trim_end().to_owned() + "\n"
    };
    let mut out = line(&|n| columns[n].name.to_owned());
    for row in rows {
        match row.as_slice() {
            [heading] => out.push_str(&(cut(heading, width) + "\n")),
            row => out.push_str(&line(&|n| row.get(n).cloned().unwrap_or_default())),
        }
    }
    (out, left_out)
}

/// `text`, or as much of it as `width` columns hold.
#[must_use]
pub fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push(CUT);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_table_is_wider_than_its_terminal() {
        let columns =
            [Column::left("name", 0), Column::right("value", 0), Column::right("n", 2), Column::left("remark", 1)];
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        let rows =
            [row(["a-rather-long-name", "1.25 ms", "12", "nothing"]), row(["b", "100.00 ms", "3", "disturbed twice"])];
        for width in 18..80 {
            let (text, _) = fitted(&columns, &rows, width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
        }
        assert!(fitted(&columns, &rows, 80).1.is_empty());
        let (text, left_out) = fitted(&columns, &rows, 26);
        assert_eq!(left_out, ["n", "remark"]);
        insta::assert_snapshot!(text, @r"
        name                 value
        a-rather-long-…    1.25 ms
        b                100.00 ms
        ");
    }

    #[test]
    fn a_line_is_broken_at_spaces() {
        assert_eq!(wrapped_to(12, "one two three four", 2), "one two\n  three four");
        assert_eq!(folded("abcdef\n\nab\n", 4), "abcd\nef\n\nab\n");
    }
}
