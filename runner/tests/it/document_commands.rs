//! Tests every command and every TOML file in README.md and docs/, each document in its own project.
//!
//! A block of commands is indented, or fenced as `sh`. A command is executed. If it would boot guests, or needs root or
//! a network, it is only checked: its arguments are parsed, its files exist, and its study can be planned. An unknown
//! command fails the test. `RUN`, `A` and `B` are runs of the document's study, or of experiments/quick.toml.
//!
//! The info string of a TOML block states its kind. `toml study PATH`, `toml engine PATH`, `toml kernel PATH` and
//! `toml rootfs PATH` are whole files, which later commands find at that path. `toml fragment [PATH]` is merged into
//! the study at that path, or into quick.toml.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use microbench_formats::plan::Plan;
use microbench_measure::artifacts::image::Rootfs;
use microbench_measure::artifacts::kernel::Kernel;
use microbench_study::engine::description;

use crate::documents::root;
use crate::markdown::{self, Block};
use crate::support::{Bench, text};

/// Subcommands that are only checked.
const CHECKED: &[&str] =
    &["run", "ab", "host", "doctor", "artifacts", "selftest", "merge", "submit", "status", "cancel"];
/// Subcommands that are executed, because they only need files.
const EXECUTED: &[&str] = &[
    "plan",
    "new",
    "schema",
    "explain",
    "completions",
    "man",
    "import",
    "analyze",
    "plot",
    "table",
    "report",
    "query",
    "compare",
    "verify",
    "history",
    "runs",
    "show",
    "export",
    "prune",
];
/// Other programs that are executed.
const TOOLS: &[&str] = &["cp", "mkdir", "ls", "cat", "echo", "tar"];
/// Other programs that are not executed: they need a network or root, or may not be installed.
const SKIPPED_TOOLS: &[&str] = &["git", "cd", "export", "sudo", "sha256sum", "latexmk", "pdflatex"];
/// Info strings of blocks that are not checked.
const UNCHECKED: &[&str] = &["text", "csv", "json", "sql", "python", "r", "latex"];
/// Names of the runs in commands.
const RUNS: &[&str] = &["RUN", "A", "B"];
/// Trials per cell of these runs: the minimum for an interval of the median.
const TRIALS: u32 = 6;
/// Documents whose runs have another study than quick.toml.
const STUDIES: &[(&str, &str)] = &[("docs/how-to/artefact-evaluation.md", "experiments/paper-2019.toml")];

/// The project of a document.
struct DocumentProject {
    bench: Bench,
    document: String,
    /// Study of `RUN`.
    study: String,
    /// Study of the present `RUN`, if it has been made.
    made: Option<String>,
}

/// Made runs, by the text of their study. Several documents use the same study.
type Made = BTreeMap<String, tempfile::TempDir>;

