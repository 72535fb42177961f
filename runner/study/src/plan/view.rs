//! A plan as text for a terminal of 100 columns: what would run, how much of the machine it takes, and in which order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;

use microbench_formats::cell::Cell;
use microbench_formats::direction::Better;
use microbench_formats::plan::{Plan, PlannedTrial};
use microbench_formats::shard::Shard;

use crate::engine::description::Engine;
use crate::manifest::protocol::preset;
use crate::manifest::{GUEST, Study};
use crate::plan;

/// Columns that the text takes at most.
const WIDTH: usize = 100;
/// Cells, exclusions and blocks that are shown unless all are asked for.
const MOST_CELLS: usize = 60;
const MOST_EXCLUDED: usize = 20;
const MOST_BLOCKS: u32 = 2;
const MOST_IN_BLOCK: usize = 24;
/// Width below which a column of names is not cut.
const LEAST_NAME: usize = 8;
/// Columns of the cells' table that hold names, from the first; the others hold numbers.
const NAMES: usize = 3;

/// The plan as text; `full` shows every cell, every exclusion and the whole order.
#[must_use]
pub fn render(plan: &Plan, study: &Study, full: bool) -> String {
    let mut text = String::new();
    let hash = plan::digest(plan);
    for line in wrap(&plan.title, "") {
        push(&mut text, &line);
    }
    let profile = if plan.profile.is_empty() { String::new() } else { format!(", profile {}", plan.profile) };
    push(&mut text, &format!("study {}{profile}, seed {}, plan {}", plan.study, plan.seed, &hash[..12]));
    if let Some(description) = &study.description {
        for line in wrap(description, "") {
            push(&mut text, &line);
        }
    }
    protocol(&mut text, plan);
    text.push('\n');
    cells(&mut text, plan, full);
    totals(&mut text, plan, study);
    excluded(&mut text, plan, study, full);
    measured(&mut text, plan);
    order(&mut text, plan, full);
    text
}

/// What holds for the cells of engines whose guests share the host's kernel; empty where there are none.
#[must_use]
pub fn without_kernel(engines: &[Engine]) -> String {
    let sharing: Vec<&Engine> = engines.iter().filter(|engine| engine.guest.shares_kernel()).collect();
    let Some(first) = sharing.first() else { return String::new() };
    let names: Vec<&str> = sharing.iter().map(|engine| engine.name.as_str()).collect();
    let settings = GUEST.iter().map(|setting| setting.name).filter(|name| !first.guest.heeds(name));
    let line = format!(
        "{}: a guest has no kernel of its own, so that {} are not applied to it",
        names.join(", "),
        settings.collect::<Vec<_>>().join(", ")
    );
    wrap(&line, "").iter().fold(String::from("\n"), |text, line| text + line.trim_end() + "\n")
}

/// Who does what when the plan is divided into `of` shards, and which cells are not on every one.
#[must_use]
pub fn shards(plan: &Plan, of: u32) -> String {
    let mut text = String::new();
    let mut rows = vec![["shard", "", "", "blocks", "trials", "VMs"].map(String::from)];
    let mut absent: BTreeMap<&str, u32> = BTreeMap::new();
    let at_once: HashMap<&str, u64> =
        plan.cells.iter().map(|cell| (cell.id.as_str(), u64::from(cell.concurrency))).collect();
    for shard in (1..=of).map(|index| Shard { index, of }) {
        let own: Vec<&PlannedTrial> = plan::of_shard(plan, shard).collect();
        let blocks: BTreeSet<u32> = own.iter().map(|trial| trial.block).collect();
        let all: u64 = own.iter().map(|trial| at_once.get(trial.cell.as_str()).copied().unwrap_or(1)).sum();
        let cells: BTreeSet<&str> = own.iter().map(|trial| trial.cell.as_str()).collect();
        for cell in plan.cells.iter().filter(|cell| !cells.contains(cell.id.as_str())) {
            *absent.entry(&cell.id).or_default() += 1;
        }
        let numbers = [blocks.len().to_string(), own.len().to_string(), all.to_string()];
        let [blocks, trials, vms] = numbers;
        rows.push([shard.to_string(), String::new(), String::new(), blocks, trials, vms]);
    }
    push(&mut text, "shards: whole blocks, every N-th one; cells are compared within hosts");
    table(&mut text, &rows);
    if !absent.is_empty() {
        let cells: Vec<String> =
            absent.iter().map(|(cell, shards)| format!("{cell} on {} of {of}", of - shards)).collect();
        let words = format!(
            "fewer trials than shards: {}; where shards are on hosts of their own, a cell is compared with another only over the \
             hosts that have both",
            cells.join(", ")
        );
        for line in wrap(&words, "") {
            push(&mut text, &line);
        }
    }
    push(
        &mut text,
        &format!("to run one: microbench run STUDY --shard 1/{of}; then: microbench merge SHARD... --out RUN"),
    );
    text
}

