//! A parser of the parts of Markdown files that tests check: code blocks, code spans, links and headings.

use std::fs;
use std::path::{Path, PathBuf};

/// A block of code.
#[derive(Debug)]
pub(crate) struct Block {
    /// Line of the file, from 1.
    pub(crate) line: usize,
    /// The info string of the fence; empty for an indented block.
    pub(crate) info: String,
    pub(crate) text: String,
}

/// The checked parts of a Markdown file.
#[derive(Debug, Default)]
pub(crate) struct Markdown {
    pub(crate) blocks: Vec<Block>,
    /// Code spans, with their line.
    pub(crate) spans: Vec<(usize, String)>,
    /// Targets of links, with their line.
    pub(crate) links: Vec<(usize, String)>,
    /// Anchors of headings.
    pub(crate) anchors: Vec<String>,
}

/// Every Markdown file of the project, relative to `root`, without those in build folders.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_symlink() {
                // The targets of the links in runner/measure/built_in are found in their own folders.
            } else if path.is_dir() {
                if !name.starts_with('.') && !matches!(name.as_str(), "target" | "runs" | "corpus") {
                    folders.push(path);
                }
            } else if name.ends_with(".md") {
                found.push(path.strip_prefix(root).unwrap().to_path_buf());
            }
        }
    }
    found.sort();
    found
}

/// Parses a file.
pub(crate) fn parse(text: &str) -> Markdown {
    let mut parts = Markdown::default();
    let mut fence: Option<Block> = None;
    let mut indented: Option<Block> = None;
    let mut blank = true;
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if let Some(info) = line.trim_start().strip_prefix("```") {
            parts.blocks.extend(indented.take());
            match fence.take() {
                Some(block) => parts.blocks.push(block),
                None => fence = Some(Block { line: number, info: info.trim().to_owned(), text: String::new() }),
            }
        } else if let Some(block) = &mut fence {
            block.text.push_str(line);
            block.text.push('\n');
        } else if let Some(code) = line.strip_prefix("    ").filter(|_| blank || indented.is_some()) {
            let block =
                indented.get_or_insert_with(|| Block { line: number, info: String::new(), text: String::new() });
            block.text.push_str(code);
            block.text.push('\n');
        } else {
            parts.blocks.extend(indented.take_if(|_| !line.trim().is_empty()));
            parse_prose(number, line, &mut parts);
        }
        blank = line.trim().is_empty();
    }
    assert!(fence.is_none(), "a fence is not closed");
    parts.blocks.extend(indented);
    parts
}

fn parse_prose(number: usize, line: &str, parts: &mut Markdown) {
    if let Some(heading) = line.strip_prefix('#') {
        parts.anchors.push(anchor(heading.trim_start_matches('#').trim()));
    }
    let pieces: Vec<&str> = line.split('`').collect();
    parts.spans.extend(pieces.iter().skip(1).step_by(2).map(|span| (number, (*span).replace("\\|", "|"))));
    // Search the whole line, because the text of a link may be code.
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("](") {
        let Some((target, after)) = after.split_once(')') else { break };
        parts.links.push((number, target.to_owned()));
        rest = after;
    }
}

/// The anchor of a heading, as GitHub generates it.
fn anchor(heading: &str) -> String {
    let kept = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    heading.to_lowercase().chars().filter(|c| kept(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn parse_finds_blocks_spans_links_and_anchors() {
    let text = "# A `b`: c\n\nSee [x](y.md#z), `run it`.\n\n    make run  # now\n\n    make plots\n\n```toml study a.toml\na = 1\n```\nend\n";
    let parts = parse(text);
    assert_eq!(parts.anchors, ["a-b-c"]);
    assert_eq!(parts.links, [(3, "y.md#z".to_owned())]);
    assert_eq!(parts.spans, [(1, "b".to_owned()), (3, "run it".to_owned())]);
    let blocks: Vec<_> = parts.blocks.iter().map(|b| (b.line, b.info.as_str(), b.text.as_str())).collect();
    assert_eq!(blocks, [(5, "", "make run  # now\nmake plots\n"), (9, "toml study a.toml", "a = 1\n")]);
}
