//! The initramfs of the emulated host: programs, libraries, firmware, kernels and images, each at the path
//! that it has on the host. It is one uncompressed cpio archive, which the kernel unpacks into RAM.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::Context;
use cpio::newc::{Builder, trailer};

/// Mount points of the init.
const FOLDERS: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/tmp", "/root"];
const FOLDER_MODE: u32 = 0o040_755;
const FILE_MODE: u32 = 0o100_755;

/// Writes an archive of `files` to `target` and returns its size, bytes. `files` maps the absolute path in
/// the archive to the file on the host; symlinks are followed.
///
/// # Errors
/// Fails if a file cannot be read, is larger than 4 GiB, or the archive cannot be written.
pub fn write(files: &BTreeMap<PathBuf, PathBuf>, target: &Path) -> anyhow::Result<u64> {
    let context = || format!("cannot write {}", target.display());
    let mut archive = BufWriter::with_capacity(1 << 20, File::create(target).with_context(context)?);
    let mut folders: BTreeSet<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
    for file in files.keys() {
        folders.extend(file.ancestors().skip(1).filter(|path| *path != Path::new("/")).map(Path::to_path_buf));
    }
    let mut inode = 1;
    let mut builder = |path: &Path, mode: u32| {
        inode += 1;
        // Names are relative to the root. All entries have the same time, so that equal inputs produce equal
        // archives.
        let name = path.strip_prefix("/").unwrap_or(path).to_string_lossy().into_owned();
        Builder::new(&name).ino(inode).mode(mode).nlink(1).mtime(1)
    };
    for folder in &folders {
        // Sorted, so that parents precede their children.
        builder(folder, FOLDER_MODE).write(&mut archive, 0).finish().with_context(context)?;
    }
    for (path, source) in files {
        let mut file = File::open(source).with_context(|| format!("cannot open {}", source.display()))?;
        let size = u32::try_from(file.metadata()?.len())
            .with_context(|| format!("{} is too large for the emulated host (at most 4 GiB)", path.display()))?;
        let mut entry = builder(path, FILE_MODE).write(&mut archive, size);
        io::copy(&mut file, &mut entry).with_context(|| format!("cannot copy {}", path.display()))?;
        entry.finish().with_context(context)?;
    }
    trailer(&mut archive).with_context(context)?;
    let file = archive.into_inner().map_err(io::IntoInnerError::into_error).with_context(context)?;
    Ok(file.metadata()?.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_precede_files_and_paths_are_kept() {
        let outside = tempfile::tempdir().unwrap();
        let file = outside.path().join("deep/file");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, "content").unwrap();
        let target = outside.path().join("archive");
        write(&BTreeMap::from([(file.clone(), file.clone())]), &target).unwrap();
        let mut names = Vec::new();
        let mut reader: Box<dyn io::Read> = Box::new(File::open(target).unwrap());
        loop {
            let entry = cpio::newc::Reader::new(reader).unwrap();
            if entry.entry().is_trailer() {
                break;
            }
            names.push(entry.entry().name().to_owned());
            reader = entry.finish().unwrap();
        }
        let name = file.strip_prefix("/").unwrap().display().to_string();
        assert_eq!(names.last(), Some(&name));
        let parent = names.iter().position(|entry| name.strip_suffix("/file") == Some(entry)).unwrap();
        assert!(parent < names.len() - 1 && names.contains(&"dev".to_owned()));
    }
}
