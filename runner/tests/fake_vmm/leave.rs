//! A VMM that looks for what it must not find, and leaves processes, shared memory and files behind.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

/// Folders in which every user may create files.
const SHARED: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Returns what this process finds, as JSON, and then leaves something behind in every way. `folder` is that of the VM,
/// `test` that of the test, which has a socket for every user in it.
pub(crate) fn look_and_leave(folder: &str, test: &str) -> serde_json::Value {
    let numbers = |folder: &str| -> Vec<String> {
        let names = fs::read_dir(folder).into_iter().flatten().flatten();
        names.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let processes = numbers("/proc").into_iter().filter(|name| name.parse::<u32>().is_ok()).count();
    let segments = fs::read_to_string("/proc/sysvipc/shm").map_or(0, |table| table.lines().count() - 1);
    // The names of the folders of a trial's VMs differ in the last digit only.
    let (name, own) = folder.split_at(folder.len() - 1);
    let others = (0..10).map(|vm| format!("{name}{vm}")).filter(|other| !other.ends_with(own) && exists(other)).count();
    let files: usize = SHARED.iter().map(|folder| numbers(folder).iter().filter(|name| *name == "left").count()).sum();
    let limits = fs::read_to_string("/proc/self/limits").expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    let sockets =
        ["host.sock", "project/host.sock"].map(|name| UnixStream::connect(Path::new(test).join(name)).is_ok());
    let hidden = ["/run", "/srv", "/var/lib"].map(|folder| numbers(folder).len());
    let found = serde_json::json!({
        "processes": processes,
        "segments": segments,
        "other_folders": others,
        "files": files,
        "sockets": sockets,
        "hidden": hidden,
        "core": core.split_whitespace().nth(4),
    });
    for shared in SHARED {
        // A VM may not write to /dev/shm.
        drop(fs::write(Path::new(shared).join("left"), "left"));
    }
    let quiet = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("a process")
    };
    assert!(quiet("ipcmk", &["--shmem", "4096"]).wait().expect("a status").success());
    for _ in 0..3 {
        // In sessions of their own, with a parent that has exited; `test` marks the processes as those of the test.
        let script = "trap '' HUP TERM INT; setsid sh -c 'while :; do sleep 1000; done' \"$0\" & exit 0";
        quiet("sh", &["-c", script, test]).wait().expect("a status");
    }
    found
}

fn exists(path: &str) -> bool {
    fs::metadata(path).is_ok()
}

/// Writes to a file of the VM's folder until that fails. Returns the number of MiB and the error.
pub(crate) fn fill_folder(folder: &str) -> String {
    let mut file = fs::File::create(Path::new(folder).join("fill")).expect("a file");
    let block = vec![1; 1 << 20];
    for written in 0.. {
        if let Err(error) = file.write_all(&block) {
            return format!("wrote {written} MiB: {error}");
        }
    }
    unreachable!("a file system without an end")
}
