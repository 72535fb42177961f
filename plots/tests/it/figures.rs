//! Figure descriptions and files of known samples.

use microbench_formats::axis::Level;
use microbench_formats::figure::{Column, Figure, FigureForm, Theme};
use microbench_formats::record::{NOT_APPLICABLE, Record};
use microbench_formats::statistic::Statistic;
use microbench_plots::figure::description::{Chart, LegendKey, Mark, MarkShape, Panel};
use microbench_plots::figure::{Data, Description, describe};
use microbench_plots::{analyze, journal, plot, samples, summary};

use crate::support::{Run, bar, figure, text};

const BOTH: &[&str] = &["webservice_startup_time", "kernel_boot_time"];

fn described(trials: u32, figure: &Figure) -> Vec<Description> {
    let run = Run::new(trials, vec![figure.clone()]);
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let rows = summary::summarise(&run.plan, &samples);
    describe(Data { plan: &run.plan, rows: &rows, samples: &samples }, figure).unwrap()
}

fn described_once(trials: u32, figure: &Figure) -> Description {
    let mut all = described(trials, figure);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn panel(description: &Description) -> Panel {
    match &description.chart {
        Chart::Marks { panels, .. } => panels[0].clone(),
        other => panic!("{other:?}"),
    }
}

fn height(mark: &Mark) -> Option<f64> {
    match &mark.shape {
        MarkShape::Bar { height, .. } => Some(*height),
        _ => None,
    }
}

/// Like the paper's figure 7: listed bars, both metrics in each place.
fn listed(form: FigureForm) -> Figure {
    let concurrency = |n| ("concurrency", vec![Level::Int(n)]);
    Figure {
        bars: vec![
            bar("qemu x10", "QEMU", &[("variant", vec![text("qemu")]), concurrency(10)]),
            bar("firecracker x10", "firecracker", &[("engine", vec![text("firecracker")]), concurrency(10)]),
            bar("T2", "firecracker", &[("variant", vec![text("t2")]), concurrency(1)]),
        ],
        statistic: Statistic::Mean,
        ..figure("listed", form, BOTH)
    }
}

#[test]
fn listed_bars_keep_their_order_labels_and_heights() {
    let description = described_once(3, &listed(FigureForm::OverlaidBars));
    let panel = panel(&description);
    assert_eq!(panel.ticks, ["qemu x10", "firecracker x10", "T2"]);
    // Start-up behind, kernel boot in front. A pooled bar is the mean of its measured cells.
    let heights: Vec<_> = panel.marks.iter().map(|mark| (mark.tick, mark.layer, height(mark))).collect();
    assert_eq!(
        heights,
        [
            (0, (0, 2), Some(603.0)),
            (0, (1, 2), Some(201.0)),
            (1, (0, 2), Some(453.0)),
            (1, (1, 2), Some(151.0)),
            (2, (0, 2), None),
            (2, (1, 2), None),
        ]
    );
    assert_eq!(panel.marks[4].note, "n/a here");
    let legend: Vec<_> = description.legend.iter().map(|entry| (entry.label.as_str(), entry.key)).collect();
    assert_eq!(legend[..2], [("QEMU", LegendKey::Group(0)), ("firecracker", LegendKey::Group(1))]);
    assert!(description.caption.contains("firecracker x10: fc/10, t2/10"), "{}", description.caption);
}

#[test]
fn stacked_bars_have_a_part_and_a_colour_for_each_metric() {
    let description = described_once(3, &listed(FigureForm::StackedBars));
    let parts = |mark: &Mark| match &mark.shape {
        MarkShape::Stack { parts, .. } => parts.iter().map(|part| (part.colour, part.height)).collect(),
        _ => Vec::new(),
    };
    let marks = panel(&description).marks;
    // Each part of a pooled bar is the mean of its measured cells.
    let all: Vec<_> = marks.iter().map(parts).collect();
    assert_eq!(all, [vec![(0, 603.0), (1, 201.0)], vec![(0, 453.0), (1, 151.0)], vec![]]);
    let MarkShape::Stack { interval, points, .. } = &marks[0].shape else { panic!("{:?}", marks[0]) };
    assert_eq!(points.as_slice(), [800.0, 804.0, 808.0]);
    assert_eq!(*interval, None, "a mean of 3 trials has no interval");
    assert_eq!((&marks[2].shape, marks[2].note.as_str()), (&MarkShape::Empty, "n/a here"));
    let legend: Vec<_> = description.legend.iter().map(|entry| (entry.label.as_str(), entry.key)).collect();
    assert_eq!(legend, [("Web service start-up", LegendKey::Group(0)), ("Kernel boot", LegendKey::Group(1))]);
    let Chart::Marks { y_label, .. } = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!(y_label, "Time (ms, virtual time)");
    for text in
        ["means over trials", "medians would not add up", "no interval of a mean below 100 trials", "n = 3 trials each"]
    {
        assert!(description.caption.contains(text), "{}", description.caption);
    }
}

#[test]
fn a_stacked_bar_without_a_part_is_marked_incomplete() {
    let figure = listed(FigureForm::StackedBars);
    let run = Run::new(3, vec![figure.clone()]);
    let mut cell = String::new();
    let mut removed = |record: &Record| {
        if let Record::TrialStart { cell: begun, .. } = record {
            cell.clone_from(begun);
        }
        cell == "qemu/10" && matches!(record, Record::Reading { name, .. } if name == "known.startup")
    };
    run.write_journal(&run.records().into_iter().filter(|record| !removed(record)).collect::<Vec<_>>());
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let rows = summary::summarise(&run.plan, &samples);
    let description = describe(Data { plan: &run.plan, rows: &rows, samples: &samples }, &figure).unwrap().remove(0);
    let mark = &panel(&description).marks[0];
    let MarkShape::Stack { parts, interval, points } = &mark.shape else { panic!("{mark:?}") };
    assert_eq!(parts.iter().map(|part| (part.colour, part.height)).collect::<Vec<_>>(), [(1, 201.0)]);
    assert!(interval.is_none() && points.is_empty(), "an incomplete bar has no sum");
    assert_eq!(mark.note, "1 part missing");
    let sentence = "Incomplete bars: qemu x10 without Web service start-up.";
    assert!(description.caption.contains(sentence), "{}", description.caption);
}

#[test]
fn a_part_that_a_guest_cannot_have_is_not_applicable_rather_than_missing() {
    let (stacked, overlaid) = (listed(FigureForm::StackedBars), listed(FigureForm::OverlaidBars));
    let run = Run::new(3, vec![stacked.clone()]);
    let mut cell = String::new();
    let why = "a container has no kernel of its own";
    let records = run.records().into_iter().map(|mut record| {
        if let Record::TrialStart { cell: begun, .. } = &record {
            cell.clone_from(begun);
        }
        if let (Record::Reading { name, value, reason, .. }, "qemu/10") = (&mut record, cell.as_str())
            && name == "known.startup"
        {
            (*value, *reason) = (None, format!("{NOT_APPLICABLE}{why}"));
        }
        record
    });
    run.write_journal(&records.collect::<Vec<_>>());
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let of_cell = |sample: &&samples::Sample| sample.cell == "qemu/10" && sample.value.is_none() && sample.counts();
    let missing: Vec<_> =
        samples.iter().filter(of_cell).map(|sample| (sample.status, sample.reason.as_str())).collect();
    assert!(
        !missing.is_empty() && missing.iter().all(|found| *found == (samples::Status::NotApplicable, why)),
        "{missing:?}"
    );
    let rows = summary::summarise(&run.plan, &samples);
    let data = Data { plan: &run.plan, rows: &rows, samples: &samples };
    assert_eq!(panel(&describe(data, &stacked).unwrap().remove(0)).marks[0].note, "1 part n/a");
    assert_eq!(panel(&describe(data, &overlaid).unwrap().remove(0)).marks[0].note, "n/a");
}

/// A quantile has no bar without an interval, which needs 29 trials for the 90th percentile.
#[test]
fn a_quantile_with_too_few_trials_has_no_bar_and_states_the_required_number() {
    let wanted = Figure { statistic: Statistic::P90, ..figure("tail", FigureForm::Bars, &["kernel_boot_time"]) };
    let wanted = Figure { only: [("concurrency".to_owned(), vec![Level::Int(1)])].into(), ..wanted };
    let marks = panel(&described_once(28, &wanted)).marks;
    assert_eq!((height(&marks[0]), marks[0].note.as_str()), (None, "n too small (28 of 29)"));
    assert_eq!((height(&marks[2]), marks[2].note.as_str()), (None, "n/a here"));
    let description = described_once(29, &wanted);
    // Values are 110 to 138 ms in steps of 1 ms; the type 7 quantile is at index 25.2.
    let marks = panel(&description).marks;
    assert!((height(&marks[0]).unwrap() - 135.2).abs() < 1e-9, "{:?}", marks[0]);
    assert!(
        matches!(&marks[0].shape, MarkShape::Bar { interval: Some((low, high)), .. } if *low == 130.0 && *high == 138.0)
    );
    assert!(description.caption.contains("90th percentile over VMs"), "{}", description.caption);
}

#[test]
fn forms_other_than_overlaid_and_stacked_make_one_figure_for_each_metric() {
    let names: Vec<_> = described(3, &listed(FigureForm::Bars)).into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["listed-webservice_startup_time", "listed-kernel_boot_time"]);
}

