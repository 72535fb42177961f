//! Manifests through the library: parsing, errors and plans.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use microbench_formats::axis::Level;
use microbench_formats::claim::Comparison;
use microbench_formats::instrument::Instrument;
use microbench_formats::metric::MetricSource;
use microbench_formats::plan::Plan;
use microbench_formats::shard::Shard;
use microbench_formats::workload::WorkloadKind;
use microbench_study::manifest::{
    self, Catalog, Code, EngineSpec, MAX_BYTES, MAX_CELLS, MOST_KEPT, ManifestErrors, SettingSpec, Study,
};
use microbench_study::plan::view;
use microbench_study::plan::{self, Overrides};
use proptest::prelude::*;

fn text(value: &str) -> Level {
    Level::Text(value.into())
}

fn setting(default: Level, choices: &[&str], doc: &str) -> SettingSpec {
    SettingSpec { default, choices: choices.iter().map(|choice| text(choice)).collect(), file: false, doc: doc.into() }
}

fn engine(settings: Vec<(&str, SettingSpec)>) -> EngineSpec {
    let settings = settings.into_iter().map(|(name, spec)| (name.into(), spec)).collect();
    EngineSpec { settings, shares_kernel: false }
}

fn catalog() -> Catalog {
    let template = setting(text("none"), &["none", "T2", "T2S", "T2CL"], "CPU template that masks the guest's CPUID.");
    let cpu = setting(text("host"), &[], "CPU model.");
    Catalog {
        engines: BTreeMap::from([
            (
                "fake".into(),
                engine(vec![("delay_ms", setting(Level::Float(1.0), &[], "Time from spawn to the first answer."))]),
            ),
            (
                "firecracker".into(),
                engine(vec![
                    ("cpu_template", template),
                    (
                        "cpu_config",
                        SettingSpec { file: true, ..setting(text(""), &[], "Custom CPU template: a file.") },
                    ),
                    ("huge_pages", setting(Level::Bool(false), &[], "Back the guest's memory with huge pages.")),
                ]),
            ),
            ("qemu-microvm".into(), engine(vec![("cpu", cpu)])),
        ]),
        kernels: vec!["microvm-6.1".into(), "microvm-6.12".into()],
        rootfs: vec!["minimal".into(), "openrc".into()],
    }
}

/// Parses the manifest. Panics if the parser accepts a manifest that the JSON Schema refuses.
fn parse(source: &str) -> Result<Study, ManifestErrors> {
    let study = manifest::parse("study.toml", source, &catalog())?;
    let problem = schema_error(source);
    assert_eq!(problem, None, "the schema refuses a manifest that the parser accepts:\n{source}");
    Ok(study)
}

/// Validates the text by the JSON Schema of manifests. `None` if it is valid.
fn schema_error(source: &str) -> Option<String> {
    static SCHEMA: LazyLock<(boon::Schemas, boon::SchemaIndex)> = LazyLock::new(|| {
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource("file:///schema.json", manifest::schema::schema(&catalog())).unwrap();
        let schema = compiler.compile("file:///schema.json", &mut schemas).unwrap();
        (schemas, schema)
    });
    let Ok(value) = toml::from_str::<serde_json::Value>(source.trim_start_matches('\u{feff}')) else {
        return Some("a value that JSON does not have".into());
    };
    let (schemas, schema) = &*SCHEMA;
    schemas.validate(&value, *schema).err().map(|error| error.to_string())
}

/// A manifest with the given `[matrix]`, which may be followed by further sections.
fn study(matrix: &str) -> String {
    format!(
        "[study]\nname = \"test\"\ntitle = \"A test\"\nseed = 7\n\
         [guest]\nkernel = \"microvm-6.1\"\nrootfs = \"minimal\"\n\
         [variants.fc]\nengine = \"firecracker\"\n[variants.qemu]\nengine = \"qemu-microvm\"\n\
         [metrics]\nkernel_boot_time = {{}}\n[matrix]\n{matrix}"
    )
}

fn parse_good(matrix: &str) -> Study {
    parse(&study(matrix)).unwrap_or_else(|errors| panic!("{errors}"))
}

fn ids(study: &Study) -> Vec<&str> {
    study.cells.iter().map(|cell| cell.id.as_str()).collect()
}

fn expand(study: &Study, seed: Option<u64>) -> Plan {
    plan::expand(study, Overrides { seed, ..Overrides::default() }).unwrap()
}

fn codes(errors: &ManifestErrors) -> BTreeSet<Code> {
    errors.errors().iter().map(|error| error.code).collect()
}

fn wrong_manifests() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manifests");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_wrong_manifest_reports_all_its_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.add_filter(&regex_of(&folder), "tests");
    settings.bind(|| {
        for file in wrong_manifests() {
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let errors = manifest::load(&file, &catalog()).expect_err(&name);
            insta::assert_snapshot!(name, errors.plain());
        }
    });
}

fn regex_of(path: &Path) -> String {
    path.display().to_string().replace('.', "\\.")
}

