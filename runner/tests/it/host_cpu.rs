//! The CPU of the emulated host (`host_cpu`) on a host that does not apply it.

use std::fs;

use microbench_formats::host::HostKind;
use microbench_formats::journal::{encode, records};
use microbench_formats::record::{EmulatedHost, Record};
use microbench_testing::require;

use crate::support::{Bench, text, trials};

/// A study of two variants with different CPUs. `second` is the mode of the second variant; the first has `ok`.
fn study(second: &str) -> Bench {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1\nwarmup = false", "host_cpu = \"Skylake-Server\"");
    let study = fs::read_to_string(path).unwrap();
    let variant = format!(
        "[variants.other]\nlabel = \"other\"\nengine = \"fake\"\nmode = \"{second}\"\nhost_cpu = \"EPYC-Milan\"\n[matrix]"
    );
    bench.file("study.toml", &study.replace("[matrix]", &variant));
    bench
}

#[test]
fn plan_states_the_cpus_of_the_emulated_host_unless_all_are_the_default() {
    const LINE: &str = "host_cpu: EPYC-Milan, Skylake-Server, only in the emulated host\n";
    let output = study("late").run(&["plan", "study.toml"]);
    assert!(text(&output.stdout).contains(LINE), "{}", text(&output.stdout));
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let plan = text(&bench.run(&["plan", "study.toml"]).stdout);
    assert!(!plan.contains("host_cpu"), "{plan}");
}

#[test]
fn plan_shows_the_order_of_each_cpu_of_the_emulated_host() {
    let bench = study("late");
    let text_of = |bench: &Bench| text(&bench.run(&["plan", "study.toml"]).stdout);
    let plan = text_of(&bench);
    let order = plan.split("order (a block").nth(1).unwrap_or_else(|| panic!("{plan}"));
    let flat = order.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("the trials of each host_cpu are executed together"), "{order}");
    let groups: Vec<&str> =
        order.lines().map(str::trim).filter(|line| line.ends_with(':') || line.contains("/1")).collect();
    let of = |cpu: &str, cell: &str| {
        let at = groups.iter().position(|line| *line == format!("{cpu}:")).unwrap_or_else(|| panic!("{order}"));
        assert_eq!(groups[at + 1], format!("0: {cell}"), "{order}");
    };
    of("Skylake-Server", "ok/1");
    of("EPYC-Milan", "other/1");
    let same = fs::read_to_string(bench.path("study.toml")).unwrap().replace("EPYC-Milan", "Skylake-Server");
    bench.file("study.toml", &same);
    let plan = text_of(&bench);
    assert!(!plan.contains("executed together"), "{plan}");
}

