//! Removes folders that a VM has filled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// Removes the content of `folder`, of any depth, and the folder itself. It follows no link and stays on one file
/// system.
///
/// The recursion of `std::fs::remove_dir_all` overflows the stack of a thread if a guest nests 20,000 folders. This
/// function moves each nested folder up into `folder` before it removes the parent, so it needs neither recursion nor
/// more than two descriptors. It takes time proportional to the number of files.
///
/// # Errors
/// The first error of the file system. A folder that does not exist is no error.
pub fn remove_tree(folder: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match fs::openat(CWD, folder, flags, Mode::empty()) {
        Ok(top) => top,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut moved = 0_u64;
    loop {
        let nested = remove_files(&top, &top, &mut moved)?;
        if nested.is_empty() {
            break;
        }
        for name in nested {
            // A folder without permissions for its owner.
            let is_folder = fs::statat(&top, &name, AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|data| FileType::from_raw_mode(data.st_mode) == FileType::Directory);
            if is_folder {
                let _ = fs::chmodat(&top, &name, Mode::RWXU, AtFlags::empty());
            }
            let child = fs::openat(&top, &name, flags, Mode::empty())?;
            remove_files(&child, &top, &mut moved)?;
            drop(child);
            fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
        }
    }
    std::fs::remove_dir(folder)
}

/// Removes the files of `folder`. Its folders are moved into `top`, unless `folder` is `top`; then their names are
/// returned.
fn remove_files(folder: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> io::Result<Vec<std::ffi::CString>> {
    let is_top = std::ptr::eq(folder, top);
    let mut nested = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if [c".", c".."].contains(&name) {
            continue;
        }
        match fs::unlinkat(folder, name, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::ISDIR | Errno::PERM) if is_top => nested.push(name.to_owned()),
            Err(Errno::ISDIR | Errno::PERM) => {
                // A file of the VM can have the name already.
                let renamed = loop {
                    *moved += 1;
                    let target = format!(".moved-{moved}");
                    match fs::renameat_with(folder, name, top, target.as_str(), fs::RenameFlags::NOREPLACE) {
                        Err(Errno::EXIST) => {}
                        other => break other,
                    }
                };
                renamed?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(nested)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn deep_folders_and_links_are_removed_and_targets_kept() {
        let place = tempfile::tempdir().unwrap();
        let (tree, kept) = (place.path().join("tree"), place.path().join("kept"));
        std::fs::create_dir_all(tree.join("a/b/c")).unwrap();
        std::fs::write(tree.join("a/b/file"), "x").unwrap();
        std::fs::write(&kept, "kept").unwrap();
        symlink(&kept, tree.join("a/link")).unwrap();
        symlink(place.path(), tree.join("folder-link")).unwrap();
        // Deeper than a path can be, and than a recursion on the stack of a thread.
        let mut at = fs::openat(CWD, &tree, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..20_000 {
            fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            at = fs::openat(&at, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(at);
        std::thread::Builder::new()
            .stack_size(128 << 10)
            .spawn(move || remove_tree(&tree))
            .unwrap()
            .join()
            .unwrap()
            .unwrap();
        assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        remove_tree(&place.path().join("missing")).unwrap();
    }
}
