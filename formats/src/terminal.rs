//! Plain text for a terminal: without control characters, lines wrapped at spaces, and tables that fit the width.

use std::borrow::Cow;

/// Whether a character controls a terminal, breaks a line, or changes the direction of the text around it.
#[must_use]
pub fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The character, or a space instead of one that is [unprintable](is_unprintable).
#[must_use]
pub fn printable_char(c: char) -> char {
    if is_unprintable(c) { ' ' } else { c }
}

/// `text` as it may reach a terminal: a space instead of each [unprintable](is_unprintable) character except newlines
/// and tabs. If `coloured`, sequences that set a colour or weight are kept; no other sequence is.
///
/// All output of the program passes this function, because titles, labels, versions, host names, output of commands and
/// consoles can be written by others.
///
/// ```
/// use microbench_formats::terminal::printable;
///
/// assert_eq!(printable("a\u{1b}[2Jb\u{202e}c\n", true), "a [2Jb c\n");
/// assert_eq!(printable("\u{1b}[1;31mred\u{1b}[0m", true), "\u{1b}[1;31mred\u{1b}[0m");
/// assert_eq!(printable("\u{1b}[1;31mred", false), " [1;31mred");
/// ```
#[must_use]
pub fn printable(text: &str, coloured: bool) -> Cow<'_, str> {
    let is_kept = |c: char| matches!(c, '\n' | '\t') || !is_unprintable(c);
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let sequence = if coloured && c == '\u{1b}' { colour_sequence(rest) } else { None };
        let (part, shown) = match sequence {
            Some(sequence) => (sequence, None),
            None => (&rest[..c.len_utf8()], Some(if is_kept(c) { c } else { ' ' })),
        };
        match shown {
            Some(shown) => out.push(shown),
            None => out.push_str(part),
        }
        rest = &rest[part.len()..];
    }
    Cow::Owned(out)
}

/// The escape sequence at the start of `text`, if it sets a colour of the foreground or a weight, or resets them. Text
/// that conceals itself is not permitted: neither black, nor a colour of the background, nor the attribute 8.
fn colour_sequence(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("\u{1b}[")?;
    let end = inside.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    if !inside[end..].starts_with('m') {
        return None;
    }
    let is_permitted = |number: &str| matches!(number, "" | "0" | "1" | "2" | "3" | "4" | "22" | "23" | "24" | "39");
    let is_colour = |number: &str| number.parse().is_ok_and(|number: u32| matches!(number, 31..=37 | 90..=97));
    let permitted = match inside[..end].strip_prefix("38;5;") {
        Some(number) => number.parse::<u8>().is_ok_and(|number| !matches!(number, 0 | 16)),
        None => inside[..end].split(';').all(|number| is_permitted(number) || is_colour(number)),
    };
    permitted.then(|| &text[.."\u{1b}[".len() + end + 1])
}

/// Width assumed where the number of columns is unknown.
pub const WIDTH: usize = 100;

/// The widths that output must fit, in columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputWidth {
    /// Width at which prose is wrapped.
    pub prose: usize,
    /// Width that tables must fit.
    pub table: usize,
}

impl OutputWidth {
    /// Output that is not a terminal: prose wrapped at [`WIDTH`], tables with every column.
    pub const ANY: Self = Self { prose: WIDTH, table: usize::MAX };

    /// A terminal with this many columns.
    #[must_use]
    pub const fn from_columns(columns: usize) -> Self {
        Self { prose: columns, table: columns }
    }

    /// The line that names the table columns that were left out to fit; empty if none was.
    #[must_use]
    pub fn left_out(self, columns: &[&str]) -> String {
        if columns.is_empty() {
            return String::new();
        }
        wrapped_to(self.prose, &format!("omitted to fit {} columns: {}", self.table, columns.join(", ")), 2) + "\n"
    }
}

/// `line` wrapped at spaces to [`WIDTH`] columns; continuation lines are indented by `indent` columns.
#[must_use]
pub fn wrapped(line: &str, indent: usize) -> String {
    wrapped_to(WIDTH, line, indent)
}

/// Like [`wrapped`], for `width` columns. A word that is wider than `width` stays whole.
///
/// ```
/// use microbench_formats::terminal::wrapped_to;
///
/// assert_eq!(wrapped_to(12, "one two three four", 2), "one two\n  three four");
/// ```
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

