//! The `microbench` program: parse the command line and hand over.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    // First of all: nothing that this program starts, VMMs least of all, has what the caller left open.
    if let Err(error) = microbench_measure::sys::close_inherited_descriptors_on_exec() {
        microbench_measure::errln!(
            "microbench: cannot keep inherited descriptors from the programs that it starts: {error}"
        );
        return ExitCode::from(microbench_formats::exit::FAILED);
    }
    cli::main()
}