#[test]
fn published_values_are_shown_next_to_their_cells() {
    let figure = Figure {
        reference: true,
        groups: Some("concurrency".into()),
        ..figure("f", FigureForm::GroupedBars, &["kernel_boot_time"])
    };
    let description = described_once(3, &figure);
    let references: Vec<_> = panel(&description).marks.iter().map(|mark| mark.reference).collect();
    assert_eq!(references, [Some(150.0), None, None, Some(90.0), None, Some(90.0)]);
    assert_eq!(description.legend.last().map(|entry| entry.key), Some(LegendKey::Reference));
    assert!(description.caption.contains("wall time, on other hardware (Somebody, A paper, 2019)"));
}

#[test]
fn a_box_plot_has_tukeys_quartiles_and_whiskers() {
    let panel = panel(&described_once(9, &figure("f", FigureForm::Box, &["kernel_boot_time"])));
    // The trials 0 to 8 of `qemu/1`.
    let MarkShape::Box { quartiles, whiskers, ref outliers } = panel.marks[0].shape else {
        panic!("{:?}", panel.marks[0])
    };
    assert_eq!((quartiles, whiskers), ([112.0, 114.0, 116.0], (110.0, 118.0)));
    assert!(outliers.is_empty());
}

#[test]
fn a_strip_keeps_run_order_and_a_distribution_function_sorts() {
    let only = std::collections::BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    let strip = Figure { only: only.clone(), ..figure("f", FigureForm::Strip, &["kernel_boot_time"]) };
    let marks = panel(&described_once(3, &strip)).marks;
    assert_eq!(marks[1].shape, MarkShape::Strip { values: vec![60.0, 61.0, 62.0], median: 61.0 });
    let ecdf = Figure { only, ..figure("f", FigureForm::Ecdf, &["kernel_boot_time"]) };
    let description = described_once(3, &ecdf);
    let Chart::Ecdf(ecdf) = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!(ecdf.lines[0].values, [110.0, 111.0, 112.0]);
    assert_eq!(ecdf.lines.len(), 2, "a cell that is not applicable has a line");
    assert!(description.caption.contains("Firecracker T2: n/a here"), "{}", description.caption);
}

