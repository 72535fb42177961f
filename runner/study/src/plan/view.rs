//! A plan as text for a terminal: cells, number of VMs, memory, and the run order. No line is broken inside a word.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use microbench_formats::cell::{Cell, DEFAULT_HOST_CPU, HOST_CPU};
use microbench_formats::direction::Better;
use microbench_formats::family;
use microbench_formats::instrument::Instrument;
use microbench_formats::metric::Metric;
use microbench_formats::plan::{Exclusion, LEAST_REPETITIONS, Plan, PlannedTrial, Protocol};
use microbench_formats::shard::Shard;

use crate::engine::description::Engine;
use crate::manifest::nearest::count;
use crate::manifest::protocol::preset;
use crate::manifest::{GUEST, Study};
use crate::plan;

/// Columns of a plan when standard output is not a terminal.
pub const DEFAULT_WIDTH: usize = 80;

// Limits of the short form; `--full` shows everything.
const MOST_CELLS: usize = 60;
const MOST_EXCLUDED: usize = 20;
const MOST_BLOCKS: u32 = 2;
const MOST_IN_BLOCK: usize = 24;

/// Columns between two columns of a table.
const GAP: usize = 2;
/// Indentation of the second line of a row, in columns.
const INDENT: usize = 2;

/// The plan as text of at most `width` columns; only a single word that is longer makes a longer line.
///
/// `full` shows every cell, every exclusion, the definition of each metric and the whole order.
#[must_use]
pub fn render(plan: &Plan, study: &Study, full: bool, width: usize) -> String {
    let mut page = Page::new(width);
    let hash = plan::digest(plan);
    page.paragraph(&plan.title);
    let profile = if plan.profile.is_empty() { String::new() } else { format!(", profile {}", plan.profile) };
    page.paragraph(&format!("study {}{profile}, seed {}, plan {}", plan.study, plan.seed, &hash[..12]));
    if let Some(description) = &study.description {
        page.paragraph(description);
    }
    let attribution = plan.attribution.marked_line();
    if !attribution.is_empty() {
        page.paragraph(&attribution);
    }
    protocol(&mut page, plan);
    page.line("");
    cells(&mut page, plan, full);
    totals(&mut page, plan, study);
    excluded(&mut page, plan, study, full);
    metrics_and_figures(&mut page, plan, full);
    order(&mut page, plan, full);
    page.text
}

/// Names the settings that are not applied to guests that share the host's kernel. Empty without such an engine.
#[must_use]
pub fn without_kernel(engines: &[Engine], width: usize) -> String {
    let sharing: Vec<&Engine> = engines.iter().filter(|engine| engine.guest.shares_kernel()).collect();
    let Some(first) = sharing.first() else { return String::new() };
    let names: Vec<&str> = sharing.iter().map(|engine| engine.name.as_str()).collect();
    let settings = GUEST.iter().map(|setting| setting.name).filter(|name| !first.guest.applies(name));
    let mut page = Page::new(width);
    page.line("");
    page.paragraph(&format!(
        "{}: a guest has no kernel of its own, so {} are not applied to it",
        names.join(", "),
        settings.collect::<Vec<_>>().join(", ")
    ));
    page.text
}