/// Each line of `text` wrapped as in [`wrapped_to`]. Continuation lines are indented by `indent` columns more than the
/// line.
///
/// ```
/// use microbench_formats::terminal::wrapped_lines;
///
/// assert_eq!(wrapped_lines(9, "error: no\n  next: try\n", 2), "error: no\n  next:\n    try\n");
/// ```
#[must_use]
pub fn wrapped_lines(width: usize, text: &str, indent: usize) -> String {
    let wrap = |line: &str| {
        let before = line.len() - line.trim_start_matches(' ').len();
        wrapped_to(width, line, before + indent)
    };
    text.split_inclusive('\n')
        .map(|line| line.strip_suffix('\n').map_or_else(|| wrap(line), |line| wrap(line) + "\n"))
        .collect()
}

/// `text` with no line wider than `width`. A longer line is broken at a space, else after a separator of a path or
/// list, else at `width`.
#[must_use]
pub fn folded(text: &str, width: usize) -> String {
    let width = width.max(1);
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (line, end) = line.strip_suffix('\n').map_or((line, ""), |line| (line, "\n"));
        let letters: Vec<char> = line.chars().collect();
        let mut rest = letters.as_slice();
        while rest.len() > width {
            let at = break_position(rest, width);
            out.push_str(rest[..at].iter().collect::<String>().trim_end());
            out.push('\n');
            rest = &rest[at..];
        }
        out.extend(rest);
        out.push_str(end);
    }
    out
}

/// How many of `letters` the first of several lines of `width` columns gets. The line ends at the last space of its
/// second half, else at the last separator there, else at `width`.
fn break_position(letters: &[char], width: usize) -> usize {
    let last = |is_end: &dyn Fn(char) -> bool| (width / 2 + 1..=width).rev().find(|&at| is_end(letters[at - 1]));
    last(&|letter| letter == ' ').or_else(|| last(&|letter| "/,;:=".contains(letter))).unwrap_or(width)
}

/// Rows, the header first, in aligned columns; the columns in `right` (numbers) are right-aligned.
pub fn table<const N: usize>(rows: impl IntoIterator<Item = [String; N]>, right: std::ops::Range<usize>) -> String {
    let lines: Vec<Vec<String>> = rows.into_iter().map(Vec::from).collect();
    let right: Vec<bool> = (0..N).map(|n| right.contains(&n)).collect();
    aligned(&lines, &right)
}

/// Like [`table`], for any number of columns; `right` has one flag for each column.
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

/// A column of a table made by [`fitted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Header of the column.
    pub name: &'static str,
    /// Right-aligned, for numbers.
    pub right: bool,
    /// 0 for a column that is never left out. On a narrow terminal the highest rank is left out first; rank 1 only
    /// after the first column has a line of its own.
    pub rank: u8,
}

impl Column {
    /// A left-aligned column, for text.
    #[must_use]
    pub const fn left(name: &'static str, rank: u8) -> Self {
        Self { name, right: false, rank }
    }

    /// A right-aligned column, for numbers.
    #[must_use]
    pub const fn right(name: &'static str, rank: u8) -> Self {
        Self { name, right: true, rank }
    }
}

/// Columns between two columns of a table.
const GAP: usize = 2;

/// Rows in aligned columns under a header, no line wider than `width`, and the names of the columns that were left out.
///
/// A row with one cell is a heading of the rows below it and may use the whole line. These steps make it fit, in this
/// order. Columns of rank 2 and higher are left out. The last column is wrapped at spaces. The first column gets a
/// separate line above the others. Columns of rank 1 are left out. Each row becomes a list of names and values. No word
/// is broken.
///
/// ```
/// use microbench_formats::terminal::{Column, fitted};
///
/// let columns = [Column::left("cell", 0), Column::right("median", 0), Column::right("n", 2)];
/// let rows = [["ok/1", "1.25 ms", "12"].map(str::to_owned).to_vec()];
/// let (text, left_out) = fitted(&columns, &rows, 14);
/// assert_eq!(text, "cell   median\nok/1  1.25 ms\n");
/// assert_eq!(left_out, ["n"]);
/// ```
#[must_use]
pub fn fitted(columns: &[Column], rows: &[Vec<String>], width: usize) -> (String, Vec<&'static str>) {
    let table = Table { columns, rows, width };
    let layouts = [(false, 2), (true, 2), (false, 1), (true, 1)];
    let found = layouts.into_iter().find_map(|(stacked, lowest_rank)| table.layout(stacked, lowest_rank));
    let Some(layout) = found else {
        let left_out = columns.iter().filter(|column| column.rank > 1).map(|column| column.name);
        return (table.render_lists(), left_out.collect());
    };
    let is_shown = |n: usize| layout.shown.contains(&n) || layout.stacked && n == 0;
    let left_out = (0..columns.len()).rev().filter(|&n| !is_shown(n));
    let mut left_out: Vec<usize> = left_out.collect();
    left_out.sort_by_key(|&n| std::cmp::Reverse(columns[n].rank));
    (table.render(&layout), left_out.into_iter().map(|n| columns[n].name).collect())
}

