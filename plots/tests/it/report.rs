//! The HTML report of a run, opened in Chromium.

use std::path::Path;
use std::process::Command;

use microbench_formats::attribution::{Attribution, Author};
use microbench_formats::axis::{Axis, Level};
use microbench_formats::figure::FigureForm;
use microbench_formats::record::Record;
use microbench_plots::{analyze, report};
use microbench_testing::{program, require};

use crate::support::{Run, figure};
use crate::tables::published;

/// Loads `page` in headless Chromium; returns the DOM and the log.
fn chromium(page: &Path, more: &[&str]) -> (String, String) {
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new("chromium")
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"])
        .args(["--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", "--hide-scrollbars"])
        .args(["--enable-logging=stderr", "--dump-dom"])
        .args(more)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("chromium starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    (text(&output.stdout), text(&output.stderr))
}

/// Loads the report in frames of the given widths and runs `script` with `pages`, the documents in the frames.
/// Returns what the script pushes onto `found`.
fn framed(run: &Run, widths: &[u32], script: &str) -> String {
    let frames: String =
        widths.iter().map(|width| format!("<iframe src=report.html width={width} height=900></iframe>")).collect();
    let page = run.path("frames.html");
    let text = format!(
        "<!doctype html>{frames}<pre id=found></pre><script>onload = () => {{\
         const pages = Array.from(document.querySelectorAll('iframe'), frame => frame.contentDocument);\
         const found = []; {script}; document.getElementById('found').textContent = found.join('|'); }}</script>"
    );
    std::fs::write(&page, text).unwrap();
    let (dom, log) = chromium(&page, &[]);
    assert!(!log.contains("CONSOLE"), "the page has console messages: {log}");
    let found = dom.split("<pre id=\"found\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    found.unwrap_or_else(|| panic!("the frames did not load: {dom}")).to_owned()
}

#[test]
fn subtitle_counts_only_axes_with_several_levels() {
    let mut run = Run::new(1, Vec::new());
    run.plan.axes.push(Axis { name: "memory_mib".into(), levels: vec![Level::Int(128)] });
    run.write_plan();
    analyze(run.folder()).unwrap();
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    let subtitle = page.split("<p class=\"lead\">").nth(1).unwrap().split("</p>").next().unwrap();
    assert_eq!(subtitle, "Study known: 6 cells of 3 variants × 2 concurrency levels, 6 trials planned, 2 metrics.");
}

#[test]
fn the_page_loads_no_other_files_and_fits_any_width() {
    require!(program("chromium", "chromium"));
    let run = published(7);
    let file = report::save(run.folder()).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    for address in ["src=", "href=\"http", "@import", "url("] {
        assert!(!page.contains(address), "the page loads another file: {address}");
    }
    // The page is complete without its script: the file contains every row of the matrix.
    let rows =
        page.split("id=\"matrix-table\"").nth(1).unwrap().split("</table>").next().unwrap().matches("<tr").count();
    assert_eq!(rows, 1 + 6 * 2);
    let (dom, log) = chromium(&file, &[]);
    assert!(!log.contains("CONSOLE"), "{log}");
    assert!(dom.contains("12 of 12 rows"), "the script did not run");

    let widths = framed(
        &run,
        &[360, 1280],
        "for (const page of pages) { page.querySelectorAll('details').forEach(one => one.open = true);\
         found.push(page.documentElement.scrollWidth) }",
    );
    assert_eq!(widths, "360|1280", "something is wider than the page");
}

#[test]
fn the_matrix_can_be_sorted_and_filtered() {
    require!(program("chromium", "chromium"));
    let run = published(7);
    report::save(run.folder()).unwrap();
    let found = framed(
        &run,
        &[1280],
        "const page = pages[0], table = page.getElementById('matrix-table');\
         const rows = () => Array.from(table.tBodies[0].rows).filter(row => !row.hidden);\
         const cells = n => rows().map(row => row.cells[n].textContent);\
         const button = name => Array.from(table.querySelectorAll('th button')).find(one => one.textContent === name);\
         const fire = (control, type) => control.dispatchEvent(new Event(type, { bubbles: true }));\
         button('Median').click(); found.push(cells(4).join());\
         found.push(button('Median').parentElement.getAttribute('aria-sort'));\
         button('Median').click(); found.push(cells(4)[0] + ' ' + cells(4)[2]);\
         const metric = page.querySelector('.filters select'); metric.value = 'kernel_boot_time'; fire(metric, 'input');\
         found.push(page.querySelector('.filters output').textContent);\
         const search = page.querySelector('.filters input'); search.value = 'fc/1'; fire(search, 'input');\
         found.push(cells(0).join());",
    );
    assert_eq!(
        found,
        "63.0,113.0,153.0,189.0,203.0,339.0,459.0,609.0,none,none,none,none|ascending|none none|6 of 12 rows|fc/10,fc/1",
    );
}

/// Text from a guest forms no element, link or script in the page.
#[test]
fn text_from_a_guest_is_escaped() {
    let run = published(3);
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "the reason is not shown");
    assert_eq!(page.matches("<script").count(), 1);
    assert_eq!(page.matches("nonce=").count(), 2);
}

/// A plan need not come from a manifest that microbench checked.
#[test]
fn hostile_attribution_is_escaped_and_not_linked() {
    let mut run = Run::new(1, Vec::new());
    let author = |name: &str, orcid: &str| Author { name: name.into(), email: None, orcid: Some(orcid.into()) };
    run.plan.attribution = Attribution {
        authors: vec![
            author("<script>alert(1)</script>\u{1b}[2J\n", "javascript:alert(1)"),
            author("\"onload=alert(1)", "https://orcid.org/\" onclick=\"alert(1)"),
        ],
        license: Some("<img src=x>".into()),
        doi: Some("10.1234/\"><script>alert(1)</script>".into()),
    };
    run.write_plan();
    analyze(run.folder()).unwrap();
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    let head = page.split("<p class=\"byline\">").nth(1).unwrap().split("<nav").next().unwrap();
    assert!(head.contains("&lt;script&gt;alert(1)&lt;/script&gt; [2J ") && head.contains("&lt;img"), "{head}");
    assert!(!head.contains("<a ") && !head.contains("<script") && !head.contains('\u{1b}'), "{head}");
}

#[test]
fn failures_link_to_consoles_and_precede_claims_and_figures() {
    let run = published(3);
    let trial = run.plan.trials.iter().find(|trial| trial.cell == "t2/1").unwrap();
    let mut records = run.records();
    let mut invalid = run.trial(&run.plan.trials[0], 7, false);
    invalid.insert(
        1,
        Record::Invalid {
            reason: microbench_formats::record::Interference::Stolen,
            message: "12 % of the time <b>".into(),
        },
    );
    records.splice(1..1, invalid);
    run.write_journal(&records);
    std::fs::create_dir(run.path("console")).unwrap();
    let console = format!("t{:04}-a0-vm000.log", trial.index);
    std::fs::write(run.path("console").join(&console), "a guest").unwrap();
    analyze(run.folder()).unwrap();
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("the page does not contain {text}"));
    assert!(at("id=\"failures\"") < at("id=\"claims\"") && at("id=\"claims\"") < at("id=\"figures\""));
    assert!(at(&format!("<a href=\"console/{console}\">")) < at("id=\"claims\""), "no link to the console");
    assert!(at("stolen: 12 % of the time &lt;b&gt;") < at("id=\"claims\""));
    assert!(page.contains("Virtual time."), "the clock is missing");
    assert!(page.contains(" with a value, "), "samples are not counted");
}

/// A run without host.json, figures, claims and executed trials.

#[test]
fn a_run_without_data_has_a_page() {
    let mut run = Run::new(1, Vec::new());
    run.plan.figures = vec![figure("empty", FigureForm::Bars, &["kernel_boot_time"])];
    run.plan.figures[0].only = std::collections::BTreeMap::from([("concurrency".to_owned(), vec![Level::Int(1)])]);
    run.write_plan();
    run.write_journal(&[Run::start()]);
    analyze(run.folder()).unwrap();
    let page = std::fs::read_to_string(report::save(run.folder()).unwrap()).unwrap();
    for text in
        ["no trial was executed", "the trial has not been executed", "has no <code>host.json</code>", "not ended"]
    {
        assert!(page.contains(text), "the page does not contain: {text}");
    }
}

/// The page of a large run leaves out samples and refers to the file that contains them.
#[test]
fn the_page_of_a_large_run_is_limited_in_size() {
    let run = published(300);
    let file = report::save(run.folder()).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    assert!(page.contains("2000 of 3000 VMs; 1000 more are in samples.csv"), "the number of omitted VMs is missing");
    assert!(page.len() < 4_000_000, "{} bytes", page.len());
}
