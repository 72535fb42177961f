//! The `microbench` program: parse the command line and hand over.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some(microbench::testbed::inside::INIT_WORD) {
        microbench::testbed::inside::main();
    }
    cli::main()
}
