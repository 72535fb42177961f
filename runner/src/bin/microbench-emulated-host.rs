//! Init of the emulated host: the part of microbench that executes trials, without planning, analysis and
//! plotting.
//!
//! The emulated host unpacks its file system into RAM at each boot, and `microbench` itself would be most of
//! it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use microbench::build;
use microbench_measure::emulated_host::init;
use microbench_measure::selftest::fake_guest;
use microbench_measure::{errln, outln};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("microbench-emulated-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    match arguments {
        [init::INIT_ARGUMENT] => init::main(),
        [fake_guest::SUBCOMMAND, tap, mac, ip, nonce] => {
            fake_guest::run(tap, mac, ip.parse().context("the IPv4 address is not valid")?, nonce)
        }
        [build::BUILD_ARGUMENT] => {
            outln!("{}", serde_json::to_string(&build::this_build())?)?;
            Ok(())
        }
        _ => bail!(
            "this program is the init of the emulated host, which `microbench run` boots; do not start it yourself"
        ),
    }
}
