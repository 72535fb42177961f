//! The built program, driven from outside: a manifest in, files out. One topic a file.

mod emulated;
mod markdown;
mod support;
mod trust;

mod cli;
mod compare;
mod doctor;
mod documents;
mod faults;
mod hostile;
mod imports;
mod kills;
mod machine;
mod phases;
mod probe;
mod protocols;
mod runs;
mod testbed;
mod walk;
