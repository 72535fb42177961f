//! SQL queries over the tables of runs, and the schema of these tables.

use microbench_plots::query::{parquet_columns, query, schema_difference};
use microbench_plots::schema::{SAMPLES, TABLES};

use crate::tables::published;

#[test]
fn every_table_has_exactly_the_columns_of_its_schema() {
    let run = published(7);
    for table in TABLES {
        assert_eq!(schema_difference(run.folder(), table).unwrap(), None, "{}", table.name);
    }
    let file = parquet_columns(&run.path("samples.parquet")).unwrap();
    let expected: Vec<_> = SAMPLES.iter().filter(|column| !column.name.ends_with('*')).collect();
    assert_eq!(file.len(), expected.len(), "{file:?}");
    for ((name, kind), column) in file.iter().zip(expected) {
        assert_eq!((name.as_str(), *kind), (column.name, Some(column.kind)));
    }
    let header = run.read("summary.csv").lines().next().unwrap().to_owned();
    let summary: Vec<&str> =
        TABLES.iter().find(|table| table.name == "summary").unwrap().columns.iter().map(|column| column.name).collect();
    assert_eq!(header, summary.join(","));
}

#[test]
fn a_query_returns_text_csv_and_json() {
    let run = published(7);
    let runs = [run.folder().to_path_buf()];
    let result = query(
        &runs,
        "select cell, median, median_low, unit from summary where metric = 'kernel_boot_time' order by median nulls last limit 3",
    )
    .unwrap();
    insta::assert_snapshot!(result.to_text());
    assert_eq!(
        result.to_csv().unwrap(),
        "cell,median,median_low,unit\nfc/1,63.0,60.0,ms\nqemu/1,113.0,110.0,ms\nfc/10,153.0,150.0,ms\n"
    );
    let json: serde_json::Value = serde_json::from_str(&result.to_json()).unwrap();
    assert_eq!(json[1]["cell"], "qemu/1");
    assert_eq!(json[1]["median"], 113.0);

    let missing =
        query(&runs, "select status, count(*) as n from samples where status <> 'ok' group by status").unwrap();
    assert_eq!(missing.to_csv().unwrap(), "status,n\nnot-applicable,154\n");
    let joined = query(
        &runs,
        "select s.metric, m.definition, avg(s.value) as mean from samples s join metrics m on s.metric = m.metric \
         where s.status = 'ok' and not s.warmup group by s.metric, m.definition order by s.metric limit 1",
    );
    assert!(joined.unwrap().to_text().contains("What `kernel.init` says."));
    let claims = query(&runs, "select claim, verdict from claims").unwrap().to_csv().unwrap();
    assert_eq!(claims, "claim,verdict\nratio,holds\nunmeasured,not measured\n");
    let readings = query(&runs, "select count(*) as n from readings where reading = 'kernel.init'").unwrap();
    assert_eq!(readings.to_csv().unwrap(), format!("n\n{}\n", 7 * 2 * 11));
    let events = query(&runs, "select event, t_ns from events limit 1").unwrap().to_text();
    assert!(events.contains("; t_ns in ns; host: "), "{events}");
    let nothing = query(&runs, "select cell from cells where concurrency > 10").unwrap();
    assert_eq!((nothing.rows(), nothing.to_json().as_str()), (0, "[]\n"));
}

#[test]
fn tables_of_several_runs_are_concatenated_with_a_run_column() {
    let (a, b) = (published(3), published(7));
    let runs = [a.folder().to_path_buf(), b.folder().to_path_buf()];
    let result = query(&runs, "select run, max(trial) as last from samples group by run order by last").unwrap();
    let name = |path: &std::path::Path| path.file_name().unwrap().to_string_lossy().into_owned();
    let csv = format!("run,last\n{},17\n{},41\n", name(a.folder()), name(b.folder()));
    assert_eq!(result.to_csv().unwrap(), csv);
}

#[test]
fn an_invalid_query_is_one_line_that_names_the_list_of_tables() {
    let run = published(1);
    let runs = [run.folder().to_path_buf()];
    for (sql, problem) in [
        ("select nothing from samples", "nothing"),
        ("select * from sample", "sample"),
        ("selec * from samples", "start the statement with SELECT"),
        ("drop table samples", "start the statement with SELECT"),
        ("select * from samples; drop table samples", ""),
        ("select * from read_csv('/etc/passwd')", ""),
    ] {
        let error = query(&runs, sql).unwrap_err().to_string();
        assert!(error.contains(problem), "{sql}: {error}");
        assert!(error.ends_with("`microbench query --tables` lists the tables and their columns"), "{sql}: {error}");
        assert_eq!(error.lines().count(), 1, "{sql}: {error}");
    }
}
