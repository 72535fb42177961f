//! The first process of the emulated host: the part of microbench that executes trials, without what plans, analyses and draws.
//!
//! The emulated host unpacks its whole file system into RAM in every boot, and the program `microbench` would be most of it.

use std::process::ExitCode;

use anyhow::{Context, bail};
use microbench_measure::emulated_host::init;
use microbench_measure::errln;
use microbench_measure::selftest::fake_guest;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errln!("microbench-emulated-host: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> anyhow::Result<()> {
    match words {
        [init::INIT_WORD] => init::main(),
        [fake_guest::WORD, tap, mac, ip, nonce] => {
            fake_guest::play(tap, mac, ip.parse().context("no IPv4 address")?, nonce)
        }
        _ => bail!("this is the first process of the emulated host, which `microbench run` boots"),
    }
}