#[test]
fn every_code_has_a_manifest_that_shows_it() {
    let mut seen: BTreeSet<Code> = BTreeSet::new();
    for file in wrong_manifests() {
        seen.extend(codes(&manifest::load(&file, &catalog()).unwrap_err()));
    }
    let missing = manifest::load(Path::new("no/such/file.toml"), &catalog()).unwrap_err();
    let long = parse(&"#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1)).unwrap_err();
    assert!(missing.plain().contains("no/such/file.toml"), "{missing}");
    seen.extend(codes(&missing));
    seen.extend(codes(&long));
    let of_manifests = Code::ALL.iter().filter(|code| code.as_str().starts_with("MB0"));
    let unseen: Vec<_> = of_manifests.filter(|code| !seen.contains(code)).collect();
    assert!(unseen.is_empty(), "no manifest shows {unseen:?}");
}

#[test]
fn the_schema_refuses_wrong_types_names_and_keys() {
    let shape = [Code::UnknownSection, Code::UnknownKey, Code::WrongType, Code::BadName, Code::NotOfEngine];
    let mut taken = Vec::new();
    for file in wrong_manifests() {
        let errors = manifest::load(&file, &catalog()).unwrap_err();
        let codes: BTreeSet<Code> =
            errors.errors().iter().filter(|error| error.file == 0).map(|error| error.code).collect();
        let Ok(source) = fs::read_to_string(&file) else { continue };
        if !codes.contains(&Code::Syntax)
            && shape.iter().any(|code| codes.contains(code))
            && schema_error(&source).is_none()
        {
            taken.push(file.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    // The schema cannot check references to names; the parser does.
    assert!(taken.is_empty(), "the schema accepts {taken:?}");
}

#[test]
fn one_typo_is_one_error() {
    let quick = include_str!("../../experiments/quick.toml");
    for (right, wrong, code) in [
        ("[study]", "[studie]", Code::UnknownSection),
        ("[variants.qemu]", "[variant.qemu]", Code::UnknownSection),
        ("title =", "titel =", Code::UnknownKey),
        ("engine = \"qemu", "engin = \"qemu", Code::UnknownKey),
        ("engine = \"qemu", "label2 = \"qemu", Code::Missing),
        ("engine = \"qemu-microvm\"", "engine = 3", Code::WrongType),
        ("trials =", "trails =", Code::UnknownAxis),
        ("trials =", "vcpus =", Code::WrongType),
        ("rootfs =", "root =", Code::UnknownAxis),
        ("[figures.boot]\nform", "[figures.boot]\nfrom", Code::UnknownKey),
        ("kernel_boot_time = {}", "kernel_boot_time = { wrok = {} }", Code::UnknownKey),
        ("kernel_boot_time = {}", "kernel_boot_time = { from = \"spawn\" }", Code::MetricSource),
        ("kernel_boot_time = {}", "kernel_boot_tme = {}", Code::NotBuiltIn),
        ("groups = \"concurrency\"\npanels = \"rootfs\"\n\n[figures.startup]", "[figures.startup]", Code::Pooled),
    ] {
        let changed = quick.replacen(right, wrong, 1);
        assert_ne!(changed, quick, "{right}");
        let errors = parse(&changed).expect_err(wrong);
        let codes: Vec<_> = errors.errors().iter().map(|error| error.code).collect();
        assert!(codes.contains(&code), "{wrong}: {errors}");
        // A reference to the metric, or the missing key, is a second error.
        let places = match wrong {
            "kernel_boot_tme = {}" | "label2 = \"qemu" | "vcpus =" => 2,
            _ => 1,
        };
        assert!(codes.len() <= places, "{wrong}: {errors}");
    }
}

/// One error for each old key, without further errors that it causes.
#[test]
fn old_key_is_refused_with_its_new_name() {
    let bars = "[figures.f]\nform = \"bars\"\nmetric = \"kernel_boot_time\"\nbars = [{ label = \"a\", of = { variant = \"fc\" } }]\n";
    let claim = "[[claims]]\nname = \"c\"\ntext = \"T.\"\nexpect = \"> 1\"\nmetric = \"kernel_boot_time\"\n\
                 value = { variant = \"fc\" }\n";
    let old_only = "[figures.f]\nform = \"bars\"\nmetric = \"kernel_boot_time\"\nonly = { variant = \"fc\" }\n";
    let old_work = "[metrics.w]\nwork = { kind = \"sha256\", bytes = 1, rounds = 1 }\n";
    for (more, code, words) in [
        (
            "give_up_after = 2\n",
            Code::UnknownKey,
            "`give_up_after` in [matrix] was renamed to `max_consecutive_failures`",
        ),
        ("steady_s = [0, 2]\n", Code::UnknownKey, "`steady_s` in [matrix] was renamed to `hold_s`"),
        ("exclude = [{ work_deadline_s = 1 }]\n", Code::UnknownKey, "was renamed to `workload_deadline_s`"),
        ("warmup = 1\n", Code::WrongType, "write `true` instead of 1 and `false` instead of 0"),
        ("[profiles.p]\ntrials = 1\nonly = {}\n", Code::UnknownKey, "`only` in [profiles.p] was renamed to `where`"),
        (old_only, Code::UnknownKey, "`only` in [figures.f] was renamed to `where`"),
        (bars, Code::UnknownKey, "`of` in a bar was renamed to `where`"),
        (old_work, Code::UnknownKey, "`work` in [metrics.w] was renamed to `workload`"),
        (claim, Code::UnknownKey, "`variant` in a side of `value` moved into `where`"),
    ] {
        let errors = parse(&study(&format!("trials = 1\n{more}"))).expect_err(more);
        assert_eq!(codes(&errors), BTreeSet::from([code]), "{more}: {errors}");
        assert_eq!(errors.count(), 1, "{more}: {errors}");
        assert!(errors.plain().contains(words), "{more}: {errors}");
    }
}

/// The limit on the number of errors does not apply to old keys: the last old key is beyond it.
#[test]
fn every_old_key_of_a_manifest_is_reported_at_once() {
    let mut source = study("trials = 1\n[figures.f]\nform = \"bars\"\nmetric = \"kernel_boot_time\"\nbars = [\n");
    for bar in 0..MOST_KEPT * 3 {
        source.push_str(&format!("    {{ label = \"{bar}\", colour = {bar}, of = {{ variant = \"fc\" }} }},\n"));
    }
    source.push_str("]\n[profiles.p]\ntrials = 1\nonly = { variant = \"fc\" }\n");
    let errors = parse(&source).unwrap_err();
    let said = errors.plain();
    assert!(said.contains("`of` in a bar was renamed to `where`"), "{said}");
    assert!(said.contains("also on lines 21, 22, 23,") && said.contains(" and 49 more"), "{said}");
    assert!(said.contains("`only` in [profiles.p] was renamed to `where`"), "{said}");
}

#[test]
fn selections_accept_lists_of_levels() {
    let both = |levels: &[i64]| levels.iter().map(|level| Level::Int(*level)).collect::<Vec<_>>();
    let study = parse_good(
        "concurrency = [1, 2, 4]\nvcpus = [1, 2]\ntrials = 1\n\
         [profiles.few]\ntrials = 1\nwhere = { variant = [\"fc\", \"qemu\"], concurrency = [1, 2], vcpus = 1 }\n\
         [figures.lines]\nform = \"line\"\nmetric = \"kernel_boot_time\"\nx = \"concurrency\"\ngroups = \"variant\"\n\
         where = { concurrency = [1, 4], engine = [\"firecracker\", \"qemu-microvm\"], vcpus = 2 }\n\
         [figures.bars]\nform = \"bars\"\nmetric = \"kernel_boot_time\"\n\
         bars = [{ label = \"a\", where = { concurrency = [2, 4] } }]\n\
         [[claims]]\nname = \"c\"\ntext = \"T.\"\nexpect = \"> 1\"\nmetric = \"kernel_boot_time\"\n\
         where = { vcpus = [1, 2] }\nratio = [{ where = { concurrency = [1, 2] } }, { where = { concurrency = 4 } }]\n",
    );
    let plan = plan::expand(&study, Overrides { profile: Some("few"), ..Overrides::default() }).unwrap();
    let ids: Vec<&str> = plan.cells.iter().map(|cell| &*cell.id).collect();
    assert_eq!(ids, ["fc/1/1", "fc/2/1", "qemu/1/1", "qemu/2/1"]);
    let plan = expand(&study, None);
    assert_eq!(plan.figures[0].only["concurrency"], both(&[1, 4]));
    assert_eq!(plan.figures[0].only["vcpus"], both(&[2]));
    assert_eq!(plan.figures[1].bars[0].of["concurrency"], both(&[2, 4]));
    let Some(Comparison::Ratio(first, second)) = &plan.claims[0].comparison else { panic!("{:?}", plan.claims) };
    assert_eq!((&first.of["concurrency"], &first.of["vcpus"]), (&both(&[1, 2]), &both(&[1, 2])));
    assert_eq!((&second.of["concurrency"], &second.of["vcpus"]), (&both(&[4]), &both(&[1, 2])));
}

#[test]
fn axis_of_a_claim_and_of_its_side_is_an_error() {
    let source = study(
        "concurrency = [1, 2]\ntrials = 1\n[[claims]]\nname = \"c\"\ntext = \"T.\"\nexpect = \"> 1\"\n\
         metric = \"kernel_boot_time\"\nwhere = { concurrency = 1 }\nvalue = { where = { concurrency = 2 } }\n",
    );
    let errors = parse(&source).unwrap_err();
    assert_eq!(codes(&errors), BTreeSet::from([Code::Duplicate]), "{errors}");
}

#[test]
fn help_of_errors_fits_the_terminal() {
    for file in wrong_manifests() {
        let errors = manifest::load(&file, &catalog()).unwrap_err();
        for (columns, width) in [(None, 80), (Some(60), 60), (Some(100), 100)] {
            let text = errors.render(false, columns);
            let mut in_help = false;
            for line in text.lines() {
                in_help = line.contains("= help:") || (in_help && line.starts_with("     "));
                assert!(!in_help || line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}

#[test]
fn colour_does_not_change_the_text_of_errors() {
    for file in wrong_manifests() {
        let errors = manifest::load(&file, &catalog()).unwrap_err();
        assert!(!errors.plain().contains('\u{1b}'), "{}", file.display());
        let mut bare = String::new();
        let mut coloured = errors.render(true, None);
        coloured.push_str("\u{1b}[0m");
        for part in coloured.split('\u{1b}') {
            bare.push_str(part.split_once('m').filter(|_| part.starts_with('[')).map_or(part, |(_, rest)| rest));
        }
        assert_eq!(bare, errors.plain(), "{}", file.display());
    }
}

#[test]
fn quick_study_is_planned_as_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../experiments/quick.toml");
    let study = manifest::load(&path, &catalog()).unwrap_or_else(|errors| panic!("{errors}"));
    let view = view::render(&expand(&study, None), &study, false, view::DEFAULT_WIDTH);
    assert!(view.lines().all(|line| line.chars().count() <= 80), "{view}");
    insta::assert_snapshot!("plan-quick", view);
}

#[test]
fn plan_names_excluded_cells_and_their_lines() {
    let study = parse_good(
        "concurrency = [1, 20]\ntrials = { 1 = 10, 20 = 1, 40 = 1 }\nwarmup = false\n\
         exclude = [\n    { variant = \"qemu\", concurrency = 20 }, # too slow\n]\n\
         include = [{ variant = \"fc\", concurrency = 40 }]\n",
    );
    assert_eq!(ids(&study), ["fc/1", "fc/20", "qemu/1", "fc/40"]);
    let plan = expand(&study, None);
    assert_eq!((plan.excluded[0].cell.as_str(), plan.excluded[0].line), ("qemu/20", 19));
    insta::assert_snapshot!("plan-excluded", view::render(&plan, &study, true, view::DEFAULT_WIDTH));
}

#[test]
fn long_plan_fits_the_terminal_and_counts_omitted_cells() {
    let long = "x".repeat(64);
    let study = parse(
        &study(
            "concurrency = [1, 2, 3, 4, 5, 6, 7, 8]\nvcpus = [1, 2, 4, 8]\nboot_args = [\"quiet\", \"mitigations=off nokaslr\"]\n\
             memory_mib = [128, 65536]\ntrials = 5\nexclude = [{ vcpus = 8, memory_mib = 65536 }]\n",
        )
        .replace("[variants.fc]", &format!("[variants.{long}]\nlabel = \"{}\"", "Ein langer Name ".repeat(5))),
    )
    .unwrap();
    let plan = expand(&study, None);
    for full in [false, true] {
        for width in [80, 100, 120] {
            let view = view::render(&plan, &study, full, width);
            assert!(view.lines().all(|line| line.chars().count() <= width), "{width}:\n{view}");
            assert_eq!(view.contains("more cells"), !full);
        }
    }
}

#[test]
fn variants_override_guest_settings_and_axes_override_both() {
    let study = parse(
        "[study]\nname = \"a\"\ntitle = \"A\"\n\
         [guest]\nkernel = \"microvm-6.1\"\nrootfs = \"minimal\"\nvcpus = 2\nmemory_mib = 256\n\
         [variants.a]\nengine = \"firecracker\"\nmemory_mib = 1024\ncpu_template = \"T2\"\n\
         [variants.b]\nengine = \"fake\"\ndelay_ms = 3\n\
         [matrix]\ntrials = 1\nrootfs = [\"openrc\"]\n\
         [metrics]\nwebservice_startup_time = { probe = \"paper\" }\n",
    )
    .unwrap();
    let [a, b] = &study.cells[..] else { panic!("two cells") };
    assert_eq!(a.id, "a/1/openrc");
    for (cell, name, level) in [
        (a, "memory_mib", Level::Int(1024)),
        (a, "cpu_template", text("T2")),
        (a, "huge_pages", Level::Bool(false)),
        (a, "rootfs", text("openrc")),
        (a, "probe", text("paper")),
        (b, "memory_mib", Level::Int(256)),
        (b, "vcpus", Level::Int(2)),
        (b, "delay_ms", Level::Float(3.0)),
        (b, "disk", text("shared")),
        (b, "neighbour", Level::Bool(true)),
    ] {
        assert_eq!(cell.settings.get(name), Some(&level), "{} {name}", cell.id);
    }
    assert!(!b.settings.contains_key("cpu_template"));
    assert!(study.warmup);
}

#[test]
fn built_in_metrics_need_only_their_name() {
    let source = study("trials = 1\n").replace(
        "kernel_boot_time = {}",
        "kernel_boot_time = {}\nwebservice_startup_time = {}\nhashing_time = {}\nshutdown_time = {}\n\
         kernel_log_messages = {}\nhash_16m = { workload = { kind = \"sha256\", bytes = \"16 MiB\", rounds = 2 } }\n\
         again = { reading = \"workload.hash_16m.duration\", label = \"Again\" }",
    );
    let study = parse(&source).unwrap_or_else(|errors| panic!("{errors}"));
    let units: Vec<_> = study.metrics.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    assert_eq!(
        units,
        [
            ("kernel_boot_time", "ms"),
            ("webservice_startup_time", "ms"),
            ("hashing_time", "ms"),
            ("shutdown_time", "ms"),
            ("kernel_log_messages", "1"),
            ("hash_16m", "ms"),
            ("again", "ms"),
        ]
    );
    assert_eq!(study.metrics[2].source, MetricSource::Reading("workload.hashing_time.duration".into()));
    assert_eq!(study.metrics[3].source, MetricSource::Span { from: "stop.requested".into(), to: "exit".into() });
    let works: Vec<_> = study.workloads.iter().map(|work| (work.metric.as_str(), work.bytes, work.rounds)).collect();
    assert_eq!(works, [("hashing_time", 1_000_000, 100), ("hash_16m", 16 << 20, 2)]);
    let definitions: Vec<_> =
        study.metrics.iter().map(|metric| format!("{}: {}", metric.label, metric.definition)).collect();
    insta::assert_snapshot!("metric-definitions", definitions.join("\n"));
}

/// A study with every section.
const WHOLE: &str = r#"
[study]
name = "whole"
title = "Every section"
protocol = "as-coded"
reference = "tests/manifests/reference/whole.toml"
authors = ["Lovelace, Ada <ada@example.org>", "The team"]
license = "CC-BY-4.0"
doi = "10.5281/zenodo.1234567"
[guest]
kernel = "microvm-6.1"
rootfs = "minimal"
[variants.fc]
label = "Firecracker"
engine = "firecracker"
[variants.fc-t2]
engine = "firecracker"
cpu_template = "T2"
console = true
[variants.qemu]
engine = "qemu-microvm"
vcpus = 1
[matrix]
concurrency = [1, 10, 20]
trials = { 1 = 10, 10 = 2, 20 = 1 }
instrument_trials = 2
warmup = false
[profiles.short]
trials = { 1 = 3, 10 = 1 }
where = { concurrency = [1, 10] }
[profiles.one-engine]
trials = 2
where = { engine = "firecracker", concurrency = 1 }
[metrics]
kernel_boot_time = {}
hashing_time = {}
shutdown_time = {}
vmm_system_calls = {}
[figures.fig6]
form = "overlaid-bars"
title = "Start-up"
metrics = ["shutdown_time", "kernel_boot_time"]
theme = "paper"
column = "single"
y_label = "Time (ms)"
statistic = "mean"
reference = true
bars = [
    { label = "T2 cpu", group = "firecracker", where = { variant = "fc-t2", concurrency = 1 } },
    { label = "all", group = "firecracker", where = { engine = "firecracker", concurrency = [10, 20] } },
]
[figures.setup]
form = "setup"
[figures.x20]
form = "box"
metric = "shutdown_time"
where = { concurrency = 20 }
[[claims]]
name = "slower"
text = "QEMU boots the Linux kernel 18% slower on average."
metric = "kernel_boot_time"
ratio = [{ where = { engine = "qemu-microvm" } }, { where = { engine = "firecracker" } }]
expect = "> 1"
published = 1.18
data = "1.32x to 1.84x"
[[claims]]
name = "calls"
text = "730,000 against 5,000 system calls."
difference = [{ metric = "vmm_system_calls", where = { variant = "qemu" } }, { metric = "vmm_system_calls", where = { variant = "fc" } }]
expect = "700e3 .. 750e3"
statistic = "median"
[[claims]]
name = "no-network"
text = "Without network the machine boots in 150 to 200 ms."
unmeasured = "every guest here has a network"
"#;

fn whole() -> Study {
    parse(WHOLE).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn manifest_overrides_the_defaults_of_a_protocol() {
    let study = whole();
    let settings = |variant: &str| &study.variants.iter().find(|known| known.key == variant).unwrap().settings;
    for (variant, name, level) in [
        ("fc", "vcpus", Level::Int(2)),
        ("fc", "probe", text("busy")),
        ("fc", "neighbour", Level::Bool(false)),
        ("fc", "reboot", text("k")),
        ("fc", "console", Level::Bool(false)),
        ("fc-t2", "console", Level::Bool(true)),
        ("qemu", "console", Level::Bool(true)),
        ("qemu", "vcpus", Level::Int(1)),
    ] {
        assert_eq!(settings(variant).get(name), Some(&level), "{variant} {name}");
    }
    let source = |name: &str| study.metrics.iter().find(|metric| metric.name == name).unwrap().source.clone();
    assert_eq!(source("kernel_boot_time"), MetricSource::Reading("kernel.random_fast_init".into()));
    assert_eq!((study.workloads[0].kind, study.workloads[0].bytes), (WorkloadKind::Copy, 1 << 20));
    let corrected = parse(&WHOLE.replace("protocol = \"as-coded\"\n", "")).unwrap();
    assert_eq!(corrected.metrics[0].source, MetricSource::Reading("kernel.init".into()));
    let own = WHOLE.replace("kernel_boot_time = {}", "kernel_boot_time = { reading = \"kernel.init\" }");
    assert_eq!(parse(&own).unwrap().metrics[0].source, MetricSource::Reading("kernel.init".into()));
    let guest = parse(&WHOLE.replace("[guest]", "[guest]\nreboot = \"engine\"")).unwrap();
    assert_eq!(guest.cells[0].settings["reboot"], text("engine"));
}

#[test]
fn study_with_every_section_is_planned_as_recorded() {
    let study = whole();
    let plan = expand(&study, None);
    insta::assert_snapshot!("plan-whole", view::render(&plan, &study, false, view::DEFAULT_WIDTH));
    insta::assert_json_snapshot!("plan-whole-parts", (&plan.figures, &plan.claims, &plan.reference, &plan.metrics));
    assert_eq!(json_round_trip(&plan), plan);
}

/// The plan, written to JSON and parsed again.
fn json_round_trip(plan: &Plan) -> Plan {
    let mut text = Vec::new();
    plan::write_json(plan, &mut text).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn instrumented_trials_follow_all_timed_trials() {
    let plan = expand(&whole(), None);
    let (timed, counted): (Vec<_>, Vec<_>) = plan.trials.iter().partition(|trial| trial.instrument.is_none());
    assert_eq!((timed.len(), counted.len()), (39, 6));
    assert!(timed.iter().all(|trial| trial.index < counted[0].index && trial.block < counted[0].block));
    assert!(counted.iter().all(|trial| trial.cell.ends_with("/1") && trial.instrument == Some(Instrument::Strace)));
    assert!(plan.trials.iter().zip(0..).all(|(trial, index)| trial.index == index));
    let without = parse(&study("trials = 3\n")).unwrap();
    assert!(expand(&without, None).trials.iter().all(|trial| trial.instrument.is_none()));
}

#[test]
fn each_instrument_has_its_own_trials() {
    let metrics = "vmm_system_calls = {}\npolls = { reading = \"guest.keyboard_polls\" }\n";
    let text = study("trials = 3\ninstrument_trials = 2\nstop_at = [\"exit\", \"reset-pulses\"]\n");
    let text = text.replace("[metrics]\n", &format!("[variants.crun]\nengine = \"crun\"\n[metrics]\n{metrics}"));
    let mut catalog = catalog();
    catalog.engines.insert("crun".into(), EngineSpec { shares_kernel: true, ..EngineSpec::default() });
    let study = manifest::parse("study.toml", &text, &catalog).unwrap();
    let plan = expand(&study, None);
    let cells = |instrument| {
        let trials = plan.trials.iter().filter(move |trial| trial.instrument == Some(instrument));
        trials.map(|trial| trial.cell.to_string()).collect::<Vec<_>>()
    };
    let (strace, perf) = (cells(Instrument::Strace), cells(Instrument::Perf));
    // strace is too slow for a guest that ends at its reset pulses.
    let at_pulses = |cell: &&String| cell.contains("reset-pulses");
    // The setting is not applied to a container, which is therefore not left out.
    assert!(strace.iter().filter(at_pulses).all(|cell| cell.starts_with("crun/")), "{strace:?}");
    assert_eq!((strace.len(), strace.iter().filter(at_pulses).count(), perf.len()), (8, 2, 12));
    let view = view::render(&plan, &study, false, 200);
    let line = "without vmm_system_calls: fc/1/reset-pulses, qemu/1/reset-pulses, because under strace the guest \
                does not reach the reset pulses that end it (`stop_at = \"reset-pulses\"`)";
    assert!(view.contains(line), "{view}");
    assert!(plan.trials.iter().zip(0..).all(|(trial, index)| trial.index == index));
    let blocks: Vec<u32> = plan.trials.iter().map(|trial| trial.block).collect();
    assert!(blocks.is_sorted(), "{blocks:?}");
}

#[test]
fn acknowledgement_of_the_stop_does_not_begin_the_guests_part() {
    let metric = "[metrics]\nguest = { from = \"stop.acknowledged\", to = \"guest.restart\" }\n";
    let errors = parse(&study("trials = 3\n").replace("[metrics]\n", metric)).unwrap_err();
    assert!(errors.plain().contains("`guest.restart` is not after `stop.acknowledged`"), "{}", errors.plain());
}

#[test]
fn profile_selects_cells_and_their_trials() {
    let study = whole();
    let of = |profile| plan::expand(&study, Overrides { profile: Some(profile), ..Overrides::default() });
    let short = of("short").unwrap();
    assert_eq!((short.profile.as_str(), short.cells.len()), ("short", 6));
    assert!(short.cells.iter().all(|cell| cell.trials == if cell.concurrency == 1 { 3 } else { 1 }));
    assert_eq!(short.axes[1].levels, [Level::Int(1), Level::Int(10)]);
    // A figure without a cell of the profile is not drawn.
    assert_eq!(short.figures.iter().map(|figure| figure.name.as_str()).collect::<Vec<_>>(), ["fig6", "setup"]);
    let ids: Vec<_> = of("one-engine").unwrap().cells.into_iter().map(|cell| (cell.id, cell.trials)).collect();
    assert_eq!(ids, [("fc/1".into(), 2), ("fc-t2/1".into(), 2)]);
    assert_eq!(of("full").unwrap(), expand(&study, None));
    assert_eq!(expand(&study, None).profile, "full");
    assert_eq!(expand(&parse_good("trials = 1\n"), None).profile, "");
    let error = of("shrot").unwrap_err().to_string();
    assert_eq!(error, "the study has no profile `shrot`; its profiles are `full`, `short`, `one-engine`");
}

#[test]
fn include_overrides_exclude() {
    let study = parse_good(
        "concurrency = [1, 4]\ntrials = 1\nexclude = [{ concurrency = 4 }]\n\
         include = [{ variant = \"fc\", concurrency = 4, trials = 9 }]\n",
    );
    assert_eq!(ids(&study), ["fc/1", "qemu/1", "fc/4"]);
    assert_eq!(study.cells[2].trials, 9);
    assert_eq!(study.excluded.iter().map(|exclusion| exclusion.cell.as_str()).collect::<Vec<_>>(), ["qemu/4"]);
}

#[test]
fn seed_and_number_of_trials_can_be_overridden() {
    let study = parse_good("trials = 10\n");
    let plan =
        plan::expand(&study, Overrides { seed: Some(99), trials: NonZeroU32::new(2), ..Overrides::default() }).unwrap();
    assert_eq!((plan.seed, plan.trials.len(), plan.cells[0].trials), (99, 4, 2));
    assert_ne!(plan::digest(&plan), plan::digest(&expand(&study, None)));
    let error = plan::expand(&study, Overrides { trials: Some(NonZeroU32::MAX), ..Overrides::default() }).unwrap_err();
    assert_eq!(error.to_string(), "the plan would have 8589934590 trials; the limit is 1000000");
}

#[test]
fn plan_survives_a_json_round_trip() {
    let plan = expand(&parse_good("concurrency = [1, 4]\nvcpus = [1, 2]\ntrials = 2\n"), None);
    assert_eq!(json_round_trip(&plan), plan);
}

#[test]
fn adding_trials_keeps_the_order_of_earlier_blocks() {
    let study = parse_good("concurrency = [1, 2, 3, 4, 5]\ntrials = 4\n");
    let few = plan::expand(&study, Overrides { trials: NonZeroU32::new(2), ..Overrides::default() }).unwrap();
    assert_eq!(few.trials[..], expand(&study, None).trials[..few.trials.len()]);
}

#[test]
fn number_of_reported_errors_is_limited() {
    let mut keys = study("trials = 1\n");
    for at in 0..50_000 {
        keys.push_str(&format!("key_{at} = 1\n"));
    }
    let errors = parse(&keys).unwrap_err();
    assert_eq!((errors.errors().len(), errors.count()), (MOST_KEPT, 50_000));
    assert!(errors.plain().len() < 100_000);

    let line = format!("[study]\nname = \"{}\"\n", "n".repeat(1_000_000));
    assert!(parse(&line).unwrap_err().plain().len() < 10_000);

    let levels = study(&format!("trials = 1\nvcpus = [{}]\n", "{},".repeat(300_000)));
    let errors = parse(&levels).unwrap_err();
    assert!(errors.plain().contains("--> study.toml:16:10\n"), "{errors}");
    assert_eq!((errors.count(), errors.plain().len() < 20_000), (300_000, true));
}

#[test]
fn matrix_beyond_the_limits_is_refused_before_expansion() {
    let numbers = |count: usize| (1..=count).map(|number| number.to_string()).collect::<Vec<_>>().join(", ");
    for matrix in [
        format!("trials = 1\nboot_args = [{}]\nvcpus = [{}]\n", vec!["\"\""; 100_000].join(", "), numbers(11)),
        format!(
            "trials = 1\nconcurrency = [{}]\nvcpus = [{}]\nhold_s = [{}]\n",
            numbers(10_000),
            numbers(32),
            numbers(4)
        ),
        format!(
            "trials = 1\nvcpus = [{}]\nmemory_mib = [512]\ninclude = [{{ concurrency = [{}], memory_mib = [{}] }}]\n",
            numbers(32),
            numbers(9_000),
            (32..36).map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
        ),
        format!("trials = 1\ninclude = [{}]\n", vec!["{ concurrency = 2 }"; 1001].join(", ")),
    ] {
        let errors = parse(&study(&matrix)).unwrap_err();
        assert_eq!(codes(&errors), BTreeSet::from([Code::TooMany]), "{errors}");
    }
    let (each, steady) = (numbers(25), numbers(2));
    let most = format!("trials = 1\nconcurrency = [{}]\nvcpus = [{each}]\nhold_s = [{steady}]\n", numbers(10_000));
    let most = parse_good(&most);
    assert_eq!(most.cells.len(), MAX_CELLS);
    // The cells of a variant share their common settings.
    let (first, last) = (&most.cells[0], &most.cells[MAX_CELLS / 2 - 1]);
    assert!(std::ptr::eq(&first.settings["kernel"], &last.settings["kernel"]));
    assert_eq!((last.concurrency, &last.settings["vcpus"]), (10_000, &Level::Int(25)));
}

#[test]
fn workload_beyond_the_limit_of_the_agent_is_refused() {
    let of = |bytes: u64| {
        let work = format!("[metrics.big]\nworkload = {{ kind = \"sha256\", bytes = {bytes}, rounds = 1 }}\n");
        parse(&(study("trials = 1\n") + &work))
    };
    let most = microbench_agent::workload::MOST_BYTES;
    of(most).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(codes(&of(most + 1).unwrap_err()), BTreeSet::from([Code::OutOfRange]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// The limits of manifests and of the agent are equal.
    #[test]
    fn manifest_and_agent_accept_the_same_workloads(
        kind in 0..manifest::workloads::WORKLOADS.len(),
        bytes in prop_oneof![1_u64..200_000, (1_u64..300).prop_map(|mib| mib << 20)],
        rounds in prop_oneof![1_u32..100, 1_u32..1_100_000],
        warmup in 0_u32..1_100_000,
        block in prop_oneof![Just(4096_u64), 1_u64..2_000_000, (8_u32..22).prop_map(|power| 1 << power)],
    ) {
        use microbench_agent::workload::{DiskRequest, WorkloadRequest};
        let spec = manifest::workloads::WORKLOADS[kind];
        let on_disk = spec.on_disk();
        let block_key = if on_disk { format!(", block = {block}") } else { String::new() };
        let work = format!("kind = \"{}\", bytes = {bytes}, rounds = {rounds}, warmup = {warmup}{block_key}", spec.name());
        let source = format!("{}[metrics.m]\nworkload = {{ {work} }}\n", study("trials = 1\ndisk = [\"clone\"]\n"));
        if spec.kind.is_timed_by_host() {
            return Ok(());
        }
        let disk = on_disk.then_some(DiskRequest { offset: 1 << 20, block, direct: true, random: false });
        let taken = WorkloadRequest { kind: spec.kind, bytes, rounds, warmup, seed: 1, disk }.check();
        prop_assert_eq!(manifest::parse("study.toml", &source, &catalog()).is_ok(), taken.is_ok(), "{:?} {}", taken, work);
    }
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_accepted() {
    let source = format!("\u{feff}{}", study("trials = 3\n").replace('\n', "\r\n"));
    assert_eq!(parse(&source).unwrap_or_else(|errors| panic!("{errors}")).cells.len(), 2);
}

/// A matrix: levels of two axes, excluded combinations, included concurrencies, and trials by concurrency.
#[derive(Debug)]
struct Shape {
    concurrency: Vec<i64>,
    vcpus: Vec<i64>,
    exclude: BTreeSet<(usize, usize, usize)>,
    include: BTreeSet<i64>,
    trials: BTreeMap<i64, u32>,
    seed: u64,
}

const VARIANTS: [&str; 2] = ["fc", "qemu"];

impl Shape {
    fn manifest(&self) -> String {
        let exclude: Vec<_> = self
            .exclude
            .iter()
            .map(|(v, c, p)| {
                let (concurrency, vcpus) = (self.concurrency[*c], self.vcpus[*p]);
                format!("{{ variant = \"{}\", concurrency = {concurrency}, vcpus = {vcpus} }}", VARIANTS[*v])
            })
            .collect();
        let include: Vec<_> =
            self.include.iter().map(|level| format!("{{ variant = \"fc\", concurrency = {level} }}")).collect();
        let trials: Vec<_> = self.trials.iter().map(|(level, trials)| format!("{level} = {trials}")).collect();
        let matrix = format!(
            "concurrency = {:?}\nvcpus = {:?}\nexclude = [{}]\ninclude = [{}]\ntrials = {{ {} }}\n",
            self.concurrency,
            self.vcpus,
            exclude.join(", "),
            include.join(", "),
            trials.join(", ")
        );
        study(&matrix).replace("seed = 7", &format!("seed = {}", self.seed))
    }

    fn cells(&self) -> usize {
        2 * self.concurrency.len() * self.vcpus.len() - self.exclude.len() + self.include.len() * self.vcpus.len()
    }
}

fn shape() -> impl Strategy<Value = Shape> {
    let levels = |most: i64, count| proptest::collection::btree_set(1..=most, 1..=count);
    let lists = (levels(100, 5), levels(32, 3), proptest::collection::btree_set(101_i64..200, 0..3));
    lists.prop_flat_map(|(concurrency, vcpus, include)| {
        let concurrency: Vec<i64> = concurrency.into_iter().collect();
        let vcpus: Vec<i64> = vcpus.into_iter().collect();
        let product = 2 * concurrency.len() * vcpus.len();
        let place = (0..2_usize, 0..concurrency.len(), 0..vcpus.len());
        let exclude = proptest::collection::btree_set(place, 0..product.min(6));
        let all = concurrency.len() + include.len();
        let trials = proptest::collection::vec(1..6_u32, all);
        (Just(concurrency), Just(vcpus), Just(include), exclude, trials, 0..u64::MAX / 2).prop_map(
            |(concurrency, vcpus, include, exclude, trials, seed)| {
                let trials = concurrency.iter().chain(&include).copied().zip(trials).collect();
                Shape { concurrency, vcpus, exclude, include, trials, seed }
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn number_of_cells_is_the_product_minus_excluded_plus_included(shape in shape()) {
        let study = parse(&shape.manifest()).unwrap_or_else(|errors| panic!("{errors}"));
        prop_assert_eq!(study.cells.len(), shape.cells());
        prop_assert_eq!(study.excluded.len(), shape.exclude.len());
        let names: BTreeSet<_> = ids(&study).into_iter().collect();
        prop_assert_eq!(names.len(), study.cells.len());
        for cell in &study.cells {
            prop_assert_eq!(cell.trials, shape.trials[&i64::from(cell.concurrency)]);
        }
    }

    #[test]
    fn each_block_contains_each_unfinished_cell_once(shape in shape()) {
        let study = parse(&shape.manifest()).unwrap();
        let plan = expand(&study, None);
        let mut next = 0;
        for (block, trials) in plan.trials.chunk_by(|a, b| a.block == b.block).enumerate() {
            let mut cells: Vec<_> = trials.iter().map(|trial| trial.cell.as_str()).collect();
            cells.sort_unstable();
            let mut due: Vec<_> =
                plan.cells.iter().filter(|cell| cell.trials as usize > block).map(|cell| cell.id.as_str()).collect();
            due.sort_unstable();
            prop_assert_eq!(cells, due);
            for trial in trials {
                prop_assert_eq!((trial.index, trial.block as usize), (next, block));
                next += 1;
            }
        }
        prop_assert_eq!(u64::from(next), plan.cells.iter().map(|cell| u64::from(cell.trials)).sum::<u64>());
    }

    #[test]
    fn shards_partition_the_trials_by_whole_blocks(shape in shape(), of in 1..8_u32) {
        let study = parse(&shape.manifest()).unwrap();
        let plan = expand(&study, None);
        let blocks = plan.trials.iter().map(|trial| trial.block + 1).max().unwrap_or(0);
        prop_assert_eq!(plan::divisible(&plan, of).is_ok(), of <= blocks);
        let shards: Vec<Shard> = (1..=of).map(|index| Shard { index, of }).collect();
        let mut all: Vec<u32> = Vec::new();
        for shard in &shards {
            let own: Vec<_> = plan::trials_of_shard(&plan, *shard).collect();
            // A shard of a divisible plan has at least one trial, and contains whole blocks.
            prop_assert!(of > blocks || !own.is_empty());
            prop_assert!(own.is_sorted_by_key(|trial| trial.index));
            for trial in &plan.trials {
                prop_assert_eq!(own.contains(&trial), own.iter().any(|other| other.block == trial.block));
            }
            // A cell with at least as many trials as shards is in every shard.
            for cell in plan.cells.iter().filter(|cell| cell.trials >= of) {
                prop_assert!(own.iter().any(|trial| trial.cell == cell.id));
            }
            prop_assert_eq!(shard.to_string().parse::<Shard>(), Ok(*shard));
            all.extend(own.iter().map(|trial| trial.index));
        }
        all.sort_unstable();
        prop_assert_eq!(all, plan.trials.iter().map(|trial| trial.index).collect::<Vec<_>>());
    }

    #[test]
    fn only_the_seed_determines_the_order(shape in shape()) {
        let study = parse(&shape.manifest()).unwrap();
        let plan = expand(&study, None);
        prop_assert_eq!(&plan, &expand(&study, None));
        prop_assert_eq!(plan.seed, shape.seed);
        // At least one of 64 other seeds gives another order, unless no block has two cells. The chance that a block of
        // two cells keeps its order for all seeds is 2^-64. Eight seeds were too few: 2^-8 failed within the 200 cases.
        let alone = plan.trials.chunk_by(|a, b| a.block == b.block).all(|block| block.len() == 1);
        let same = (1..=64).all(|step| expand(&study, Some(shape.seed + step)).trials == plan.trials);
        prop_assert_eq!(same, alone);
    }

    #[test]
    fn parser_never_panics(source in toml_like()) {
        if let Err(errors) = parse(&source) {
            prop_assert!(errors.plain().ends_with("nothing was started\n"));
            prop_assert!(!errors.render(true, Some(1)).is_empty());
        }
    }

    #[test]
    fn edited_manifest_is_parsed_completely_or_refused(at in 0..100_usize, word in tokens(), cut in 0..30_usize) {
        let source = include_str!("../../experiments/quick.toml");
        let lines: Vec<&str> = source.lines().collect();
        let at = at.min(lines.len() - 1);
        let kept: String = lines[at].chars().take(cut).collect();
        let changed = format!("{}\n{kept}{word}\n{}", lines[..at].join("\n"), lines[at + 1..].join("\n"));
        match parse(&changed) {
            Err(errors) => prop_assert!(!errors.plain().is_empty()),
            // An accepted manifest is complete: no part that failed to parse was dropped.
            Ok(study) => {
                let product: usize = study.axes.iter().map(|axis| axis.levels.len()).product();
                prop_assert_eq!(study.cells.len() + study.excluded.len(), product);
                prop_assert_eq!(study.variants.len(), 2);
                for cell in &study.cells {
                    prop_assert!(cell.settings.contains_key("kernel") && cell.settings.contains_key("rootfs"));
                }
            }
        }
    }
}

/// A token of a manifest, or an invalid token.
fn tokens() -> impl Strategy<Value = String> {
    let known = vec![
        "[study]",
        "[guest]",
        "[matrix]",
        "[metrics]",
        "[variants.a]",
        "[figures.f]",
        "[[claims]]",
        "[profiles.p]",
        "[[matrix.exclude]]",
        "name",
        "title",
        "seed",
        "engine",
        "label",
        "kernel",
        "rootfs",
        "variant",
        "concurrency",
        "trials",
        "exclude",
        "include",
        "vcpus",
        "boot_args",
        "from",
        "to",
        "reading",
        "workload",
        "kind",
        "bytes",
        "rounds",
        "form",
        "metric",
        "where",
        "bars",
        "hold_s",
        "ratio",
        "expect",
        "protocol",
        "x",
        "groups",
        "=",
        "=",
        "=",
        "[",
        "]",
        "{",
        "}",
        ",",
        ".",
        "\n",
        "\n",
        "\r\n",
        "\"a\"",
        "\"firecracker\"",
        "\"microvm-6.1\"",
        "\"minimal\"",
        "\"spawn\"",
        "\"exit\"",
        "\"1 MB\"",
        "\"sha256\"",
        "\"grouped-bars\"",
        "'''",
        "\"\"\"",
        "#",
        "1",
        "-1",
        "1.5",
        "nan",
        "inf",
        "true",
        "1979-05-27",
        "0xff",
        "9223372036854775808",
        "\u{feff}",
        "\u{0}",
        "\t",
        "é",
        "\u{202e}",
    ];
    prop_oneof![9 => proptest::sample::select(known).prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

fn toml_like() -> impl Strategy<Value = String> {
    proptest::collection::vec((tokens(), "[ ]?"), 0..60)
        .prop_map(|words| words.into_iter().map(|(word, gap)| word + &gap).collect())
}
