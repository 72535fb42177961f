//! `explain` and `plan --explain`: error codes, and one cell of a study.

use std::process::ExitCode;

use anyhow::Context;
use microbench::error::explain as codes;
use microbench_measure::artifacts::image;
use microbench_measure::artifacts::project::read_text;
use microbench_measure::terminal::screen::Stream;
use microbench_measure::{out, outln};
use microbench_study::engine::context::{SettingFile, setting_files};
use microbench_study::engine::guest_settings::GuestSettings;
use microbench_study::plan::explain::{self, ExplainInputs, Explanation, Overridden};
use microbench_study::plan::view::DEFAULT_WIDTH;

use super::arguments::StudyArguments;
use super::run::{Loaded, load};

/// Prints one cell of a study: where each setting comes from, and the command line of its VMM.
pub(super) fn explain_cell(study: &StudyArguments, cell: &str, json: bool) -> anyhow::Result<ExitCode> {
    let Loaded { study: read, plan, engines, project, folder, manifest } = load(study)?;
    let manifest = manifest.display().to_string();
    let explanation = match explain::find_cell(&plan, &read, cell, &manifest)? {
        Err(not_run) => Explanation::NotRun(not_run),
        Ok(cell) => {
            let engine = engines.iter().find(|engine| engine.name == cell.engine);
            let engine = engine.with_context(|| format!("the study has no engine `{}`", cell.engine))?;
            let rootfs = GuestSettings::from_cell(cell)?.rootfs;
            let image::Rootfs { init, agent, .. } = image::describe(&project.rootfs(), &rootfs)?;
            let files = setting_files(engine, &cell.settings, |_, value| {
                let path = folder.join(value);
                Ok(SettingFile { path: path.display().to_string(), text: read_text(&path)? })
            })?;
            let site = ExplainInputs { manifest, init, agent, files };
            let overridden = Overridden { trials: study.trials.is_some(), profile: study.profile.as_deref() };
            Explanation::Runs(Box::new(explain::explain(&plan, &read, engine, cell, &site, overridden)?))
        }
    };
    if json {
        super::store::print_json(&explanation)?;
    } else {
        out!("{}", explanation.render(Stream::Out.columns().unwrap_or(DEFAULT_WIDTH)))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the explanations of the codes in `names`, of all codes when it is empty, or the exit codes for `exit-codes`.
pub(super) fn explain_codes(names: &[String], json: bool) -> anyhow::Result<ExitCode> {
    let entries = codes::entries()?;
    let width = Stream::Out.output_width().prose;
    if names.iter().any(|name| name == "exit-codes") {
        if json {
            outln!("{}", serde_json::to_string_pretty(microbench_formats::exit::CODES)?)?;
        } else {
            out!("{}", codes::exit_codes(width))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let chosen = names.iter().map(|name| codes::find(&entries, name)).collect::<anyhow::Result<Vec<_>>>()?;
    match (json, names.is_empty()) {
        (true, true) => outln!("{}", serde_json::to_string_pretty(&entries)?)?,
        (true, false) => outln!("{}", serde_json::to_string_pretty(&chosen)?)?,
        (false, true) => out!("{}", codes::list(&entries, width))?,
        (false, false) => out!("{}", chosen.iter().map(|entry| entry.render(width)).collect::<Vec<_>>().join("\n"))?,
    }
    Ok(ExitCode::SUCCESS)
}