/// The cells that this machine cannot run, with the reason of each; nothing where it can run all. Cells of one reason share a line.
#[must_use]
pub fn not_applicable(cells: &[(String, String)]) -> String {
    let mut text = String::new();
    if cells.is_empty() {
        return text;
    }
    push(&mut text, "\nnot applicable here; the other cells are run:");
    let mut reasons: Vec<&str> = Vec::new();
    for (_, reason) in cells.iter().filter(|(_, reason)| !reason.is_empty()) {
        if !reasons.contains(&reason.as_str()) {
            reasons.push(reason);
        }
    }
    for reason in reasons {
        let of: Vec<&str> = cells.iter().filter(|(_, other)| other == reason).map(|(cell, _)| cell.as_str()).collect();
        for line in wrap(&format!("{}: {reason}", of.join(" ")), "  ") {
            push(&mut text, &line);
        }
    }
    text
}

/// The protocol that is followed, and what it changes.
fn protocol(text: &mut String, plan: &Plan) {
    let preset = preset(plan.protocol);
    for line in wrap(&format!("{}: {}", preset.name(), preset.doc), "protocol ") {
        push(text, &line);
    }
    let differences = preset.differences();
    if differences.is_empty() {
        return;
    }
    push(text, "where the manifest does not say otherwise:");
    for (change, why) in differences {
        for line in wrap(&format!("{change}  {why}"), "  ") {
            push(text, &line);
        }
    }
}

fn push(text: &mut String, line: &str) {
    text.push_str(line.trim_end());
    text.push('\n');
}

/// VMs and guest memory (MiB) that one trial of the cell holds at once.
fn peak(cell: &Cell) -> (u64, u64) {
    let vms = u64::from(cell.concurrency);
    (vms, vms * cell.number("memory_mib").unwrap_or(0))
}

fn vms(cell: &Cell) -> u64 {
    u64::from(cell.trials) * u64::from(cell.concurrency)
}

/// A size of `mib` MiB, in the largest unit that leaves at least one.
#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn memory(mib: u64) -> String {
    if mib < 1024 { format!("{mib} MiB") } else { format!("{:.1} GiB", mib as f64 / 1024.0) }
}

fn cells(text: &mut String, plan: &Plan, full: bool) {
    let shown = if full { plan.cells.len() } else { plan.cells.len().min(MOST_CELLS) };
    let heads = ["cell", "variant", "engine", "VMs at once", "memory", "trials", "VMs"].map(String::from);
    let mut rows = vec![heads];
    rows.extend(plan.cells[..shown].iter().map(|cell| {
        let (at_once, mib) = peak(cell);
        [
            cell.id.to_string(),
            cell.label.to_string(),
            cell.engine.to_string(),
            at_once.to_string(),
            memory(mib),
            cell.trials.to_string(),
            vms(cell).to_string(),
        ]
    }));
    table(text, &rows);
    if shown < plan.cells.len() {
        push(text, &format!("... and {} cells more", plan.cells.len() - shown));
    }
}

