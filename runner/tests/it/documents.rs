//! What the documents promise is what the code has.

use std::fs;
use std::path::Path;

use microbench::event::{EVENTS, reading::READINGS};

#[test]
fn the_architecture_names_every_event_and_reading_as_the_code_does() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let text = fs::read_to_string(path).unwrap();
    for event in EVENTS {
        let row = format!("| `{}` | {} |", event.name, event.doc);
        assert!(text.contains(&row), "ARCHITECTURE.md lacks: {row}");
    }
    for reading in READINGS {
        let row = format!("| `{}` | {} | {} |", reading.name, reading.unit, reading.doc);
        assert!(text.contains(&row), "ARCHITECTURE.md lacks: {row}");
    }
}
