//! Atomic writes, and I/O errors with the path of the file.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::Error;

/// Converts an I/O error into an [`Error`] with the path; for `map_err`.
pub(crate) fn io_error_at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { path, cause: source }
}

/// Writes `content` to a temporary file in the same folder, then renames it to `path`; creates missing folders.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(io_error_at(folder))?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(io_error_at(path))?;
    file.write_all(content).map_err(io_error_at(path))?;
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    fs::set_permissions(file.path(), mode).map_err(io_error_at(path))?;
    file.persist(path).map_err(|error| io_error_at(path)(error.error))?;
    Ok(())
}
