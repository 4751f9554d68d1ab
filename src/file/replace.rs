//! Atomic replacement of files, alone or several together.
//!
//! New contents are [staged](Staged): written to a temporary file in the folder of the file that
//! they replace, and synced to the disk. [`replace`] then renames the temporary files. At every
//! moment, each file is whole, the old one or the new one.
//!
//! A process that is killed in between leaves its temporary files, which the next write to that
//! folder removes.

use super::failed;
use crate::Result;
use fs4::FileExt;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::{Builder, NamedTempFile};

/// Suffix of temporary files. Their names have the same length for all targets.
const TEMPORARY: &str = ".wgpu-dropout.tmp";
/// Number of symbolic links that are followed, as on Linux.
const LINKS: usize = 40;

/// Replaces or creates a file with the bytes that `write` writes.
///
/// A reader sees either the old contents or the new ones. A symbolic link's target is replaced, not
/// the link. Anything but an ordinary file, such as `/dev/stdout`, is written directly.
///
/// # Errors
/// [`Error::File`](crate::Error::File) if `write` or the system fails; the old file is then
/// unchanged, and no temporary file is left.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    if is_stream(path) {
        let file = File::options().write(true).open(path);
        return file.and_then(|file| buffered(&file, write)).map_err(|e| failed(path, &e));
    }
    replace(vec![Staged::write(path, write)?])
}

/// Returns true if the path leads to a device, a pipe or a socket, which has no contents to
/// replace.
pub fn is_stream(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir())
}

/// Returns the path at the end of the symbolic links that `path` leads through, also if no file is
/// there yet.
pub fn target(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else { break };
        target = folder_of(&target).join(next);
    }
    target
}

/// Returns the folder that contains a path.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."))
}

/// New contents of a file, complete on the disk but not yet in the file's place. Dropping them
/// removes them.
#[derive(Debug)]
pub struct Staged {
    /// Path as the caller wrote it, for errors.
    path: PathBuf,
    target: PathBuf,
    file: NamedTempFile,
}

impl Staged {
    /// Writes the bytes that `write` writes to a temporary file, and syncs it.
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) if `write` or the system fails; no temporary file is
    /// then left.
    pub fn write(
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<Self> {
        Self::write_beside(path, write).map_err(|e| failed(path, &e))
    }

    fn write_beside(
        path: &Path,
        write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<Self> {
        let old = match fs::metadata(path) {
            Ok(old) if old.is_dir() => return Err(io::ErrorKind::IsADirectory.into()),
            Ok(old) => Some(old),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let target = target(path);
        let folder = folder_of(&target);
        sweep(folder);
        let file = temporary(folder)?;
        buffered(file.as_file(), write)?;
        #[cfg(unix)]
        if let Some(old) = old {
            file.as_file().set_permissions(old.permissions())?;
        }
        #[cfg(not(unix))]
        drop(old);
        file.as_file().sync_all()?;
        Ok(Self { path: path.to_owned(), target, file })
    }

    /// Gives the old file a second name, from which it can be put back; `None` if there is no old
    /// file.
    fn old(&self) -> io::Result<Option<Old>> {
        let folder = folder_of(&self.target);
        let linked = builder().make_in(folder, |name| {
            fs::hard_link(&self.target, name)?;
            // All processes that are about to replace this file share the lock. If another program
            // holds it alone, no sweep gets it either.
            let file = File::options().write(true).open(name).ok();
            Ok(file.filter(|file| FileExt::try_lock_shared(file).is_ok()))
        });
        match linked {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // Some file systems have no hard links.
            Err(_) => self.copy_of_old(folder).map(Some),
            linked => linked.map(Some),
        }
    }

    fn copy_of_old(&self, folder: &Path) -> io::Result<Old> {
        let mut old = File::open(&self.target)?;
        let mut copy = temporary(folder)?;
        io::copy(&mut old, &mut copy)?;
        #[cfg(unix)]
        copy.as_file().set_permissions(old.metadata()?.permissions())?;
        copy.as_file().sync_all()?;
        let (file, path) = copy.into_parts();
        Ok(NamedTempFile::from_parts(Some(file), path))
    }
}

/// An old file under a temporary name, with its lock. Dropping it removes the name.
type Old = NamedTempFile<Option<File>>;

/// Puts all new files in their places, in the given order. A process that is killed in between
/// leaves some files new and the others old.
///
/// # Errors
/// [`Error::File`](crate::Error::File) if the system refuses one of them. The old files are then
/// back in their places, and files that were not there before are gone.
pub fn replace(staged: Vec<Staged>) -> Result<()> {
    // Nothing follows the last file that could fail, so its old file is not kept.
    let kept = staged.len().saturating_sub(1);
    let mut olds = Vec::new();
    for new in staged.iter().take(kept) {
        olds.push(new.old().map_err(|e| failed(&new.path, &e))?);
    }
    olds.resize_with(staged.len(), || None);

    let mut done: Vec<(PathBuf, Option<Old>)> = Vec::new();
    for (Staged { path, target, file }, old) in staged.into_iter().zip(olds) {
        if let Err(error) = file.persist(&target) {
            let mut what = error.error.to_string();
            // Removes the temporary file, so that the folder is as it was.
            drop(error);
            for (target, old) in done.into_iter().rev() {
                if let Err(also) = put_back(&target, old) {
                    what += &format!("; {}: {also}", target.display());
                }
            }
            return Err(failed(&path, &io::Error::other(what)));
        }
        done.push((target, old));
    }

    // A new name is on the disk only once its folder is. Some file systems cannot sync a folder;
    // the files are complete all the same.
    #[cfg(unix)]
    for folder in
        done.iter().map(|(target, _)| folder_of(target)).collect::<std::collections::BTreeSet<_>>()
    {
        let _ = File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// Puts back the old file, or removes the new one if there was none. If that fails, the old file
/// keeps its temporary name, which the error states.
fn put_back(target: &Path, old: Option<Old>) -> io::Result<()> {
    let Some(old) = old else { return fs::remove_file(target) };
    let Err(refused) = old.persist(target) else { return Ok(()) };
    let (error, name) = (refused.error, refused.file.path().to_owned());
    // Keeping a name cannot fail except on Windows.
    let _ = refused.file.keep();
    Err(io::Error::other(format!("cannot be put back ({error}): it is {}", name.display())))
}

fn builder() -> Builder<'static, 'static> {
    let mut builder = Builder::new();
    builder.prefix(".").suffix(TEMPORARY);
    builder
}

/// Creates a temporary file with a lock, which tells other processes' sweeps that its process is
/// alive.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = builder();
    // A temporary file is private by default; this one must get the permissions of any new file.
    #[cfg(unix)]
    builder.permissions(<fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o666));
    loop {
        let file = builder.tempfile_in(folder)?;
        // On a file system without locks, sweeps cannot lock the file either, and then they remove
        // nothing.
        let _ = FileExt::lock(file.as_file());
        // Before it was locked, the file may have been swept as a leftover of a dead process.
        if file.path().exists() {
            return Ok(file);
        }
    }
}

/// Removes the temporary files of dead processes: those without a lock. Files that cannot be
/// removed stay.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let ours = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with('.') && name.ends_with(TEMPORARY));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let path = entry.path();
        if let Ok(file) = File::options().write(true).open(&path) {
            if FileExt::try_lock(&file).is_ok() {
                let _ = fs::remove_file(&path);
            }
        }
    }
}

fn buffered(file: &File, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    write(&mut out)?;
    out.flush()
}

#[cfg(test)]
mod tests;
