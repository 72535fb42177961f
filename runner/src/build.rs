//! What this program was built from, and how.

use std::sync::LazyLock;

use microbench_formats::build::Build;
use microbench_measure::artifacts::built_in;

/// Argument of `microbench-emulated-host` to print its [`Build`] as JSON.
pub const BUILD_ARGUMENT: &str = "build";

/// Sources and compiler of this program. The two programs of this package share this code, but may come from different
/// builds.
#[must_use]
pub fn this_build() -> Build {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Build {
        commit: text(env!("MICROBENCH_BUILD_COMMIT")),
        dirty: env!("MICROBENCH_BUILD_DIRTY").parse().ok(),
        date: text(env!("MICROBENCH_BUILD_DATE")),
        profile: env!("MICROBENCH_BUILD_PROFILE").to_owned(),
        opt_level: microbench_measure::OPT_LEVEL.to_owned(),
        rustc: env!("MICROBENCH_BUILD_RUSTC").to_owned(),
        target: env!("MICROBENCH_BUILD_TARGET").to_owned(),
    }
}

/// The version with the sources, the compiler and the built-in agent, which `--version` prints.
#[must_use]
pub fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let build = this_build();
        let agent = built_in::agent_sha256();
        format!(
            "{} ({})\nbuilt from {}\n{}\nguest agent: {}",
            env!("CARGO_PKG_VERSION"),
            build.short_source(),
            build.source(),
            build.compiler(),
            agent.map_or_else(|| "not built in".to_owned(), |sha256| format!("built in, SHA-256 {sha256}")),
        )
    });
    &TEXT
}
