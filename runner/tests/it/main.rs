//! The built program, driven from outside: a manifest in, files out. One topic a file.

mod cli;
mod compare;
mod doctor;
mod documents;
mod emulated;
mod engines;
mod faults;
mod front;
mod hostile;
mod imports;
mod kills;
mod machine;
mod markdown;
mod phases;
mod probe;
mod protocols;
mod publish;
mod runs;
mod schema;
mod store;
mod support;
mod terminal;
mod testbed;
mod trust;
mod walk;