#[test]
fn every_documented_command_and_file_works() {
    let root = root();
    let mut wrong = Vec::new();
    let mut tried = 0;
    let mut made = Made::new();
    for file in markdown::files(&root) {
        let document = file.display().to_string();
        if document != "README.md" && !document.starts_with("docs/") {
            continue;
        }
        let parts = markdown::parse(&fs::read_to_string(root.join(&file)).unwrap());
        let mut walk = DocumentProject::new(&document);
        for block in &parts.blocks {
            tried += 1;
            if let Err(problem) = walk.block(block, &mut made) {
                wrong.push(format!("{document}:{}: {problem}", block.line));
            }
        }
        if document.starts_with("docs/reference/") {
            continue;
        }
        for (line, span) in &parts.spans {
            if let Err(problem) = walk.span(span) {
                wrong.push(format!("{document}:{line}: {problem}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} do not work:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 20, "{tried} blocks");
}

impl DocumentProject {
    fn new(document: &str) -> Self {
        let bench = Bench::new();
        for folder in ["experiments", "kernels", "rootfs"] {
            copy(&root().join(folder), &bench.path(folder));
        }
        fs::copy(root().join("Makefile"), bench.path("Makefile")).unwrap();
        fs::create_dir(bench.path("bin")).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_microbench"), bench.path("bin/microbench")).unwrap();
        let own = STUDIES.iter().find(|(name, _)| *name == document);
        let study = own.map_or("experiments/quick.toml", |(_, study)| study);
        Self { bench, document: document.to_owned(), study: study.to_owned(), made: None }
    }

    fn block(&mut self, block: &Block, made: &mut Made) -> Result<(), String> {
        let words: Vec<&str> = block.info.split_whitespace().collect();
        match words[..] {
            [] | ["sh"] => lines(&block.text).iter().try_for_each(|line| self.line(line, made)),
            ["yaml"] => {
                let steps =
                    block.text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("run: "));
                steps.map(str::to_owned).collect::<Vec<_>>().iter().try_for_each(|line| self.line(line, made))
            }
            ["toml", "study", path] => {
                self.bench.file(path, &block.text);
                path.clone_into(&mut self.study);
                self.planned(path)
            }
            ["toml", "engine", path] => {
                let path = self.bench.file(path, &block.text);
                description::load(&[path.parent().unwrap()]).map(drop).map_err(|error| format!("{error:#}"))
            }
            ["toml", "kernel", path] => {
                let folder = self.bench.file(path, &block.text).parent().unwrap().to_owned();
                let kernel: Kernel = toml::from_str(&block.text).map_err(|error| error.to_string())?;
                // The text of the document describes the files, so empty ones are enough.
                kernel.patches.iter().chain(&kernel.config).for_each(|file| {
                    fs::write(folder.join(file), "").unwrap();
                });
                match kernel.base.map(|base| folder.join(base)).filter(|base| !base.exists()) {
                    Some(missing) => Err(format!("{} does not exist", missing.display())),
                    None => Ok(()),
                }
            }
            ["toml", "rootfs", path] => {
                self.bench.file(path, &block.text);
                toml::from_str::<Rootfs>(&block.text).map(drop).map_err(|error| error.to_string())
            }
            ["toml", "fragment"] => self.fragment("experiments/quick.toml", &block.text),
            ["toml", "fragment", base] => self.fragment(base, &block.text),
            [one] if UNCHECKED.contains(&one) => Ok(()),
            _ => Err(format!("this test does not know what ```{} is", block.info)),
        }
    }

    /// Plans the study at `base` with the fragment `part` merged into it.
    fn fragment(&self, base: &str, part: &str) -> Result<(), String> {
        let whole = fs::read_to_string(self.bench.path(base)).map_err(|error| format!("{base}: {error}"))?;
        let mut whole: toml::Table = toml::from_str(&whole).map_err(|error| error.to_string())?;
        let part: toml::Table = toml::from_str(part).map_err(|error| error.to_string())?;
        // A stopping rule replaces the number of trials.
        let rule = part.get("matrix").is_some_and(|matrix| matrix.get("precision").is_some());
        if let Some(toml::Value::Table(matrix)) = whole.get_mut("matrix").filter(|_| rule) {
            matrix.remove("trials");
        }
        merge_tables(&mut whole, part);
        let name = Path::new(base).with_file_name("fragment.toml").display().to_string();
        self.bench.file(&name, &toml::to_string(&whole).unwrap());
        self.planned(&name)
    }

    fn planned(&self, study: &str) -> Result<(), String> {
        let output = self.bench.run(&["plan", study]);
        if output.status.success() { Ok(()) } else { Err(text(&output.stderr)) }
    }

    /// Checks the arguments of a command in a code span.
    fn span(&self, span: &str) -> Result<(), String> {
        let words: Vec<&str> = span.split_whitespace().collect();
        let placeholder = |word: &&str| word.chars().all(|c| c.is_ascii_uppercase());
        match words[..] {
            // Only the name of a subcommand.
            ["microbench", second] if !placeholder(&second) && !second.starts_with('-') => {
                self.parses(&["microbench", second, "--help"])
            }
            ["microbench", second, ..] if !placeholder(&second) && !second.starts_with('-') => self.parses(&words),
            ["make", ..] => make(&words),
            _ => Ok(()),
        }
    }

    /// Executes a line of commands, or checks each command if one of them must not be executed.
    fn line(&mut self, line: &str, made: &mut Made) -> Result<(), String> {
        let commands = commands(line);
        let mut execute = true;
        for words in &commands {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match words[..] {
                ["make", ..] => {
                    make(&words)?;
                    let studies: Vec<&str> = words.iter().filter_map(|word| word.strip_prefix("STUDY=")).collect();
                    self.files(&studies)?;
                    execute = false;
                }
                ["microbench", command, ..] if EXECUTED.contains(&command) => {}
                ["microbench", command, ..] if CHECKED.contains(&command) => {
                    self.parses(&words)?;
                    self.files(&words)?;
                    execute = false;
                }
                ["microbench", "--help" | "--version"] => {}
                [tool, ..] if TOOLS.contains(&tool) => {}
                [tool, ..] if SKIPPED_TOOLS.contains(&tool) => execute = false,
                _ => return Err(format!("this test does not know how to treat `{}` in `{line}`", words.join(" "))),
            }
        }
        if !execute {
            // The other commands of such a line are checked as well.
            let rest = commands.iter().filter(|words| words.first().is_some_and(|word| word == "microbench"));
            return rest
                .map(|words| words.iter().map(String::as_str).collect::<Vec<_>>())
                .try_for_each(|w| self.parses(&w));
        }
        self.make_runs(&commands, made);
        let shell = self.bench.command(&[]);
        let path = format!("{}:{}", self.bench.path("bin").display(), std::env::var("PATH").unwrap_or_default());
        let output = Command::new("sh")
            .args(["-euc", line])
            .current_dir(self.bench.path(""))
            .envs(crate::support::variables(&shell))
            .env("PATH", path)
            .output()
            .unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(format!(
            "`{line}` in {}: {}\n{}{}",
            self.document,
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        ))
    }

    fn parses(&self, words: &[&str]) -> Result<(), String> {
        let output = self.bench.run(&[&["check-arguments", "--"][..], words].concat());
        if output.status.success() { Ok(()) } else { Err(format!("`{}`: {}", words.join(" "), text(&output.stderr))) }
    }

    /// Plans the studies that a command names.
    fn files(&self, words: &[&str]) -> Result<(), String> {
        words.iter().filter(|word| word.ends_with(".toml")).try_for_each(|study| self.planned(study))
    }

    /// Makes the runs that a command names.
    fn make_runs(&mut self, commands: &[Vec<String>], made: &mut Made) {
        let is_run =
            |word: &String| RUNS.contains(&word.split('/').next().unwrap_or_default()) || word.starts_with("latest");
        let named = commands.iter().flatten().any(is_run);
        if !named || self.made.as_ref() == Some(&self.study) {
            return;
        }
        let kept = made.entry(fs::read_to_string(self.bench.path(&self.study)).unwrap()).or_insert_with(|| {
            let folder = tempfile::tempdir().unwrap();
            for (seed, name) in RUNS.iter().enumerate() {
                import(&self.bench, &self.study, seed as u64, name);
                fs::rename(self.bench.path(name), folder.path().join(name)).unwrap();
            }
            folder
        });
        for name in RUNS {
            drop(fs::remove_dir_all(self.bench.path(name)));
            copy(&kept.path().join(name), &self.bench.path(name));
        }
        copy(&kept.path().join("RUN"), &self.bench.path("runs/study-20260101T000000Z"));
        self.made = Some(self.study.clone());
    }
}

/// Makes an analysed run of `study` in the folder `name`, from a table with values that depend on `seed`.
fn import(bench: &Bench, study: &str, seed: u64, name: &str) {
    let planned = bench.run(&["plan", study, "--json"]);
    assert!(planned.status.success(), "{}", text(&planned.stderr));
    let plan: Plan = serde_json::from_slice(&planned.stdout).unwrap();
    let axes: Vec<&str> = plan.axes.iter().map(|axis| axis.name.as_str()).collect();
    let mut table = format!("metric,trial,value,{}\n", axes.join(","));
    // xorshift64 of Marsaglia (2003), which needs no crate.
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ (seed + 1);
    let mut jitter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % 1000) as f64 / 100_000.0
    };
    for (place, cell) in plan.cells.iter().enumerate() {
        let levels: Vec<String> = axes.iter().map(|axis| cell.levels[*axis].to_string()).collect();
        for metric in &plan.metrics {
            for trial in 0..TRIALS {
                for _ in 0..cell.concurrency {
                    let value = 100.0 * (1.0 + place as f64 / 10.0) * (1.0 + jitter());
                    table.push_str(&format!("{},{trial},{value:.4},{}\n", metric.name, levels.join(",")));
                }
            }
        }
    }
    bench.file("table.csv", &table);
    for step in [&["import", study, "table.csv", "--out", name][..], &["analyze", name]] {
        let output = bench.run(step);
        assert!(output.status.success(), "{step:?}: {}", text(&output.stderr));
    }
}

/// Checks that the Makefile has the targets and uses the variables of a `make` command.
fn make(words: &[&str]) -> Result<(), String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    // `-C` names another copy of this project.
    let words = if words.get(1) == Some(&"-C") { &words[2..] } else { words };
    for word in &words[1..] {
        let known = match word.split_once('=') {
            Some((variable, _)) => makefile.contains(&format!("$({variable})")),
            None => makefile.lines().any(|line| line.starts_with(&format!("{word}:"))),
        };
        if !known {
            return Err(format!("`{word}` of `{}` is not in the Makefile", words.join(" ")));
        }
    }
    Ok(())
}

/// Lines of a block without comments. Continued lines are joined.
fn lines(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    // A quoted string may span several lines.
    let mut whole: Vec<String> = Vec::new();
    for line in joined.lines() {
        match whole.last_mut().filter(|before| before.matches('"').count() % 2 == 1) {
            Some(before) => {
                before.push(' ');
                before.push_str(line.trim());
            }
            None => whole.push(line.to_owned()),
        }
    }
    let stripped = whole.iter().map(|line| match line.split_once(" #") {
        Some((code, _)) => code,
        None if line.starts_with('#') => "",
        None => line.as_str(),
    });
    stripped.map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The simple commands of a line as words, without assignments, redirections and quotes.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word = String::new();
    let mut quote = None;
    let end = |word: &mut String, commands: &mut Vec<Vec<String>>| {
        let word = std::mem::take(word);
        let command = commands.last_mut().expect("there is one");
        let assignment = command.is_empty() && word.split_once('=').is_some_and(|(name, _)| !name.contains('-'));
        if !word.is_empty() && !assignment {
            command.push(word);
        }
    };
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.push(c),
            (None, '"' | '\'') => quote = Some(c),
            (None, ' ') => end(&mut word, &mut commands),
            (None, '|' | ';' | '&' | '(' | ')') => {
                if c == '(' && word.ends_with('$') {
                    word.clear();
                }
                end(&mut word, &mut commands);
                commands.push(Vec::new());
            }
            (None, '>' | '<') => {
                // Skip the file of a redirection.
                while chars.next_if(|c| *c == ' ' || *c == '>').is_some() {}
                while chars.next_if(|c| !matches!(c, ' ' | '|' | ';' | ')')).is_some() {}
            }
            (None, c) => word.push(c),
        }
    }
    end(&mut word, &mut commands);
    commands.retain(|command| !command.is_empty());
    commands
}

fn merge_tables(base: &mut toml::Table, part: toml::Table) {
    for (key, value) in part {
        match (base.get_mut(&key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(part)) => merge_tables(base, part),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let to = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).unwrap();
        }
    }
}

#[test]
fn line_is_split_into_commands() {
    let of = |line: &str| commands(line).iter().map(|words| words.join(" ")).collect::<Vec<_>>();
    assert_eq!(of("run=$(microbench run a.toml --out 'x y')"), ["microbench run a.toml --out x y"]);
    assert_eq!(
        of("NO_COLOR=1 microbench plan a.toml > b.txt && make run STUDY=a"),
        ["microbench plan a.toml", "make run STUDY=a"]
    );
    let query = "microbench query RUN \"select\n    a from b\"\nmake help\n";
    assert_eq!(lines(query), ["microbench query RUN \"select a from b\"", "make help"]);
    let block = "make run \\\n  STUDY=a  # now\n\n# a comment\nmake help\n";
    assert_eq!(lines(block), ["make run    STUDY=a", "make help"]);
}