/// The blocks, trials and VMs of each of `of` shards, and the cells that some shards do not run.
#[must_use]
pub fn shards(plan: &Plan, of: u32, width: usize) -> String {
    let mut page = Page::new(width);
    let mut rows = vec![["shard", "blocks", "trials", "VMs"].map(String::from)];
    let mut absent: BTreeMap<&str, u32> = BTreeMap::new();
    let at_once: HashMap<&str, u64> =
        plan.cells.iter().map(|cell| (cell.id.as_str(), u64::from(cell.concurrency))).collect();
    for shard in (1..=of).map(|index| Shard { index, of }) {
        let own: Vec<&PlannedTrial> = plan::trials_of_shard(plan, shard).collect();
        let blocks: BTreeSet<u32> = own.iter().map(|trial| trial.block).collect();
        let all: u64 = own.iter().map(|trial| at_once.get(trial.cell.as_str()).copied().unwrap_or(1)).sum();
        let cells: BTreeSet<&str> = own.iter().map(|trial| trial.cell.as_str()).collect();
        for cell in plan.cells.iter().filter(|cell| !cells.contains(cell.id.as_str())) {
            *absent.entry(&cell.id).or_default() += 1;
        }
        rows.push([shard.to_string(), blocks.len().to_string(), own.len().to_string(), all.to_string()]);
    }
    page.paragraph("shards: shard I of N runs every N-th block; cells are compared within hosts");
    page.table(&rows, 1);
    if !absent.is_empty() {
        let cells: Vec<String> =
            absent.iter().map(|(cell, shards)| format!("{cell} on {} of {of}", of - shards)).collect();
        page.paragraph(&format!(
            "fewer trials than shards: {}; if each shard runs on its own host, two cells are compared only on the \
             hosts that ran \
             both",
            cells.join(", ")
        ));
    }
    page.line("to run one shard:");
    page.line(&format!("  microbench run STUDY --shard 1/{of}"));
    page.line("to merge all shards:");
    page.line("  microbench merge SHARD... --out RUN");
    page.text
}

/// The cells that this host cannot run, each reason once with its cells. Empty when it can run all.
///
/// `cells` are pairs of a cell's id and the reason; a cell with an empty reason can be run.
#[must_use]
pub fn not_applicable(cells: &[(String, String)], width: usize) -> String {
    if cells.is_empty() {
        return String::new();
    }
    let mut page = Page::new(width);
    page.line("");
    page.line("not applicable on this host; the other cells are run:");
    let mut reasons: Vec<&str> = Vec::new();
    for (_, reason) in cells.iter().filter(|(_, reason)| !reason.is_empty()) {
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason);
        }
    }
    for reason in reasons {
        let skipped: Vec<&str> =
            cells.iter().filter(|(_, other)| other == reason).map(|(cell, _)| cell.as_str()).collect();
        page.fill("  ", format!("{}: {reason}", skipped.join(" ")).split(' '), " ");
    }
    page.text
}

/// The [hints](super::hints) about a plan. Empty without one.
#[must_use]
pub fn hints(hints: &[String], width: usize) -> String {
    let mut page = Page::new(width);
    for hint in hints {
        page.line("");
        page.fill("hint: ", hint.split(' '), " ");
    }
    page.text
}

/// Text of lines that are at most `width` columns wide.
pub(super) struct Page {
    pub(super) text: String,
    width: usize,
}

impl Page {
    pub(super) fn new(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    /// Adds a line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    /// Adds a sentence, broken at spaces.
    pub(super) fn paragraph(&mut self, sentence: &str) {
        self.fill("", sentence.split(' '), " ");
    }

    /// Adds a heading and a list. A list that needs several lines begins below a long heading.
    fn list(&mut self, heading: &str, list: &str) {
        if columns(heading) > self.width / 4 && columns(heading) + 1 + columns(list) > self.width {
            self.line(heading);
            self.fill("  ", list.split(' '), " ");
        } else {
            self.fill(&format!("{heading} "), list.split(' '), " ");
        }
    }

    /// Adds `head` and `items` with `separator` between them. Later lines are indented by the length of `head`.
    ///
    /// An item that is longer than a line is broken after a slash.
    pub(super) fn fill<'a>(&mut self, head: &str, items: impl Iterator<Item = &'a str>, separator: &str) {
        let indent = columns(head);
        let room = self.width.saturating_sub(indent);
        let (mut line, mut used) = (head.to_owned(), indent);
        for item in items.flat_map(|item| wrap_cell(item, room)) {
            let length = columns(&item);
            if used > indent && used + columns(separator) + length > self.width {
                self.line(&line);
                (line, used) = (" ".repeat(indent), indent);
            }
            if used > indent {
                line.push_str(separator);
                used += columns(separator);
            }
            line.push_str(&item);
            used += length;
        }
        self.line(&line);
    }