/// A table that is to fit `width` columns.
struct Table<'a> {
    columns: &'a [Column],
    rows: &'a [Vec<String>],
    width: usize,
}

/// Which columns a table shows, and how wide they are.
struct Layout {
    /// Whether the first column has a line of its own, above the others.
    stacked: bool,
    /// The columns that share a line.
    shown: Vec<usize>,
    /// The width of each of `shown`.
    widths: Vec<usize>,
}

impl Layout {
    /// Columns before the first of `shown`.
    fn indent(&self) -> usize {
        if self.stacked { GAP } else { 0 }
    }
}

impl Table<'_> {
    /// The header and every row with more than one cell, one column of them.
    fn cells(&self, n: usize) -> impl Iterator<Item = &str> {
        let rows = self.rows.iter().filter(|row| row.len() > 1).filter_map(move |row| row.get(n));
        std::iter::once(self.columns[n].name).chain(rows.map(String::as_str))
    }

    /// The layout that fits and shows the most columns. Columns of `lowest_rank` and higher may be left out. `None` if
    /// no layout fits.
    fn layout(&self, stacked: bool, lowest_rank: u8) -> Option<Layout> {
        let first = usize::from(stacked);
        let indent = if stacked { GAP } else { 0 };
        let name_width = if stacked { self.cells(0).map(longest_word).max().unwrap_or(0) } else { 0 };
        if name_width > self.width || first >= self.columns.len() {
            return None;
        }
        let mut shown: Vec<usize> = (first..self.columns.len()).collect();
        let full: Vec<usize> = (0..self.columns.len()).map(|n| self.cells(n).map(length).max().unwrap_or(0)).collect();
        loop {
            let widths: Vec<usize> = shown.iter().map(|&n| full[n]).collect();
            let total = indent + widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1);
            if total <= self.width {
                return Some(Layout { stacked, shown, widths });
            }
            // Of one rank the last column is left out first.
            let next = (0..shown.len())
                .filter(|&at| self.columns[shown[at]].rank >= lowest_rank)
                .max_by_key(|&at| self.columns[shown[at]].rank);
            if let Some(at) = next {
                shown.remove(at);
                continue;
            }
            let last = *shown.last().filter(|&&n| shown.len() > 1 && !self.columns[n].right)?;
            let room = (full[last] + self.width).checked_sub(total)?;
            let least = self.cells(last).map(longest_word).max().unwrap_or(0);
            let narrowed = |(n, width): (&usize, usize)| if *n == last { room } else { width };
            let widths = shown.iter().zip(widths).map(narrowed).collect();
            return (least <= room).then_some(Layout { stacked, shown, widths });
        }
    }

    fn render(&self, layout: &Layout) -> String {
        let mut out = String::new();
        let header: Vec<String> = self.columns.iter().map(|column| column.name.to_owned()).collect();
        let mut name = None;
        for row in std::iter::once(&header).chain(self.rows) {
            if let [heading] = row.as_slice() {
                out.push_str(&(wrapped_to(self.width, heading, 2 * GAP) + "\n"));
                name = None;
                continue;
            }
            if layout.stacked && name != row.first() {
                name = row.first();
                out.push_str(&(wrapped_to(self.width, row.first().map_or("", String::as_str), 2 * GAP) + "\n"));
            }
            out.push_str(&self.line(layout, row));
        }
        out
    }

    /// The line of a row, and further ones where its last cell is wrapped.
    fn line(&self, layout: &Layout, row: &[String]) -> String {
        let mut line = " ".repeat(layout.indent());
        let mut last_from = 0;
        for (&n, &width) in layout.shown.iter().zip(&layout.widths) {
            last_from = length(&line);
            let text = row.get(n).map_or("", String::as_str);
            let pad = " ".repeat(width.saturating_sub(length(text)));
            let (before, after) = if self.columns[n].right { (pad.as_str(), "") } else { ("", pad.as_str()) };
            line.push_str(&[before, text, after, &" ".repeat(GAP)].concat());
        }
        wrapped_from(self.width, line.trim_end(), last_from) + "\n"
    }

    /// Each row as its first cell and a list of the others' names and values, without columns of rank 2 and higher.
    fn render_lists(&self) -> String {
        let mut out = String::new();
        let mut name = None;
        for row in self.rows {
            if name != row.first() || row.len() == 1 {
                name = row.first();
                out.push_str(&(wrapped_to(self.width, row.first().map_or("", String::as_str), 2 * GAP) + "\n"));
            }
            let mut line = " ".repeat(GAP);
            for (column, text) in self.columns.iter().zip(row).skip(1) {
                if column.rank > 1 || text.is_empty() {
                    continue;
                }
                let item = format!("{} {text}", column.name);
                let is_first = line.trim().is_empty();
                if !is_first && length(&line) + length(&item) + 2 > self.width {
                    line.push(',');
                    out.push_str(&(wrapped_to(self.width, &line, 2 * GAP) + "\n"));
                    line = " ".repeat(GAP);
                } else if !is_first {
                    line.push_str(", ");
                }
                line.push_str(item.trim_start());
            }
            if !line.trim().is_empty() {
                out.push_str(&(wrapped_to(self.width, &line, 2 * GAP) + "\n"));
            }
        }
        out
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

fn longest_word(text: &str) -> usize {
    text.split(' ').map(length).max().unwrap_or(0)
}

/// `line` with its text from column `from` on wrapped at spaces within `width`. Further lines are indented by `from`.
fn wrapped_from(width: usize, line: &str, from: usize) -> String {
    if length(line) <= width {
        return line.to_owned();
    }
    let before: String = line.chars().take(from).collect();
    let text: String = line.chars().skip(from).collect();
    let indent = "\n".to_owned() + &" ".repeat(from);
    before + &wrapped_to(width.saturating_sub(from), &text, 0).replace('\n', &indent)
}

const ELLIPSIS: char = '\u{2026}';

/// `text` if it fits `width` columns, else its first `width - 1` characters and an ellipsis.
#[must_use]
pub fn truncated(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push(ELLIPSIS);
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn no_table_is_wider_than_its_terminal_or_breaks_a_word() {
        let columns =
            [Column::left("name", 0), Column::right("value", 0), Column::right("n", 2), Column::left("remark", 1)];
        let rows = [
            row(["a heading of the rows below it"]),
            row(["a-rather-long-name", "1.25 ms", "12", "nothing"]),
            row(["b", "100.00 ms", "3", "disturbed twice"]),
        ];
        let words = rows.iter().flatten().flat_map(|cell| cell.split(' ')).collect::<Vec<_>>();
        for width in 18..80 {
            let (text, left_out) = fitted(&columns, &rows, width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            let is_shown = |word: &&str| text.split([' ', '\n', ',']).any(|shown| shown == *word);
            let missing: Vec<_> = words.iter().filter(|word| !is_shown(word)).collect();
            assert!(missing.is_empty() || !left_out.is_empty(), "{width}: {missing:?} of\n{text}");
        }
        assert!(fitted(&columns, &rows, 80).1.is_empty());
    }

    #[test]
    fn a_narrow_terminal_leaves_out_columns_then_stacks_the_first_then_lists_values() {
        let columns = [
            Column::left("cell", 0),
            Column::left("metric", 0),
            Column::right("n", 2),
            Column::right("ratio", 0),
            Column::right("interval", 1),
        ];
        let rows = [
            row(["firecracker/10", "startup", "12", "1.50", "1.49 to 1.51"]),
            row(["firecracker/10", "shutdown", "12", "1.00", "0.99 to 1.01"]),
        ];
        insta::assert_snapshot!(fitted(&columns, &rows, 48).0, @r"
        cell            metric    ratio      interval
        firecracker/10  startup    1.50  1.49 to 1.51
        firecracker/10  shutdown   1.00  0.99 to 1.01
        ");
        insta::assert_snapshot!(fitted(&columns, &rows, 40).0, @r"
        cell
          metric     n  ratio      interval
        firecracker/10
          startup   12   1.50  1.49 to 1.51
          shutdown  12   1.00  0.99 to 1.01
        ");
        assert_eq!(fitted(&columns, &rows, 30).1, ["n", "interval"]);
        insta::assert_snapshot!(fitted(&columns, &rows, 16).0, @r"
        firecracker/10
          metric
            startup,
          ratio 1.50,
          interval 1.49
            to 1.51
          metric
            shutdown,
          ratio 1.00,
          interval 0.99
            to 1.01
        ");
    }

    #[test]
    fn the_last_column_is_wrapped_at_spaces_before_the_first_is_stacked() {
        let columns = [Column::left("file", 0), Column::left("contents", 0)];
        let rows = [row(["plan.json", "the plan, made from the manifest"])];
        insta::assert_snapshot!(fitted(&columns, &rows, 30).0, @r"
        file       contents
        plan.json  the plan, made from
                   the manifest
        ");
    }

    #[test]
    fn lines_wrap_at_spaces_and_fold_within_words() {
        assert_eq!(wrapped_to(12, "one two three four", 2), "one two\n  three four");
        assert_eq!(folded("abcdef\n\nab\n", 4), "abcd\nef\n\nab\n");
        assert_eq!(folded("one two/three\n", 9), "one two/\nthree\n");
        assert_eq!(folded("wrong one two", 11), "wrong one\ntwo");
    }
}
