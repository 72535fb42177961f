//! Descriptions of lines, timelines, heat maps and violins; and legibility of every form in both widths, with long
//! labels and failures.

use std::collections::BTreeMap;

use microbench_formats::axis::{Axis, Level};
use microbench_formats::cell::Cell;
use microbench_formats::claim::{Claim, Comparison, Side};
use microbench_formats::figure::{Column, Figure, FigureForm, Scaling, Theme};
use microbench_formats::level_map::LevelMap;
use microbench_formats::plan::PlannedTrial;
use microbench_formats::record::{FailureReason, Record};
use microbench_formats::statistic::Statistic;
use microbench_plots::figure::curves::{Curve, Curves, Knee};
use microbench_plots::figure::description::{Chart, LegendKey, MarkShape};
use microbench_plots::figure::heat_map::HeatMap;
use microbench_plots::figure::theme;
use microbench_plots::figure::timeline::Timeline;
use microbench_plots::figure::{Data, Description, describe, save};
use microbench_plots::journal;
use microbench_plots::samples::{Sample, samples};
use microbench_plots::summary::{Row, summarise};
use resvg::usvg;

use crate::support::{Run, bar, claim, figure, metric, selection, text};

const PHASES: [(&str, &str); 5] = [
    ("phase_spawn", "Spawn"),
    ("phase_vmm", "VMM until the kernel"),
    ("phase_kernel", "Kernel"),
    ("phase_init", "Init"),
    ("phase_agent", "Agent and first response"),
];
const AT_ONCE: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// A study of three variants with 1 to 32 VMs, with its samples.
///
/// The start-up time of `fc` is flat up to 8 VMs and then proportional to their number. That of `qemu` is linear; at 4
/// VMs no trial is planned, at 16 some VMs fail, at 32 all. `t2` is not applicable.
struct Wide {
    run: Run,
    samples: Vec<Sample>,
    rows: Vec<Row>,
}

/// A number from 0 to 1 by a linear congruential generator.
fn noise(seed: u32) -> f64 {
    let next = |n: u32| n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
    f64::from(next(next(next(seed.wrapping_mul(2_654_435_761)))) >> 8) / f64::from(1_u32 << 24)
}

fn startup(variant: &str, at_once: u32, trial: u32) -> f64 {
    let n = f64::from(at_once);
    let true_value = if variant == "fc" { 120.0 * (n / 8.0).max(1.0) } else { 90.0 + 22.0 * n };
    // Every 13th trial stalls.
    let stall = if trial.is_multiple_of(13) { 1.25 } else { 1.0 };
    true_value * stall * (1.0 + 0.06 * (noise(trial * 64 + at_once) - 0.5))
}