    /// Adds the parts of a command or request, broken between parts. `end` ends each line but the last.
    ///
    /// A part that is longer than a line stays whole, so that it can be copied.
    pub(super) fn command(&mut self, parts: &[String], end: &str) {
        let mut line = String::new();
        for part in parts {
            if line.is_empty() {
                line = format!("  {part}");
            } else if columns(&line) + 1 + columns(part) + columns(end) > self.width {
                self.line(&format!("{line}{end}"));
                line = format!("    {part}");
            } else {
                line.push(' ');
                line.push_str(part);
            }
        }
        self.line(&line);
    }

    /// Adds `head` and a note. A note that does not fit is wrapped next to `head`, or below it if `head` is long.
    pub(super) fn note(&mut self, head: &str, note: &str) {
        /// The least columns of a wrapped note.
        const LEAST: usize = 20;
        if note.is_empty() || columns(head) + columns(note) <= self.width {
            self.line(&format!("{head}{note}"));
        } else if columns(head) + LEAST <= self.width {
            self.fill(head, note.split(' '), " ");
        } else {
            self.line(head);
            self.fill("      ", note.split(' '), " ");
        }
    }

    /// Adds a label and its value on one line, or on two lines if one is too short.
    fn pair(&mut self, label: &str, value: &str) {
        if 2 + columns(label) + GAP + columns(value) <= self.width {
            self.line(&format!("  {label}  {value}"));
        } else {
            self.fill("  ", label.split(' '), " ");
            self.fill("      ", value.split(' '), " ");
        }
    }

    /// Adds rows, the header first: the first `names` columns are aligned left, the others, numbers, right.
    ///
    /// If the rows are too wide, names and headings are wrapped in their columns. If that is not enough, the first
    /// column of each row is on its own line.
    fn table<const N: usize>(&mut self, rows: &[[String; N]], names: usize) {
        let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
        // The first column is what readers search for and copy, so it is not wrapped.
        let mut least = least_widths(&rows, names);
        least[0] = rows.iter().map(|row| columns(row[0])).max().unwrap_or(0);
        if let Some(widths) = fit(&rows, &least, self.width) {
            rows.iter().for_each(|row| self.row(row, &widths, names, 0));
            return;
        }
        let rest: Vec<Vec<&str>> = rows.iter().map(|row| row[1..].to_vec()).collect();
        let room = self.width.saturating_sub(INDENT);
        let least = least_widths(&rest, names - 1);
        let widths = fit(&rest, &least, room).unwrap_or(least);
        for (row, rest) in rows.iter().zip(&rest) {
            wrap_cell(row[0], self.width).iter().for_each(|line| self.line(line));
            self.row(rest, &widths, names - 1, INDENT);
        }
    }

