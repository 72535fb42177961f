//! From samples to figures: what their descriptions say, and the files.

use microbench_formats::axis::Level;
use microbench_formats::figure::{Column, Figure, FigureForm, Theme};
use microbench_formats::record::{NOT_APPLICABLE, Record};
use microbench_formats::statistic::Statistic;
use microbench_plots::figure::description::{Chart, Key, Mark, Panel, Shown};
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

fn one(trials: u32, figure: &Figure) -> Description {
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
    match &mark.shown {
        Shown::Bar { height, .. } => Some(*height),
        _ => None,
    }
}

/// As the paper's figure 7: listed bars, both metrics at one place.
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
fn listed_bars_stand_in_their_order_with_their_labels_and_heights() {
    let description = one(3, &listed(FigureForm::OverlaidBars));
    let panel = panel(&description);
    assert_eq!(panel.ticks, ["qemu x10", "firecracker x10", "T2"]);
    // Start-up behind, kernel boot in front, both from zero; a pooled bar is the mean of what was measured of its cells.
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
    assert_eq!(legend[..2], [("QEMU", Key::Group(0)), ("firecracker", Key::Group(1))]);
    assert!(description.caption.contains("firecracker x10: fc/10, t2/10"), "{}", description.caption);
}

#[test]
fn stacked_bars_stand_one_on_the_other_with_a_colour_for_each_metric() {
    let description = one(3, &listed(FigureForm::StackedBars));
    let parts = |mark: &Mark| match &mark.shown {
        Shown::Stack { parts, .. } => parts.iter().map(|part| (part.colour, part.height)).collect(),
        _ => Vec::new(),
    };
    let marks = panel(&description).marks;
    // A pooled bar is the mean of what was measured of its cells, part by part.
    let all: Vec<_> = marks.iter().map(parts).collect();
    assert_eq!(all, [vec![(0, 603.0), (1, 201.0)], vec![(0, 453.0), (1, 151.0)], vec![]]);
    let Shown::Stack { interval: Some((low, high)), points, .. } = &marks[0].shown else { panic!("{:?}", marks[0]) };
    assert_eq!(points.as_slice(), [800.0, 804.0, 808.0]);
    assert!(*low < 804.0 && 804.0 < *high, "{low} to {high}");
    assert_eq!((&marks[2].shown, marks[2].note.as_str()), (&Shown::Nothing, "n/a here"));
    let legend: Vec<_> = description.legend.iter().map(|entry| (entry.label.as_str(), entry.key)).collect();
    assert_eq!(legend, [("Web service start-up", Key::Group(0)), ("Kernel boot", Key::Group(1))]);
    let Chart::Marks { y_label, .. } = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!(y_label, "Time (ms, virtual time)");
    for words in ["means over trials", "medians would not add up", "n = 3 trials each"] {
        assert!(description.caption.contains(words), "{}", description.caption);
    }
}

#[test]
fn a_stacked_bar_that_lacks_a_part_says_so_and_shows_the_others() {
    let figure = listed(FigureForm::StackedBars);
    let run = Run::new(3, vec![figure.clone()]);
    let mut cell = String::new();
    let mut lacks = |record: &Record| {
        if let Record::TrialStart { cell: begun, .. } = record {
            cell.clone_from(begun);
        }
        cell == "qemu/10" && matches!(record, Record::Reading { name, .. } if name == "known.startup")
    };
    run.write_journal(&run.records().into_iter().filter(|record| !lacks(record)).collect::<Vec<_>>());
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let rows = summary::summarise(&run.plan, &samples);
    let description = describe(Data { plan: &run.plan, rows: &rows, samples: &samples }, &figure).unwrap().remove(0);
    let mark = &panel(&description).marks[0];
    let Shown::Stack { parts, interval, points } = &mark.shown else { panic!("{mark:?}") };
    assert_eq!(parts.iter().map(|part| (part.colour, part.height)).collect::<Vec<_>>(), [(1, 201.0)]);
    assert!(interval.is_none() && points.is_empty(), "what lacks a part is no sum");
    assert_eq!(mark.note, "1 part missing");
    let said = "Not whole: qemu x10 without Web service start-up.";
    assert!(description.caption.contains(said), "{}", description.caption);
}