/// Claims on ratios: with limits on both sides, with one, censored, and without a value.
fn ratios() -> Vec<Claim> {
    let side = |variant: &str, at_once| Side {
        metric: "startup".into(),
        of: selection(&[("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(at_once)])]),
    };
    let claim = |name: &str, (first, second): (Side, Side), least, most| Claim {
        text: format!("The web service of the first microVM starts before that of the second one ({name}), by far"),
        published: least,
        ..claim(name, Some(Comparison::Ratio(first, second)), least, most)
    };
    vec![
        claim("one", (side("fc", 1), side("qemu", 1)), Some(0.9), Some(1.1)),
        claim("two", (side("fc", 8), side("qemu", 8)), Some(0.3), None),
        claim("sixteen", (side("qemu", 16), side("fc", 16)), None, Some(2.0)),
        claim("template", (side("t2", 1), side("fc", 1)), Some(1.0), None),
    ]
}

impl Wide {
    fn new(trials: u32) -> Self {
        let mut run = Run::new(0, Vec::new());
        let plan = &mut run.plan;
        plan.axes = vec![
            Axis { name: "variant".into(), levels: vec![text("fc"), text("qemu"), text("t2")] },
            Axis { name: "concurrency".into(), levels: AT_ONCE.map(|n| Level::Int(i64::from(n))).into() },
        ];
        plan.metrics = vec![metric("startup", "Start-up of the web service", "startup")];
        plan.metrics.extend(PHASES.map(|(name, label)| metric(name, label, name)));
        plan.claims = ratios();
        plan.cells.clear();
        for (variant, label) in [
            ("fc", "Firecracker 1.12"),
            ("qemu", "QEMU microvm, host CPU model"),
            ("t2", "Firecracker 1.12, CPU template T2"),
        ] {
            for concurrency in AT_ONCE {
                if (variant, concurrency) == ("qemu", 4) {
                    continue;
                }
                let levels = LevelMap::from_iter([
                    ("variant".to_owned(), text(variant)),
                    ("concurrency".to_owned(), Level::Int(i64::from(concurrency))),
                ]);
                plan.cells.push(Cell {
                    id: format!("{variant}/{concurrency}").into(),
                    levels,
                    variant: variant.into(),
                    label: label.into(),
                    engine: variant.into(),
                    concurrency,
                    trials,
                    settings: LevelMap::default(),
                });
            }
        }
        for block in 0..trials {
            for cell in &plan.cells {
                let index = u32::try_from(plan.trials.len()).unwrap();
                plan.trials.push(PlannedTrial { index, block, repetition: 0, cell: cell.id.clone(), instrument: None });
            }
        }
        run.write_plan();
        let mut records = vec![Run::start()];
        for trial in &run.plan.trials {
            let cell = run.plan.cells.iter().find(|cell| cell.id == trial.cell).unwrap();
            records.push(Record::TrialStart {
                trial: trial.index,
                attempt: 0,
                cell: cell.id.to_string(),
                warmup: false,
                emulated_host: None,
            });
            let failed = match (cell.variant.as_str(), cell.concurrency) {
                ("t2", _) | ("qemu", 32) => cell.concurrency,
                ("qemu", 16) => trial.block % 3,
                _ => 0,
            };
            for vm in 0..cell.concurrency {
                if vm < failed {
                    let applies = cell.variant != "t2";
                    let reason = if applies { FailureReason::Exited } else { FailureReason::NotApplicable };
                    let message = if applies { "exit status 1" } else { "no such template here" }.to_owned();
                    records.push(Record::Failure { vm, reason, stage: "boot.requested".into(), message });
                    continue;
                }
                let whole = startup(&cell.variant, cell.concurrency, trial.block) * (1.0 + 0.01 * noise(vm));
                let shares = [0.02, 0.28, 0.45, 0.2, 0.05];
                let phases = PHASES.iter().zip(shares).map(|((name, _), share)| (*name, whole * share));
                for (name, value) in phases.chain([("startup", whole)]) {
                    records.push(Record::Reading {
                        vm,
                        name: name.into(),
                        value: Some(value * 1e6),
                        unit: "ns".into(),
                        reason: String::new(),
                    });
                }
            }
            records.push(Record::TrialEnd { trial: trial.index, attempt: 0, ok: cell.concurrency - failed, failed });
        }
        records.push(Record::RunEnd { ended: "2026-01-01T01:00:00Z".into() });
        run.write_journal(&records);
        let samples = samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
        let rows = summarise(&run.plan, &samples);
        Self { run, samples, rows }
    }

    fn all(&self, figure: &Figure) -> Vec<Description> {
        describe(Data { plan: &self.run.plan, rows: &self.rows, samples: &self.samples }, figure).unwrap()
    }

    fn described(&self, figure: &Figure) -> Description {
        let mut all = self.all(figure);
        assert_eq!(all.len(), 1);
        all.remove(0)
    }
}

/// Start-up time over the number of VMs, one line for each variant.
fn scaling(form: FigureForm) -> Figure {
    Figure { x: "concurrency".into(), groups: Some("variant".into()), ..figure("scaling", form, &["startup"]) }
}

fn curves(description: &Description) -> &Curves {
    match &description.chart {
        Chart::Curves(curves) => curves,
        other => panic!("{other:?}"),
    }
}

fn values(curve: &Curve) -> Vec<Option<f64>> {
    curve.places.iter().map(|at| at.value.map(f64::round)).collect()
}

#[test]
fn a_line_uses_numeric_levels_and_is_interrupted_at_missing_values() {
    let wide = Wide::new(7);
    let description = wide.described(&scaling(FigureForm::Line));
    let curves = curves(&description);
    assert_eq!(
        (curves.x_label.as_str(), curves.levels.as_slice()),
        ("VMs at once", &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0][..])
    );
    assert_eq!(curves.y_label, "Start-up of the web service (ms, virtual time)");
    let [fc, qemu, t2] = &curves.panels[0].curves[..] else { panic!("{curves:?}") };
    assert!(fc.places.iter().all(|at| at.interval.is_some_and(|(low, high)| low < high) && at.points.len() == 7));
    let found: Vec<bool> = qemu.places.iter().map(|at| at.value.is_some()).collect();
    assert_eq!(found, [true, true, false, true, true, false]);
    let notes: Vec<&str> = qemu.places.iter().map(|at| at.note.as_str()).collect();
    assert_eq!(notes, ["", "", "excluded", "", "6/112 failed", "224/224 failed"]);
    assert_eq!(values(t2), [None; 6]);
    assert!(t2.places.iter().all(|at| at.note == "n/a here") && fc.knee.is_none());
    let keys: Vec<LegendKey> = description.legend.iter().map(|entry| entry.key).collect();
    assert_eq!(keys, [LegendKey::Curve(0), LegendKey::Curve(1), LegendKey::Missing]);
    for text in [
        "straight lines between measured levels",
        "bands: 95 % order-statistic interval",
        "Marked in red: Firecracker 1.12, CPU template T2: n/a here; 4, QEMU microvm, host CPU model: excluded; 16, ",
    ] {
        assert!(description.caption.contains(text), "{text}: {}", description.caption);
    }
}

#[test]
fn a_knee_is_reported_and_so_is_its_absence() {
    let description = Wide::new(7).described(&scaling(FigureForm::Scaling));
    let knees: Vec<Option<&Knee>> =
        curves(&description).panels[0].curves.iter().map(|curve| curve.knee.as_ref()).collect();
    let [Some(Knee::At { x, value }), Some(Knee::None(straight)), Some(Knee::None(few))] = knees[..] else {
        panic!("{knees:?}");
    };
    assert!(*x == 8.0 && (115.0..150.0).contains(value), "{x} {value}");
    assert_eq!((straight.as_str(), few.as_str()), ("no knee", "0 of 4 required points"));
    for text in ["Kneedle (Satopaa et al. 2011", "Firecracker 1.12: at 8; QEMU microvm, host CPU model: no knee; "] {
        assert!(description.caption.contains(text), "{text}: {}", description.caption);
    }
    // Five trials have no interval, and without an interval there is no knee.
    let knee = curves(&Wide::new(5).described(&scaling(FigureForm::Scaling))).panels[0].curves[0].knee.clone();
    assert_eq!(knee, Some(Knee::None("no interval, so a knee could be noise".into())));
}

#[test]
fn labels_of_logarithmic_axes_say_so() {
    let wide = Wide::new(6);
    let both = Figure { x_scale: Scaling::Log, y_scale: Scaling::Log, ..scaling(FigureForm::Line) };
    let description = wide.described(&both);
    let curves = curves(&description);
    assert!(curves.x_log && curves.y_log);
    assert_eq!(curves.x_label, "VMs at once (log scale)");
    assert_eq!(curves.y_label, "Start-up of the web service (ms, virtual time) (log scale)");
    let only = BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    let strip = Figure { y_scale: Scaling::Log, only: only.clone(), ..figure("f", FigureForm::Strip, &["startup"]) };
    let Chart::Marks { y_label, log: true, .. } = wide.described(&strip).chart else { panic!("no logarithmic axis") };
    assert!(y_label.ends_with("(log scale)"), "{y_label}");
    let ecdf = Figure { x_scale: Scaling::Log, only, ..figure("f", FigureForm::Ecdf, &["startup"]) };
    let description = wide.described(&ecdf);
    let Chart::Ecdf(ecdf) = &description.chart else { panic!("{description:?}") };
    assert!(ecdf.log && ecdf.x_label.ends_with("(log scale)"), "{}", ecdf.x_label);
    let missing: Vec<&str> = description
        .legend
        .iter()
        .filter(|entry| entry.key == LegendKey::Missing)
        .map(|entry| entry.label.as_str())
        .collect();
    assert_eq!(missing, ["Firecracker 1.12, CPU template T2: n/a here"], "the legend does not list the missing line");
}

#[test]
fn a_violin_with_too_few_trials_shows_points_only() {
    let only = BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    let violin = Figure { only, ..figure("f", FigureForm::Violin, &["startup"]) };
    let marks = |trials| match Wide::new(trials).described(&violin).chart {
        Chart::Marks { panels, .. } => panels[0].marks.clone(),
        other => panic!("{other:?}"),
    };
    let many = marks(10);
    let MarkShape::Violin { values, median, outline } = &many[0].shape else { panic!("{:?}", many[0]) };
    assert!(values.len() == 10 && many[0].note.is_empty());
    let (low, high) = (outline.first().unwrap().0, outline.last().unwrap().0);
    assert!(low < *median && *median < high, "{low} {median} {high}");
    assert!((values.iter().copied().fold(f64::INFINITY, f64::min) - low).abs() < 1e-9, "nothing below the data");
    assert!(
        outline.iter().all(|(_, share)| (0.0..=1.0).contains(share)) && outline.iter().any(|(_, share)| *share == 1.0)
    );
    assert_eq!((&many[2].shape, many[2].note.as_str()), (&MarkShape::Empty, "n/a here"));
    let few = marks(9);
    assert!(matches!(&few[0].shape, MarkShape::Violin { outline, .. } if outline.is_empty()));
    assert_eq!(few[0].note, "n = 9: points only");
}

fn timeline(description: &Description) -> &Timeline {
    match &description.chart {
        Chart::Timeline(timeline) => timeline,
        other => panic!("{other:?}"),
    }
}

fn phases(name: &str) -> Figure {
    Figure { groups: Some("concurrency".into()), ..figure(name, FigureForm::Timeline, &PHASES.map(|(name, _)| name)) }
}

#[test]
fn timeline_phases_are_contiguous_and_end_at_the_statistic_of_the_whole() {
    let wide = Wide::new(7);
    let description = wide.described(&phases("timeline"));
    let timeline = timeline(&description);
    assert_eq!(timeline.rows.len(), 18);
    for statistic in [Statistic::Median, Statistic::Mean] {
        let description = wide.described(&Figure { statistic, ..phases("timeline") });
        let row = &self::timeline(&description).rows[0];
        assert_eq!((row.label.as_str(), row.spans.len()), ("Firecracker 1.12, 1 VM", 5));
        for pair in row.spans.windows(2) {
            assert_eq!(pair[0].to, pair[1].from);
            assert!(pair[0].from < pair[0].to && pair[0].colour + 1 == pair[1].colour);
        }
        let whole = wide.rows.iter().find(|row| row.cell == "fc/1" && row.metric == "startup").unwrap();
        let (end, expected) = (row.spans[4].to, whole.statistic(statistic).unwrap());
        assert!((end - expected).abs() < 1e-6, "{end}, not {expected}");
        // The mean of 7 trials has no interval.
        assert_eq!(row.interval.is_some(), statistic == Statistic::Median);
        assert!(row.interval.is_none_or(|(low, high)| low <= end && end <= high));
    }
    let excluded = timeline.rows.iter().find(|row| row.label == "QEMU microvm, host CPU model, 4 VMs at once").unwrap();
    assert!(excluded.spans.is_empty() && excluded.note == "excluded");
    let failed = timeline.rows.iter().find(|row| row.label == "QEMU microvm, host CPU model, 32 VMs at once").unwrap();
    assert!(failed.spans.is_empty() && failed.note == "224/224 failed", "{failed:?}");
    assert_eq!(description.legend.len(), 5);
    assert!(description.caption.contains("a row ends at the median of the whole"), "{}", description.caption);
}

#[test]
fn every_heat_map_cell_has_a_number_or_a_reason() {
    let wide = Wide::new(7);
    let heat = Figure {
        groups: Some("variant".into()),
        x: "concurrency".into(),
        ..figure("f", FigureForm::HeatMap, &["startup"])
    };
    let description = wide.described(&heat);
    let Chart::HeatMap(HeatMap { columns, rows, cells, label, x_label, y_label }) = &description.chart else {
        panic!("{description:?}");
    };
    assert_eq!(columns, &["1", "2", "4", "8", "16", "32"]);
    assert_eq!(rows, &["Firecracker 1.12", "QEMU microvm, host CPU model", "Firecracker 1.12, CPU template T2"]);
    assert_eq!(
        (label.as_str(), x_label.as_str(), y_label.as_str()),
        ("Start-up of the web service (ms, virtual time)", "VMs at once", "")
    );
    let texts: Vec<&str> = cells[1].iter().map(|cell| cell.text.as_str()).collect();
    assert_eq!((texts[2], texts[5]), ("excluded", "failed"));
    assert!(texts[4].ends_with('*') && cells[1][4].value.is_some(), "{texts:?}");
    assert!(cells[2].iter().all(|cell| cell.value.is_none() && cell.text == "n/a"));
    assert!(cells.iter().flatten().all(|cell| !cell.text.is_empty()));
    assert!(description.caption.contains("*: values of some VMs are missing."), "{}", description.caption);
}

#[test]
fn a_figure_that_its_form_cannot_draw_is_an_error() {
    let wide = Wide::new(1);
    let data = Data { plan: &wide.run.plan, rows: &wide.rows, samples: &wide.samples };
    let error = |figure: &Figure| describe(data, figure).unwrap_err().to_string();
    let line = Figure { x: "variant".into(), groups: None, ..scaling(FigureForm::Line) };
    assert_eq!(error(&line), "figure scaling: level `fc` of axis `variant` is not a number");
    let heat = figure("f", FigureForm::HeatMap, &["startup"]);
    assert_eq!(error(&heat), "figure f: a heat map requires `groups`, the axis of its rows");
}

/// Figures of every form with long labels, failures and cells that are not applicable.
fn print_figures() -> Vec<Figure> {
    let startup: &[&str] = &["startup"];
    let phases_of: Vec<&str> = PHASES.iter().map(|(name, _)| *name).collect();
    let by_concurrency =
        |form| Figure { x: "concurrency".into(), groups: Some("variant".into()), ..figure("f", form, startup) };
    let one = BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    let by_variant = |form, metrics: &[&str]| Figure { only: one.clone(), ..figure("f", form, metrics) };
    let twelve = (0..12).map(|n| {
        let (variant, at_once) = [("fc", 1), ("fc", 8), ("qemu", 2), ("qemu", 32), ("t2", 1), ("fc", 16)][n % 6];
        let of = [("variant", vec![text(variant)]), ("concurrency", vec![Level::Int(at_once)])];
        bar(&format!("{variant} with a long label, {at_once}"), ["guest one", "guest two", "guest three"][n % 3], &of)
    });
    let long = "Words_without_any_place_to_break_them_and_of_more_than_the_width_of_one_column, then others";
    let lengthy = Figure {
        bars: vec![bar(long, long, &[("variant", vec![text("fc")]), ("concurrency", vec![Level::Int(32)])])],
        y_label: format!("{long}, {long} (ms, virtual time)"),
        ..figure("f", FigureForm::Bars, startup)
    };
    let named = |name: &str, figure: Figure| Figure {
        name: name.into(),
        title: "Start-up of a microVM, from spawn to first response".into(),
        ..figure
    };
    let log = |figure: Figure| Figure { y_scale: Scaling::Log, ..figure };
    vec![
        named("bars", by_variant(FigureForm::Bars, startup)),
        named("bars-twelve", Figure { bars: twelve.collect(), ..figure("f", FigureForm::Bars, startup) }),
        named("bars-lengthy", lengthy.clone()),
        named(
            "timeline-lengthy",
            Figure { form: FigureForm::Timeline, y_label: String::new(), metrics: phases("f").metrics, ..lengthy },
        ),
        named("grouped-bars", by_concurrency(FigureForm::GroupedBars)),
        named("stacked-bars", by_variant(FigureForm::StackedBars, &phases_of)),
        named("overlaid-bars", by_variant(FigureForm::OverlaidBars, &["startup", "phase_kernel"])),
        named("box", by_concurrency(FigureForm::Box)),
        named("box-log", log(by_concurrency(FigureForm::Box))),
        named("violin", by_variant(FigureForm::Violin, startup)),
        named("violin-grouped", log(by_concurrency(FigureForm::Violin))),
        named("strip", by_variant(FigureForm::Strip, startup)),
        named("ecdf", by_variant(FigureForm::Ecdf, startup)),
        named("line", scaling(FigureForm::Line)),
        named("line-log", log(Figure { x_scale: Scaling::Log, ..scaling(FigureForm::Line) })),
        named("scaling", Figure { x_scale: Scaling::Log, ..scaling(FigureForm::Scaling) }),
        named(
            "scaling-panels",
            Figure { groups: None, panels: Some("variant".into()), ..scaling(FigureForm::Scaling) },
        ),
        named("timeline", phases("f")),
        named("forest", figure("f", FigureForm::Forest, &[])),
        named("heat-map", by_concurrency(FigureForm::HeatMap)),
        named(
            "heat-map-tall",
            Figure { groups: Some("concurrency".into()), ..figure("f", FigureForm::HeatMap, startup) },
        ),
    ]
}

/// Texts that are cut off by the edge, or that overlap. Text at 45 degrees is checked against the edge only.
fn illegible_texts(name: &str, svg: &str) -> Vec<String> {
    let mut fonts = usvg::fontdb::Database::new();
    fonts.load_font_data(theme::REGULAR.to_vec());
    fonts.load_font_data(theme::BOLD.to_vec());
    let options = usvg::Options { fontdb: std::sync::Arc::new(fonts), ..usvg::Options::default() };
    let tree = usvg::Tree::from_str(svg, &options).unwrap();
    let mut texts = Vec::new();
    collect_texts(tree.root(), &mut texts);
    assert!(texts.len() > 5, "{name}: {} texts", texts.len());
    let (wide, high) = (tree.size().width(), tree.size().height());
    let mut problems = Vec::new();
    for (n, (text, area, rising)) in texts.iter().enumerate() {
        let inside = area.left() >= 0.0 && area.top() >= 0.0 && area.right() <= wide && area.bottom() <= high;
        if !inside {
            problems.push(format!("{name}: `{text}` is cut off: {area:?} of {wide} x {high}"));
        }
        for (other, other_area, other_rising) in &texts[..n] {
            let across = area.right().min(other_area.right()) - area.left().max(other_area.left());
            let down = area.bottom().min(other_area.bottom()) - area.top().max(other_area.top());
            let apart = *rising || *other_rising || across < 1.0 || down < 1.0;
            if !apart {
                problems.push(format!("{name}: `{text}` overlaps `{other}`: {area:?} {other_area:?}"));
            }
        }
    }
    problems
}

/// Collects each text with its bounding box, and whether it is at 45 degrees.
fn collect_texts(group: &usvg::Group, texts: &mut Vec<(String, usvg::Rect, bool)>) {
    for node in group.children() {
        match node {
            usvg::Node::Group(group) => collect_texts(group, texts),
            usvg::Node::Text(text) => {
                let content: String = text.chunks().iter().map(usvg::TextChunk::text).collect();
                let transform = text.abs_transform();
                let rising = transform.kx.abs() > 1e-3 && transform.sx.abs() > 1e-3;
                texts.push((content, text.abs_bounding_box(), rising));
            }
            _ => {}
        }
    }
}

/// Checks every form in both widths. `MICROBENCH_KEEP_FIGURES=FOLDER` keeps the files for inspection.
#[test]
fn every_form_is_legible_in_print() {
    let wide = Wide::new(12);
    let folder = tempfile::tempdir().unwrap();
    let keep = std::env::var_os("MICROBENCH_KEEP_FIGURES").map(std::path::PathBuf::from);
    let folder = keep.as_deref().unwrap_or(folder.path());
    let mut problems = Vec::new();
    for figure in print_figures() {
        for (column, end) in [(Column::Single, "single"), (Column::Double, "double")] {
            let name = format!("paper-{}-{end}", figure.name);
            let description = wide.described(&Figure { name, column, theme: Theme::Publication, ..figure.clone() });
            let files = save(&description, folder).unwrap();
            if column == Column::Single {
                let before: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
                save(&description, folder).unwrap();
                for (file, before) in files.iter().zip(before) {
                    assert!(std::fs::read(file).unwrap() == before, "{} differs", file.display());
                }
            }
            let ends: Vec<_> =
                files.iter().map(|file| file.to_string_lossy().rsplit_once(end).unwrap().1.to_owned()).collect();
            assert_eq!(ends, [".svg", ".pdf", ".png", ".caption.txt", ".caption.tex"]);
            let svg = std::fs::read_to_string(&files[0]).unwrap();
            assert!(!svg.contains("NaN"), "{}", description.name);
            problems.extend(illegible_texts(&description.name, &svg));
            // Text has 8 points in print, the title 9; there are 600 units per inch.
            for size in svg.split("font-size=\"").skip(1).map(|rest| rest.split('"').next().unwrap()) {
                let points = size.parse::<f64>().unwrap() * 72.0 / 600.0;
                assert!(points > 7.9, "{}: text of {points} pt", description.name);
            }
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