    /// Adds one row of a table, on as many lines as its longest cell needs.
    fn row(&mut self, row: &[&str], widths: &[usize], names: usize, indent: usize) {
        let cells: Vec<Vec<String>> = row.iter().zip(widths).map(|(cell, width)| wrap_cell(cell, *width)).collect();
        for n in 0..cells.iter().map(Vec::len).max().unwrap_or(0) {
            let mut line = " ".repeat(indent);
            for (at, (lines, width)) in cells.iter().zip(widths).enumerate() {
                let part = lines.get(n).map_or("", String::as_str);
                let gap = if at == 0 { 0 } else { GAP };
                line.push_str(&" ".repeat(gap));
                line.push_str(&if at < names { format!("{part:<width$}") } else { format!("{part:>width$}") });
            }
            self.line(&line);
        }
    }
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

/// The parts of a table's cell between which it may be broken: after a space or a slash.
fn breakable_parts(cell: &str) -> impl Iterator<Item = &str> {
    cell.split_inclusive([' ', '/'])
}

/// A table's cell in lines of at most `width` columns. A longer part stays whole.
fn wrap_cell(cell: &str, width: usize) -> Vec<String> {
    let (mut lines, mut line) = (Vec::new(), String::new());
    for part in breakable_parts(cell) {
        if !line.is_empty() && columns(&line) + columns(part.trim_end()) > width {
            lines.push(line.trim_end().to_owned());
            line.clear();
        }
        line.push_str(part);
    }
    lines.push(line.trim_end().to_owned());
    lines
}

/// The least width of each column: that of its longest part. Numbers are not broken, their headings are.
fn least_widths(rows: &[Vec<&str>], names: usize) -> Vec<usize> {
    let longest = |cell: &str| breakable_parts(cell).map(|part| columns(part.trim_end())).max().unwrap_or(0);
    let least = |row: usize, at: usize| {
        let cell = rows[row][at];
        if at < names || row == 0 { longest(cell) } else { columns(cell) }
    };
    let count = rows.first().map_or(0, Vec::len);
    (0..count).map(|at| (0..rows.len()).map(|row| least(row, at)).max().unwrap_or(0)).collect()
}

/// The widths of a table's columns, none below its least width. `None` if the rows cannot be made as narrow as `room`.
fn fit(rows: &[Vec<&str>], least: &[usize], room: usize) -> Option<Vec<usize>> {
    let width_of = |at: usize, most: usize| {
        let lines = rows.iter().flat_map(|row| wrap_cell(row[at], most));
        lines.map(|line| columns(&line)).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..least.len()).map(|at| width_of(at, usize::MAX)).collect();
    while widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1) > room {
        let at = (0..least.len()).filter(|&at| widths[at] > least[at]).max_by_key(|&at| widths[at])?;
        // One column less at least, so that the loop ends.
        let narrower = widths[at] - 1;
        widths[at] = width_of(at, narrower).min(narrower).max(least[at]);
    }
    Some(widths)
}

/// `text` in at most `width` columns: cut after a word, with `...` for the rest.
fn shorten(text: &str, width: usize) -> String {
    const REST: &str = " ...";
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    for word in text.split_inclusive(' ') {
        if columns(&short) + columns(word.trim_end()) + REST.len() > width {
            break;
        }
        short.push_str(word);
    }
    short.trim_end().to_owned() + REST
}

/// Adds a protocol other than the default, and the defaults that it changes.
fn protocol(page: &mut Page, plan: &Plan) {
    if plan.protocol == Protocol::default() {
        return;
    }
    let preset = preset(plan.protocol);
    page.fill("protocol ", format!("{}: {}", preset.name(), preset.doc).split(' '), " ");
    let differences = preset.differences();
    if differences.is_empty() {
        return;
    }
    page.line("defaults of the protocol, unless the manifest sets another value:");
    for (change, why) in differences {
        page.pair(&change, why);
    }
}

/// Guest memory (MiB) of one VM of the cell.
fn vm_memory(cell: &Cell) -> u64 {
    cell.number("memory_mib").unwrap_or(0)
}

/// VMs and guest memory (MiB) of one trial of the cell, all at once.
fn peak(cell: &Cell) -> (u64, u64) {
    let vms = u64::from(cell.concurrency);
    (vms, vms * vm_memory(cell))
}

fn vms(cell: &Cell) -> u64 {
    u64::from(cell.trials) * u64::from(cell.concurrency)
}

/// A size of `mib` MiB, in GiB with one decimal from 1 GiB on.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn memory(mib: u64) -> String {
    if mib < 1024 { format!("{mib} MiB") } else { format!("{:.1} GiB", mib as f64 / 1024.0) }
}