/// Rows of columns, names to the left and numbers to the right, the widest names cut until all fits.
fn table<const N: usize>(text: &mut String, rows: &[[String; N]]) {
    let mut widths = [0; N];
    for row in rows {
        for (width, field) in widths.iter_mut().zip(row) {
            *width = (*width).max(field.chars().count());
        }
    }
    while widths.iter().sum::<usize>() + 2 * (N - 1) > WIDTH {
        let widest = widths[..NAMES.min(N)].iter_mut().max_by_key(|width| **width);
        let Some(widest) = widest.filter(|width| **width > LEAST_NAME) else { break };
        *widest -= 1;
    }
    for row in rows {
        let mut line = String::new();
        for (at, (field, width)) in row.iter().zip(widths).enumerate() {
            let field = cut(field, width);
            let gap = if at == 0 { "" } else { "  " };
            let _ =
                if at < NAMES { write!(line, "{gap}{field:<width$}") } else { write!(line, "{gap}{field:>width$}") };
        }
        push(text, &line);
    }
}

fn cut(field: &str, width: usize) -> String {
    if field.chars().count() <= width {
        return field.into();
    }
    field.chars().take(width.saturating_sub(3)).chain("...".chars()).collect()
}

fn totals(text: &mut String, plan: &Plan, study: &Study) {
    let instrumented = plan.trials.iter().filter(|trial| trial.instrument.is_some()).count() as u64;
    let all: u64 = plan.cells.iter().map(vms).sum::<u64>() + instrumented;
    let (peak_vms, peak_mib) = plan.cells.iter().map(peak).fold((0, 0), |(a, b), (c, d)| (a.max(c), b.max(d)));
    text.push('\n');
    push(
        text,
        &format!(
            "total: {}, {}, {}; at most {} and {} of guest memory at once",
            count(plan.cells.len() as u64, "cell"),
            count(plan.trials.len() as u64, "trial"),
            count(all, "VM"),
            count(peak_vms, "VM"),
            memory(peak_mib)
        ),
    );
    if let Some(rule) = &plan.precision {
        let words = format!(
            "at most: after {} blocks, and every {} more, a look at the {} of {}; over when the half width of every cell's 95 % \
             interval is at most {} % of it at two looks in a row",
            rule.n_min,
            rule.every,
            rule.statistic.label(),
            rule.metric,
            rule.relative * 100.0
        );
        wrap(&words, "").iter().for_each(|line| push(text, line));
    }
    if let Some(limit) = &plan.limit {
        let limits = [
            limit.failures.map(|share| format!("more than {} % of the VMs fail", share * 100.0)),
            limit.memory_mib.map(|mib| format!("the VMs take more than {mib} MiB of the host's memory")),
            limit.startup_slope_ms.map(|ms| format!("each VM more adds more than {ms} ms to the start-up")),
        ];
        let limits: Vec<String> = limits.into_iter().flatten().collect();
        let words = format!(
            "at most: level after level of concurrency; a sweep ends with the first at which of a cell {}",
            limits.join(", or ")
        );
        wrap(&words, "").iter().for_each(|line| push(text, line));
    }
    if instrumented > 0 {
        push(text, &format!("of these the last {} under strace, never timed", count(instrumented, "trial")));
    }
    if study.max_consecutive_failures > 0 {
        let trials = count(u64::from(study.max_consecutive_failures), "trial");
        push(text, &format!("a cell is given up after {trials} in a row in which no VM completed"));
    }
    if study.warmup {
        push(text, "and to warm up, not counted: 1 VM of each distinct machine before its first trial in a session");
    }
}

fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