#[test]
fn a_figure_has_places_for_exactly_the_selected_levels() {
    let drawn = |only: &[(&str, Vec<Level>)]| {
        let only = only.iter().map(|(axis, levels)| ((*axis).to_owned(), levels.clone())).collect();
        let groups = Some("concurrency".into());
        let bars = Figure { only, groups, ..figure("f", FigureForm::GroupedBars, &["kernel_boot_time"]) };
        let panel = panel(&described_once(3, &bars));
        (panel.ticks.len(), panel.marks.len())
    };
    let (one, ten) = (Level::Int(1), Level::Int(10));
    assert_eq!(drawn(&[]), (3, 6));
    assert_eq!(drawn(&[("concurrency", vec![one, ten.clone()])]), (3, 6));
    assert_eq!(drawn(&[("concurrency", vec![ten])]), (3, 3));
    let fc = Level::Text("firecracker".into());
    assert_eq!(drawn(&[("engine", vec![fc.clone()])]), (2, 4));
    assert_eq!(drawn(&[("engine", vec![fc, Level::Text("qemu-microvm".into())])]), (3, 6));
}

#[test]
fn a_set_up_diagram_needs_only_the_plan() {
    let only = std::collections::BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(10)])]);
    let description = described_once(1, &Figure { only, ..figure("f", FigureForm::Setup, &[]) });
    let Chart::Setup(setup) = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!((setup.guests, setup.engines.len(), setup.rootfs.as_slice()), (10, 2, &["openrc".to_owned()][..]));
}