fn cells(page: &mut Page, plan: &Plan, full: bool) {
    let shown = if full { plan.cells.len() } else { plan.cells.len().min(MOST_CELLS) };
    let heads = ["cell", "variant", "engine", "VMs at once", "VM memory", "trials", "VMs"].map(String::from);
    let mut rows = vec![heads];
    rows.extend(plan.cells[..shown].iter().map(|cell| {
        [
            cell.id.to_string(),
            cell.label.to_string(),
            cell.engine.to_string(),
            cell.concurrency.to_string(),
            memory(vm_memory(cell)),
            cell.trials.to_string(),
            vms(cell).to_string(),
        ]
    }));
    page.table(&rows, 3);
    if shown < plan.cells.len() {
        page.line(&format!("... and {}", count((plan.cells.len() - shown) as u64, "more cell")));
    }
}

fn totals(page: &mut Page, plan: &Plan, study: &Study) {
    let instrumented = plan.trials.iter().filter(|trial| trial.instrument.is_some()).count() as u64;
    let all: u64 = plan.cells.iter().map(vms).sum::<u64>() * u64::from(plan.repetitions) + instrumented;
    let (peak_vms, peak_mib) = plan.cells.iter().map(peak).fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)));
    page.line("");
    page.paragraph(&format!(
        "total: {}, {}, {}; at most {} (`concurrency`) and {} of guest memory at once",
        count(plan.cells.len() as u64, "cell"),
        count(plan.trials.len() as u64, "trial"),
        count(all, "VM"),
        count(peak_vms, "VM"),
        memory(peak_mib)
    ));
    if plan.repetitions > 1 {
        let each = count(plan.trials.len() as u64 / u64::from(plan.repetitions), "trial");
        page.paragraph(&format!(
            "repetitions: {} of {each}, each in a new session with new hosts and warm-ups; {}",
            plan.repetitions,
            if plan.repetitions < LEAST_REPETITIONS {
                format!("intervals and comparisons need at least {LEAST_REPETITIONS}")
            } else {
                "the repetition is the unit of intervals and comparisons".to_owned()
            }
        ));
    }
    if let Some(rule) = &plan.precision {
        let every = if rule.every == 1 { "block".to_owned() } else { format!("{} blocks", rule.every) };
        page.paragraph(&format!(
            "at most: after {}, and every {every} from then on, the {} of {} is checked; the run ends when the half \
             width of every cell's 95 % interval is at most {} % of it in two checks in a row",
            count(u64::from(rule.n_min), "block"),
            rule.statistic.label(),
            rule.metric,
            rule.relative * 100.0
        ));
    }
    if let Some(note) = too_few_trials(plan) {
        page.paragraph(&note);
    }
    if let Some(limit) = &plan.limit {
        let limits = [
            limit.failures.map(|share| format!("more than {} % of its VMs fail", share * 100.0)),
            limit.memory_mib.map(|mib| format!("its VMs use more than {mib} MiB of the host's memory")),
            limit.startup_slope_ms.map(|ms| format!("each added VM adds more than {ms} ms to the start-up")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        page.paragraph(&format!(
            "at most: the levels of concurrency are run in ascending order; a sweep ends after the first level of \
             which a cell \
             exceeds a limit: {}",
            limits.join(", or ")
        ));
    }
    if instrumented > 0 {
        let used = |instrument: &Instrument| plan.trials.iter().any(|trial| trial.instrument == Some(*instrument));
        let names: Vec<&str> = Instrument::ALL.into_iter().filter(used).map(Instrument::name).collect();
        let place = if plan.repetitions > 1 { "each repetition" } else { "these" };
        page.paragraph(&format!(
            "the last {} of {place} run under {} and are not timed",
            count(instrumented / u64::from(plan.repetitions.max(1)), "trial"),
            names.join(" or ")
        ));
    }
    for instrument in Instrument::ALL {
        if let Some(line) = without_instrument(plan, instrument) {
            page.paragraph(&line);
        }
    }
    if study.max_consecutive_failures > 0 {
        let trials = count(u64::from(study.max_consecutive_failures), "trial");
        page.paragraph(&format!("a cell is given up after {trials} in a row in which no VM completed"));
    }
    if let Some(line) = host_cpus(plan) {
        page.paragraph(&line);
    }
    if study.warmup {
        page.paragraph("warm-up: 1 uncounted VM of each distinct machine before its first trial in a session");
    }
}

/// The cells of one VM without trials under an instrument that a metric needs, with the reason of the first. `None` if
/// there is no such cell.
fn without_instrument(plan: &Plan, instrument: Instrument) -> Option<String> {
    const MOST: usize = 4;
    let metrics = plan.metrics.iter().filter(|metric| metric.instrument == Some(instrument));
    let metrics: Vec<&str> = metrics.map(|metric| metric.name.as_str()).collect();
    let planned: BTreeSet<&str> = plan
        .trials
        .iter()
        .filter(|trial| trial.instrument == Some(instrument))
        .map(|trial| trial.cell.as_str())
        .collect();
    let is_without = |cell: &&Cell| cell.concurrency == 1 && !planned.contains(cell.id.as_str());
    let cells: Vec<&Cell> = plan.cells.iter().filter(is_without).collect();
    let first = cells.first().filter(|_| !metrics.is_empty())?;
    let mut names: Vec<String> = cells.iter().take(MOST).map(|cell| cell.id.to_string()).collect();
    if cells.len() > MOST {
        names.push(format!("{} more", cells.len() - MOST));
    }
    Some(format!(
        "without {}: {}, because {}",
        metrics.join(" and "),
        names.join(", "),
        instrument.why_not_planned(first)
    ))
}

/// The CPUs of the emulated host that cells set, in one line. `None` if all cells have the default.
#[must_use]
pub fn host_cpus(plan: &Plan) -> Option<String> {
    let cpus: Vec<&str> = plan.host_cpus().into_iter().collect();
    (cpus != [DEFAULT_HOST_CPU]).then(|| format!("{HOST_CPU}: {}, only in the emulated host", cpus.join(", ")))
}

/// Adds the excluded combinations below the line of the manifest that excludes them.
fn excluded(page: &mut Page, plan: &Plan, study: &Study, full: bool) {
    if plan.excluded.is_empty() {
        return;
    }
    page.line("");
    page.line(&format!("excluded: {}", count(plan.excluded.len() as u64, "combination")));
    let shown = if full { plan.excluded.len() } else { plan.excluded.len().min(MOST_EXCLUDED) };
    let mut by_line: Vec<(u32, Vec<&str>)> = Vec::new();
    for Exclusion { cell, line } in &plan.excluded[..shown] {
        match by_line.iter_mut().find(|(known, _)| known == line) {
            Some((_, cells)) => cells.push(cell),
            None => by_line.push((*line, vec![cell])),
        }
    }
    let lines: Vec<&str> = study.source.lines().collect();
    for (line, cells) in by_line {
        let source = lines.get(line.saturating_sub(1) as usize).map_or("", |line| line.trim());
        let source = format!("  by line {line}: {}", source.replace(char::is_control, " "));
        page.line(&shorten(&source, page.width));
        page.fill("    ", cells.into_iter(), "  ");
    }
    if shown < plan.excluded.len() {
        page.line(&format!("  ... and {} more", plan.excluded.len() - shown));
    }
}

/// A note if the variants have too few trials for a verdict on every comparison of the family; `None` with a stopping rule
/// and with enough trials.
fn too_few_trials(plan: &Plan) -> Option<String> {
    let tests = family::tests_of_variants(plan);
    let needed = family::trials_needed(tests);
    let fewest = plan.cells.iter().map(|cell| cell.trials as usize).min()?;
    (tests > 0 && fewest < needed && plan.precision.is_none()).then(|| {
        let metrics = family::metrics(plan);
        let of = if metrics.is_empty() { "every metric".to_owned() } else { metrics.join(", ") };
        format!(
            "note: {} of each cell {} too few for a verdict on each of {} ({of}; every variant with the first one): use {needed} \
             trials, or fewer metrics in `family` of [study]",
            count(fewest as u64, "trial"),
            if fewest == 1 { "is" } else { "are" },
            count(tests as u64, "comparison"),
        )
    })
}

/// The gates of the metrics, as a list; empty without one.
fn gates(plan: &Plan) -> Vec<String> {
    let describe = |metric: &Metric| {
        let gate = metric.gate?;
        let unit = if metric.unit == "1" { String::new() } else { format!(" {}", metric.unit) };
        let parts = [
            gate.margin.map(|margin| format!("±{} %", (margin * 1e5).round() / 1e3)),
            gate.floor.map(|floor| format!("at least {floor}{unit}")),
            gate.both_ways.then(|| "both ways".to_owned()),
        ];
        Some(format!("{} ({})", metric.name, parts.into_iter().flatten().collect::<Vec<_>>().join(", ")))
    };
    plan.metrics.iter().filter_map(describe).collect()
}

/// Adds the names of metrics, figures and claims, and the published values. `full` adds the metrics' definitions.
fn metrics_and_figures(page: &mut Page, plan: &Plan, full: bool) {
    page.line("");
    for (better, heading) in [
        (Better::Lower, "metrics, better when lower:"),
        (Better::Higher, "metrics, better when higher:"),
        (Better::Neither, "metrics without a better direction:"),
    ] {
        let metrics: Vec<&Metric> = plan.metrics.iter().filter(|metric| metric.direction() == better).collect();
        if full {
            define_metrics(page, heading, &metrics);
        } else {
            list_names(page, heading, &metrics.iter().map(|metric| metric.name.as_str()).collect::<Vec<_>>());
        }
    }
    let gates = gates(plan);
    list_names(page, "gates:", &gates.iter().map(String::as_str).collect::<Vec<_>>());
    if plan.figures.is_empty() {
        page.line("figures: none");
    }
    list_names(page, "figures:", &plan.figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>());
    let gated = plan.claims.iter().filter(|claim| claim.gate).map(|claim| claim.name.as_str());
    list_names(page, "claims with a gate:", &gated.collect::<Vec<_>>());
    list_names(page, "claims:", &plan.claims.iter().map(|claim| claim.name.as_str()).collect::<Vec<_>>());
    let undecided = super::claims::without_interval(plan);
    let undecided: Vec<&str> = undecided.iter().map(String::as_str).collect();
    list_names(page, "claims that need more trials for a verdict:", &undecided);
    if let Some(reference) = &plan.reference {
        let left_out = |(metric, reason): (&String, &String)| format!("; without those of {metric}: {reason}");
        let left_out: String = reference.left_out.iter().map(left_out).collect();
        let values = count(reference.values.len() as u64, "value");
        let value = format!("{} ({values}){left_out}", reference.label);
        page.list("published values:", &value);
    }
}

/// Adds each metric with its unit and, below, its definition; nothing without metrics.
fn define_metrics(page: &mut Page, heading: &str, metrics: &[&Metric]) {
    if metrics.is_empty() {
        return;
    }
    page.line(heading);
    for metric in metrics {
        let unit = match metric.unit_or_kind() {
            unit if unit == metric.unit => unit.to_owned(),
            kind => format!("a {kind}"),
        };
        page.fill("  ", format!("{} ({unit})", metric.name).split(' '), " ");
        page.fill("      ", metric.definition.split(' '), " ");
    }
}

/// Adds the names with commas between them; nothing without names.
fn list_names(page: &mut Page, heading: &str, names: &[&str]) {
    if !names.is_empty() {
        page.list(heading, &names.join(", "));
    }
}

fn order(page: &mut Page, plan: &Plan, full: bool) {
    page.line("");
    page.paragraph("order (a block contains each cell at most once):");
    let groups = by_host_cpu(plan);
    if let [(_, trials)] = groups.as_slice() {
        return blocks(page, plan, trials, "  ", full);
    }
    let batches = if plan.precision.is_some() || plan.limit.is_some() {
        " Trials that are scheduled together, such as those between two checks, are divided in this way."
    } else {
        ""
    };
    page.paragraph(&format!(
        "An emulated host has one CPU, so the trials of each {HOST_CPU} are executed together: one CPU after the other, \
         or in several emulated hosts at a time.{batches}"
    ));
    for (cpu, trials) in groups {
        page.line(&format!("  {cpu}:"));
        blocks(page, plan, &trials, "    ", full);
    }
}

/// The trials of each CPU of the emulated host, in the order in which the CPUs first occur.
fn by_host_cpu(plan: &Plan) -> Vec<(&str, Vec<&PlannedTrial>)> {
    let cpus: HashMap<&str, &str> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell.host_cpu())).collect();
    let mut groups: Vec<(&str, Vec<&PlannedTrial>)> = Vec::new();
    for trial in &plan.trials {
        let cpu = cpus.get(trial.cell.as_str()).copied().unwrap_or(DEFAULT_HOST_CPU);
        match groups.iter_mut().find(|(known, _)| *known == cpu) {
            Some((_, own)) => own.push(trial),
            None => groups.push((cpu, vec![trial])),
        }
    }
    groups
}