#[test]
fn what_no_guest_of_the_kind_can_have_is_not_applicable_and_no_missing_value() {
    let (stacked, overlaid) = (listed(FigureForm::StackedBars), listed(FigureForm::OverlaidBars));
    let run = Run::new(3, vec![stacked.clone()]);
    let mut cell = String::new();
    let why = "a container has no kernel of its own";
    let told = run.records().into_iter().map(|mut record| {
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
    run.write_journal(&told.collect::<Vec<_>>());
    let samples = samples::samples(&run.plan, &journal::read(&run.path("journal.ndjson")).unwrap());
    let of_cell = |sample: &&samples::Sample| sample.cell == "qemu/10" && sample.value.is_none() && sample.counts();
    let lacking: Vec<_> =
        samples.iter().filter(of_cell).map(|sample| (sample.status, sample.reason.as_str())).collect();
    assert!(
        !lacking.is_empty() && lacking.iter().all(|found| *found == (samples::Status::NotApplicable, why)),
        "{lacking:?}"
    );
    let rows = summary::summarise(&run.plan, &samples);
    let data = Data { plan: &run.plan, rows: &rows, samples: &samples };
    assert_eq!(panel(&describe(data, &stacked).unwrap().remove(0)).marks[0].note, "1 part n/a");
    assert_eq!(panel(&describe(data, &overlaid).unwrap().remove(0)).marks[0].note, "n/a");
}

/// A quantile has no bar before it can have an interval: 29 trials for the 90th percentile.
#[test]
fn a_quantile_of_too_few_trials_is_no_bar_and_says_how_many_it_needs() {
    let wanted = Figure { statistic: Statistic::P90, ..figure("tail", FigureForm::Bars, &["kernel_boot_time"]) };
    let wanted = Figure { only: [("concurrency".to_owned(), vec![Level::Int(1)])].into(), ..wanted };
    let marks = panel(&one(28, &wanted)).marks;
    assert_eq!((height(&marks[0]), marks[0].note.as_str()), (None, "n too small (28 of 29)"));
    assert_eq!((height(&marks[2]), marks[2].note.as_str()), (None, "n/a here"));
    let description = one(29, &wanted);
    // 110 to 138 ms, one ms a block: the quantile of type 7 is at 25.2.
    let marks = panel(&description).marks;
    assert!((height(&marks[0]).unwrap() - 135.2).abs() < 1e-9, "{:?}", marks[0]);
    assert!(
        matches!(&marks[0].shown, Shown::Bar { interval: Some((low, high)), .. } if *low == 130.0 && *high == 138.0)
    );
    assert!(description.caption.contains("90th percentile over trials"), "{}", description.caption);
}

#[test]
fn other_forms_make_one_figure_for_each_metric() {
    let names: Vec<_> = described(3, &listed(FigureForm::Bars)).into_iter().map(|figure| figure.name).collect();
    assert_eq!(names, ["listed-webservice_startup_time", "listed-kernel_boot_time"]);
}

#[test]
fn a_published_value_stands_beside_the_cells_that_it_is_of() {
    let figure = Figure {
        reference: true,
        groups: Some("concurrency".into()),
        ..figure("f", FigureForm::GroupedBars, &["kernel_boot_time"])
    };
    let description = one(3, &figure);
    let references: Vec<_> = panel(&description).marks.iter().map(|mark| mark.reference).collect();
    assert_eq!(references, [Some(150.0), None, None, Some(90.0), None, Some(90.0)]);
    assert_eq!(description.legend.last().map(|entry| entry.key), Some(Key::Reference));
    assert!(description.caption.contains("wall time, on other hardware (Somebody, A paper, 2019)"));
}

#[test]
fn a_box_has_tukeys_numbers() {
    let panel = panel(&one(9, &figure("f", FigureForm::Box, &["kernel_boot_time"])));
    // Trials 0 to 8 of `qemu/1`.
    let Shown::Box { quartiles, whiskers, ref outliers } = panel.marks[0].shown else { panic!("{:?}", panel.marks[0]) };
    assert_eq!((quartiles, whiskers), ([112.0, 114.0, 116.0], (110.0, 118.0)));
    assert!(outliers.is_empty());
}

#[test]
fn a_strip_keeps_the_order_of_the_run_and_a_distribution_function_sorts() {
    let only = std::collections::BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    let strip = Figure { only: only.clone(), ..figure("f", FigureForm::Strip, &["kernel_boot_time"]) };
    let marks = panel(&one(3, &strip)).marks;
    assert_eq!(marks[1].shown, Shown::Strip { values: vec![60.0, 61.0, 62.0], median: 61.0 });
    let ecdf = Figure { only, ..figure("f", FigureForm::Ecdf, &["kernel_boot_time"]) };
    let description = one(3, &ecdf);
    let Chart::Lines(lines) = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!(lines.lines[0].values, [110.0, 111.0, 112.0]);
    assert_eq!(lines.lines.len(), 2, "what is not applicable has no line");
    assert!(description.caption.contains("Firecracker T2: n/a here"), "{}", description.caption);
}

#[test]
fn a_figure_has_a_place_for_each_level_that_it_selects_and_no_other() {
    let drawn = |only: &[(&str, Vec<Level>)]| {
        let only = only.iter().map(|(axis, levels)| ((*axis).to_owned(), levels.clone())).collect();
        let groups = Some("concurrency".into());
        let bars = Figure { only, groups, ..figure("f", FigureForm::GroupedBars, &["kernel_boot_time"]) };
        let panel = panel(&one(3, &bars));
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
fn a_set_up_is_drawn_from_the_plan_alone() {
    let only = std::collections::BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(10)])]);
    let description = one(1, &Figure { only, ..figure("f", FigureForm::Setup, &[]) });
    let Chart::Setup(setup) = &description.chart else { panic!("{:?}", description.chart) };
    assert_eq!((setup.guests, setup.engines.len(), setup.rootfs.as_slice()), (10, 2, &["openrc".to_owned()][..]));
}