/// The title is the first sentence, and special characters are escaped.
#[test]
fn a_latex_caption_is_one_escaped_paragraph() {
    let figure = Figure { title: "Boots & stops, 100 %".into(), ..figure("f", FigureForm::Box, &["kernel_boot_time"]) };
    let run = Run::new(7, vec![figure]);
    analyze(run.folder()).unwrap();
    plot(run.folder(), None).unwrap();
    let (tex, text) = (run.read("figures/f.caption.tex"), run.read("figures/f.caption.txt"));
    assert!(tex.starts_with("Boots \\& stops, 100~\\%. Boxes: quartiles over trials"), "{tex}");
    assert!(
        tex.ends_with(
            "emulated host, virtual time: 1 instruction = 1 ns; caches and VM-exit latency are not modelled.%\n"
        ),
        "{tex}"
    );
    assert!(tex.lines().count() == 1 && text.lines().count() == 1);
    assert!(text.contains("n = 7 trials each."), "{text}");
}

/// Files of every form in both themes and widths are reproducible, have the right width and are not blank.
#[test]
fn figures_are_reproducible_in_every_form() {
    let forms = [
        FigureForm::Bars,
        FigureForm::GroupedBars,
        FigureForm::OverlaidBars,
        FigureForm::StackedBars,
        FigureForm::Box,
        FigureForm::Ecdf,
        FigureForm::Strip,
        FigureForm::Setup,
    ];
    let mut figures = Vec::new();
    for form in forms {
        for (theme, column, name) in [
            (Theme::Publication, Column::Double, "double"),
            (Theme::Publication, Column::Single, "single"),
            (Theme::Paper, Column::Double, "paper"),
        ] {
            let form_name = serde_json::to_string(&form).unwrap().replace('"', "");
            let metrics: &[&str] = if matches!(form, FigureForm::OverlaidBars | FigureForm::StackedBars) {
                BOTH
            } else {
                &["kernel_boot_time"]
            };
            let base = match form {
                FigureForm::GroupedBars => Figure { groups: Some("concurrency".into()), ..figure("x", form, metrics) },
                FigureForm::Setup => figure("x", form, metrics),
                _ => Figure { metrics: metrics.iter().map(|m| (*m).to_owned()).collect(), ..listed(form) },
            };
            figures.push(Figure {
                name: format!("{form_name}-{name}"),
                theme,
                column,
                reference: theme == Theme::Publication,
                ..base
            });
        }
    }
    let run = Run::new(7, figures.clone());
    analyze(run.folder()).unwrap();
    let files = plot(run.folder(), None).unwrap();
    assert_eq!(files.len(), figures.len() * 5);
    let before: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    let again = plot(run.folder(), None).unwrap();
    for (file, before) in again.iter().zip(before) {
        assert!(std::fs::read(file).unwrap() == before, "{} differs", file.display());
    }
    let inches = |name: &str| match name {
        _ if name.contains("single") => 3.5,
        _ if name.contains("paper") => 6.4,
        _ => 7.2,
    };
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "pdf")) {
        let page = std::fs::read(file).unwrap();
        let contains = |text: &str| page.windows(text.len()).any(|window| window == text.as_bytes());
        let name = file.display().to_string();
        // Text is selectable: the file embeds a font subset and maps its glyphs to characters.
        for text in ["%PDF-", "+Inter-Regular", "/FontFile2", "/ToUnicode"] {
            assert!(contains(text), "{name} does not contain {text}");
        }
        assert!(contains(&format!("/MediaBox[0 0 {} ", inches(&name) * 72.0)), "{name} has another width");
        assert!(!contains("/CreationDate"), "{name}");
    }
    for file in files.iter().filter(|file| file.extension().is_some_and(|end| end == "png")) {
        let picture = resvg::tiny_skia::Pixmap::load_png(file).unwrap();
        let name = file.display().to_string();
        assert!((f64::from(picture.width()) - inches(&name) * 200.0).abs() <= 1.0, "{name}: {}", picture.width());
        let colours: std::collections::BTreeSet<u32> =
            picture.pixels().iter().map(|p| u32::from_be_bytes([p.red(), p.green(), p.blue(), p.alpha()])).collect();
        assert!(colours.len() > 20, "{name} is blank");
    }
    if let Some(folder) = std::env::var_os("MICROBENCH_KEEP_FIGURES") {
        for file in &files {
            std::fs::copy(file, std::path::Path::new(&folder).join(file.file_name().unwrap())).unwrap();
        }
    }
}