/// Adds one line for each block, after `indent`.
fn blocks(page: &mut Page, plan: &Plan, trials: &[&PlannedTrial], indent: &str, full: bool) {
    let (mut before, mut begun) = (0, None);
    for trials_of_block in trials.chunk_by(|a, b| a.block == b.block) {
        let Some(first) = trials_of_block.first() else { continue };
        if !full && first.block >= MOST_BLOCKS {
            let rest = trials.len() - before;
            page.line(&format!("{indent}... and {} in later blocks", count(rest as u64, "trial")));
            break;
        }
        if plan.repetitions > 1 && begun.replace(first.repetition) != Some(first.repetition) {
            page.line(&format!("{indent}repetition {} of {}:", first.repetition + 1, plan.repetitions));
        }
        before += trials_of_block.len();
        let of_block = trials_of_block.len();
        let shown = if full { of_block } else { of_block.min(MOST_IN_BLOCK) };
        let mut ids: Vec<&str> = trials_of_block[..shown].iter().map(|trial| trial.cell.as_str()).collect();
        let rest = format!("... {} more", of_block - shown);
        if shown < of_block {
            ids.push(&rest);
        }
        page.fill(&format!("{indent}{}: ", first.block), ids.into_iter(), "  ");
    }
}

#[cfg(test)]
mod tests {
    use super::{Page, shorten};

    fn table(width: usize) -> String {
        let mut page = Page::new(width);
        let rows = [
            ["cell", "variant", "VMs at once"],
            ["fc-default/1/minimal", "Firecracker, default kernel", "1"],
            ["qemu/20/minimal", "QEMU", "20"],
        ];
        page.table(&rows.map(|row| row.map(String::from)), 2);
        page.text
    }

    #[test]
    fn a_table_is_wrapped_between_words_to_fit() {
        for width in 24..80 {
            let text = table(width);
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            for word in ["fc-default/1/minimal", "Firecracker,", "default", "kernel"] {
                assert!(text.contains(word), "{word} is broken at {width} columns:\n{text}");
            }
        }
        let expected = [
            "cell                  variant       VMs at",
            "                                      once",
            "fc-default/1/minimal  Firecracker,       1",
            "                      default",
            "                      kernel",
            "qemu/20/minimal       QEMU              20",
        ];
        assert_eq!(table(42).lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_shortened_text_ends_after_a_word() {
        assert_eq!(shorten("one two three", 13), "one two three");
        assert_eq!(shorten("one two three four", 13), "one two ...");
    }
}