#[test]
fn plan_warns_of_a_template_that_the_host_cpu_does_not_permit() {
    let bench = Bench::new();
    let path = bench.study(&["ok"], "concurrency = [1]\ntrials = 1", "");
    let study = fs::read_to_string(path).unwrap();
    let hint = |template: &str, cpu: &str| {
        let variant = format!(
            "[variants.fc]\nengine = \"firecracker\"\ncpu_template = \"{template}\"\nhost_cpu = \"{cpu}\"\n[matrix]"
        );
        bench.file("study.toml", &study.replace("[matrix]", &variant));
        let output = bench.run(&["plan", "study.toml"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let plan = hint("T2", "EPYC");
    assert!(
        plan.contains(
            "hint: fc/1: Firecracker does not permit `cpu_template = \"T2\"` on the emulated host's CPU EPYC, which \
             permits no static template, so that the cell is not applicable there; set `host_cpu = \"Skylake-Server\"` \
             or `host_cpu = \"Cascadelake-Server\"`"
        ),
        "{plan}"
    );
    assert!(hint("T2A", "Skylake-Server").contains("which permits C3, T2 and T2S,"));
    for (template, cpu) in [("T2A", "EPYC-Milan"), ("T2CL", "Cascadelake-Server"), ("none", "EPYC")] {
        let plan = hint(template, cpu);
        assert!(!plan.contains("does not permit"), "{plan}");
    }
}

#[test]
fn variants_of_one_run_are_compared_across_host_cpus_if_asked() {
    require!(trials());
    let bench = study("late");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // As if the run had been executed in emulated hosts.
    let path = bench.path("run/journal.ndjson");
    let mut changed: Vec<Record> = records(&fs::read(&path).unwrap()).map(Result::unwrap).collect();
    for record in &mut changed {
        if let Record::RunStart { host, .. } = record {
            *host = HostKind::Emulated;
        }
    }
    fs::write(path, encode(&changed)).unwrap();
    assert!(bench.run(&["analyze", "run"]).status.success());
    let compared = |arguments: &[&str]| -> serde_json::Value {
        let output = bench.run(&[&["compare", "run", "--json"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let remarks = |rows: &serde_json::Value| -> Vec<String> {
        let rows = rows.as_array().unwrap().iter();
        rows.filter_map(|row| row["remark"].as_str()).filter(|text| text.contains("CPUs")).map(str::to_owned).collect()
    };
    let refused = remarks(&compared(&[]));
    assert!(!refused.is_empty());
    assert!(refused.iter().all(|remark| remark.contains("set `across_host_cpus = true` in [study]")), "{refused:?}");
    assert!(refused.iter().all(|remark| remark.contains("`microbench compare --across-hosts`")), "{refused:?}");
    let asked = compared(&["--across-hosts"]);
    assert!(asked.as_array().unwrap().iter().any(|row| row["ratio"].is_number()), "{asked}");
    assert!(remarks(&asked).iter().all(|remark| !remark.starts_with("not compared")), "{asked}");
    // The report names the CPUs once.
    assert!(bench.run(&["report", "run"]).status.success());
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(page.contains("CPUs of the emulated hosts: EPYC-Milan (other); Skylake-Server (ok)."), "{page}");
}

#[test]
fn cells_that_differ_only_in_the_host_cpu_run_on_the_emulated_host_only() {
    let bench = study("ok");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(said.contains("ok/1 and other/1 differ only in `host_cpu` (Skylake-Server and EPYC-Milan)"), "{said}");
    assert!(said.contains("pass --host emulated") && said.contains("MB4007"), "{said}");
    assert!(!bench.path("run").exists());
}

#[test]
fn samples_and_report_state_that_the_host_cpu_was_not_applied() {
    require!(trials());
    let bench = study("late");
    let output = bench.run(&["run", "study.toml", "--host", "fake", "--out", "run"]);
    let said = text(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains(
            "host_cpu: EPYC-Milan, Skylake-Server, only in the emulated host: not applied on this host (fake)"
        ),
        "{said}"
    );
    assert!(bench.journal().executions.iter().all(|execution| execution.emulated_host.is_none()));
    // The cells are on the same machine, so they are compared.
    assert!(bench.run(&["analyze", "run"]).status.success());
    let compared = text(&bench.run(&["compare", "run"]).stdout);
    assert!(!compared.contains("not compared"), "{compared}");
    let sql = "select distinct emulated_host, host_cpu, emulated_memory_mib from samples";
    let rows = text(&bench.run(&["query", "run", sql, "--csv"]).stdout);
    assert_eq!(rows, "emulated_host,host_cpu,emulated_memory_mib\n\"\",\"\",\n", "{rows}");
    let report = bench.run(&["report", "run"]);
    assert!(report.status.success(), "{}", text(&report.stderr));
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(page.contains("host_cpu (EPYC-Milan, Skylake-Server): only in the emulated host"));
}

#[test]
fn merged_run_names_the_emulated_hosts_of_all_shards_as_their_logs() {
    require!(trials());
    let bench = Bench::new();
    bench.study(&["ok"], "concurrency = [1]\ntrials = 2\nwarmup = false", "");
    for (shard, out) in [("1/2", "one"), ("2/2", "two")] {
        let output = bench.run(&["run", "study.toml", "--host", "fake", "--shard", shard, "--out", out]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        // As if the shard had been executed in an emulated host.
        let path = bench.path(out).join("journal.ndjson");
        let mut changed: Vec<Record> = records(&fs::read(&path).unwrap()).map(Result::unwrap).collect();
        for record in &mut changed {
            match record {
                Record::RunStart { host, .. } => *host = HostKind::Emulated,
                Record::TrialStart { emulated_host, .. } => {
                    *emulated_host =
                        Some(EmulatedHost { number: "0-0".into(), host_cpu: "EPYC".into(), memory_mib: 900 });
                }
                _ => {}
            }
        }
        fs::write(path, encode(&changed)).unwrap();
        bench.file(&format!("{out}/emulated-host-0-0.log"), "a console");
    }
    let merged = bench.run(&["merge", "one", "two", "--out", "run"]);
    assert!(merged.status.success(), "{}", text(&merged.stderr));
    let executions = bench.journal().executions.into_iter();
    let numbers: Vec<String> = executions.map(|execution| execution.emulated_host.unwrap().number.clone()).collect();
    assert_eq!(numbers, ["1of2-0-0", "2of2-0-0"]);
    assert!(numbers.iter().all(|number| bench.path(&format!("run/emulated-host-{number}.log")).is_file()));
}
