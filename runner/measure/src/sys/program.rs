//! Lookup of programs on `PATH`.

use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::path::PathBuf;

/// The absolute folders of the search path `path`, then those of the system. Relative and empty entries are ignored:
/// they mean the working directory, which may contain another user's files.
fn program_folders(path: &OsStr) -> Vec<PathBuf> {
    let given = std::env::split_paths(path).filter(|folder| folder.is_absolute());
    given.chain(["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from)).collect()
}

/// `PATH` with the folders in which [`find_program`] looks.
#[must_use]
pub fn program_path() -> OsString {
    let folders = program_folders(&std::env::var_os("PATH").unwrap_or_default());
    // Cannot fail: the folders were split at colons.
    std::env::join_paths(folders).unwrap_or_else(|_| "/usr/bin".into())
}

/// The absolute path of program `name`: the first executable file of this name in an absolute folder of `PATH`. If
/// `name` contains a slash, it is the path of the file.
///
/// # Errors
/// [`io::ErrorKind::NotFound`] if there is no such executable file.
pub fn find_program(name: &str) -> io::Result<PathBuf> {
    let candidates: Vec<PathBuf> = if name.contains('/') {
        vec![std::path::absolute(name)?]
    } else {
        let folders = program_folders(&std::env::var_os("PATH").unwrap_or_default());
        folders.into_iter().map(|folder| folder.join(name)).collect()
    };
    candidates
        .into_iter()
        .find(|path| {
            path.is_file()
                && CString::new(path.as_os_str().as_encoded_bytes())
                    .is_ok_and(|_| nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok())
        })
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("`{name}` not found on PATH")))
}
