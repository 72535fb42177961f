//! Atomic writes, and I/O errors with the path of the file.

use std::fs;
use std::io::Write;
use std::path::Path;

use microbench_formats::digests::PLAN;
use microbench_formats::input::Refused;

use crate::Error;

/// Converts an I/O error into an [`Error`] with the path; for `map_err`.
pub(crate) fn io_error_at(path: &Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |source| Error::File { path, cause: source }
}

/// Writes `content` to a temporary file in the same folder, then renames it to `path`; creates missing folders. The umask
/// limits the mode of the file.
///
/// # Errors
/// The error of the file system; [`Refused::Link`] if the file is in a run and one of the run's folders is a link.
pub(crate) fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if let Some(link) = linked_folder(folder) {
        return Err(io_error_at(link)(Refused::Link.into()));
    }
    fs::create_dir_all(folder).map_err(io_error_at(folder))?;
    let mode: fs::Permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    let temporary = tempfile::Builder::new().permissions(mode).tempfile_in(folder);
    let mut file = temporary.map_err(io_error_at(path))?;
    file.write_all(content).map_err(io_error_at(path))?;
    file.persist(path).map_err(|error| io_error_at(path)(error.error))?;
    Ok(())
}

/// The link among `folder` and its parents up to a run folder, which is not one of them; `None` without a link, and
/// outside of runs.
fn linked_folder(folder: &Path) -> Option<&Path> {
    const DEEPEST: usize = 3;
    let run = folder.ancestors().take(DEEPEST).position(|folder| folder.join(PLAN).exists())?;
    folder.ancestors().take(run).find(|folder| folder.is_symlink())
}
