//! The `microbench` program: parse the command line and hand over.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    cli::main()
}