fn excluded(text: &mut String, plan: &Plan, study: &Study, full: bool) {
    if plan.excluded.is_empty() {
        return;
    }
    text.push('\n');
    push(text, &format!("excluded: {}", count(plan.excluded.len() as u64, "combination")));
    let shown = if full { plan.excluded.len() } else { plan.excluded.len().min(MOST_EXCLUDED) };
    let lines: Vec<&str> = study.source.lines().collect();
    let width =
        plan.excluded[..shown].iter().map(|exclusion| exclusion.cell.chars().count()).max().unwrap_or(0).min(40);
    for exclusion in &plan.excluded[..shown] {
        let said = lines.get(exclusion.line.saturating_sub(1) as usize).map_or("", |line| line.trim());
        let cell = cut(&exclusion.cell, width);
        let line = format!("  {cell:<width$}  line {}: {}", exclusion.line, said.replace(char::is_control, " "));
        push(text, &cut(&line, WIDTH));
    }
    if shown < plan.excluded.len() {
        push(text, &format!("  ... and {} more", plan.excluded.len() - shown));
    }
}

fn measured(text: &mut String, plan: &Plan) {
    let names = |names: Vec<&str>| if names.is_empty() { "none".into() } else { names.join(", ") };
    let figures = names(plan.figures.iter().map(|figure| figure.name.as_str()).collect());
    let claims = names(plan.claims.iter().map(|claim| claim.name.as_str()).collect());
    let mut lists = Vec::new();
    for (better, head) in [
        (Better::Lower, "metrics, better when lower: "),
        (Better::Higher, "metrics, better when higher: "),
        (Better::Neither, "metrics without a better direction: "),
    ] {
        let own: Vec<&str> = (plan.metrics.iter().filter(|metric| metric.direction() == better))
            .map(|metric| metric.name.as_str())
            .collect();
        if !own.is_empty() {
            lists.push((head, own.join(", ")));
        }
    }
    lists.push(("figures: ", figures));
    if !plan.claims.is_empty() {
        lists.push(("claims: ", claims));
    }
    if let Some(reference) = &plan.reference {
        let left_out = |(metric, reason): (&String, &String)| format!("; not those of {metric}: {reason}");
        let left_out: String = reference.left_out.iter().map(left_out).collect();
        let values = count(reference.values.len() as u64, "value");
        lists.push(("reference: ", format!("{} ({values}){left_out}", reference.label)));
    }
    text.push('\n');
    for (head, names) in lists {
        for line in wrap(&names, head) {
            push(text, &line);
        }
    }
}

fn order(text: &mut String, plan: &Plan, full: bool) {
    text.push('\n');
    push(text, "order, by block:");
    for trials in plan.trials.chunk_by(|a, b| a.block == b.block) {
        let Some(first) = trials.first() else { continue };
        if !full && first.block >= MOST_BLOCKS {
            let rest = plan.trials.len() - first.index as usize;
            push(text, &format!("  ... and {} in later blocks", count(rest as u64, "trial")));
            break;
        }
        let shown = if full { trials.len() } else { trials.len().min(MOST_IN_BLOCK) };
        let mut ids: Vec<&str> = trials[..shown].iter().map(|trial: &PlannedTrial| trial.cell.as_str()).collect();
        let rest = format!("... {} more", trials.len() - shown);
        if shown < trials.len() {
            ids.push(&rest);
        }
        for line in wrap(&ids.join("  "), &format!("  {}: ", first.block)) {
            push(text, &line);
        }
    }
}

/// Words in lines of at most [`WIDTH`] columns, the first after `head` and the others as far in; a longer word is cut.
fn wrap(words: &str, head: &str) -> Vec<String> {
    let indent = head.chars().count();
    let (mut lines, mut line, mut used) = (Vec::new(), head.to_owned(), 0);
    for word in words.split(' ') {
        let word = cut(word, WIDTH - indent);
        let length = word.chars().count();
        if used > 0 && indent + used + 1 + length > WIDTH {
            lines.push(std::mem::replace(&mut line, " ".repeat(indent)));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word);
        used += length;
    }
    lines.push(line);
    lines
}