/// The title is the document's first sentence, and nothing of it is LaTeX's.
#[test]
fn a_caption_for_latex_is_one_escaped_paragraph() {
    let figure = Figure { title: "Boots & stops, 100 %".into(), ..figure("f", FigureForm::Box, &["kernel_boot_time"]) };
    let run = Run::new(7, vec![figure]);
    analyze(run.folder()).unwrap();
    plot(run.folder(), None).unwrap();
    let (tex, text) = (run.read("figures/f.caption.tex"), run.read("figures/f.caption.txt"));
    assert!(tex.starts_with("Boots \\& stops, 100~\\%. Boxes: quartiles over trials"), "{tex}");
    assert!(
        tex.ends_with("emulated host, virtual time: 1 instruction = 1 ns; no caches, no cost of a world switch.%\n"),
        "{tex}"
    );
    assert!(tex.lines().count() == 1 && text.lines().count() == 1);
    assert!(text.contains("n = 7 trials each."), "{text}");
}

/// Every form in both themes and both widths: the same bytes twice, a picture of the right width with something on it.
#[test]
fn every_form_is_drawn_the_same_twice() {
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
        let holds = |words: &str| page.windows(words.len()).any(|window| window == words.as_bytes());
        let name = file.display().to_string();
        // Text is text: in a font that the file carries a part of, with the way back from its glyphs to characters.
        for words in ["%PDF-", "+Inter-Regular", "/FontFile2", "/ToUnicode"] {
            assert!(holds(words), "{name} lacks {words}");
        }
        assert!(holds(&format!("/MediaBox[0 0 {} ", inches(&name) * 72.0)), "{name} is of another width");
        assert!(!holds("/CreationDate"), "{name}");
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
