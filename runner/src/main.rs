//! The `microbench` program.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    // Before anything is started: child processes, above all VMMs, must not inherit open files of the caller.
    if let Err(error) = microbench_measure::sys::close_inherited_descriptors_on_exec() {
        microbench_measure::errln!("microbench: cannot set close-on-exec on inherited file descriptors: {error}");
        return ExitCode::from(microbench_formats::exit::FAILED);
    }
    cli::main()
}
