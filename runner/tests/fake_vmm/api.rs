//! The API of the fake VMM: `PUT /boot`, `PUT /save` (take a snapshot) and `PUT /load` (restore it).

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// A guest to run.
pub(crate) struct Guest {
    /// Nonce of the guest. A restored guest has the nonce of the saved guest.
    pub(crate) nonce: String,
    pub(crate) restored: bool,
}

/// Listens at `folder/api.sock` and returns the first guest to run: a new guest with this nonce, or a restored guest.
///
/// In the mode `refuse-snapshot`, requests for a snapshot fail. In `restore link-snapshot PATH` the snapshot is a link to
/// that file, and in `restore link-socket PATH` the socket is a link to another one.
pub(crate) fn guest(folder: &str, nonce: &str, mode: &str) -> Guest {
    if let Some(other) = mode.strip_prefix("restore link-socket ") {
        symlink(other, Path::new(folder).join("api.sock")).expect("a link");
    }
    let listener = UnixListener::bind(Path::new(folder).join("api.sock")).expect("a socket");
    let (sender, guests) = channel();
    let (folder, nonce, mode) = (folder.to_owned(), nonce.to_owned(), mode.to_owned());
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(&stream.expect("a connection"), Path::new(&folder), &nonce, &mode, &sender);
        }
    });
    guests.recv().expect("a guest")
}

fn serve(stream: &UnixStream, folder: &Path, nonce: &str, mode: &str, sender: &Sender<Guest>) {
    let mut reader = BufReader::new(stream);
    let mut writer = stream;
    loop {
        let (mut path, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            } else if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
        }
        reader.read_exact(&mut vec![0; length]).expect("a body");
        let state = folder.join("state");
        let mut answer = "HTTP/1.1 204 x\r\ncontent-length: 0\r\n\r\n".to_owned();
        match path.as_str() {
            "/boot" => sender.send(Guest { nonce: nonce.to_owned(), restored: false }).expect("a guest"),
            "/load" => {
                let nonce = fs::read_to_string(state).expect("a snapshot");
                sender.send(Guest { nonce, restored: true }).expect("a guest");
            }
            "/save" if mode.starts_with("restore link-snapshot ") => {
                symlink(&mode["restore link-snapshot ".len()..], state).expect("a link");
            }
            "/save" if mode == "refuse-snapshot" => {
                let fault = r#"{"fault_message": "no state"}"#;
                answer = format!("HTTP/1.1 400 x\r\ncontent-length: {}\r\n\r\n{fault}", fault.len());
            }
            _ => fs::write(state, nonce).expect("a snapshot"),
        }
        writer.write_all(answer.as_bytes()).expect("an answer");
    }
}
