//! File access: reads with errors that name the file, and atomic replacement.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use crate::{Error, Result};
use fs4::FileExt;
use tempfile::NamedTempFile;

/// Suffix of temporary files.
const TEMPORARY: &str = ".wgpu-dropout.tmp";

/// Opens a file for reading.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|e| failed(path, &e))
}

/// Reads a whole file.
///
/// # Errors
/// [`Error::File`] if the system refuses.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| failed(path, &e))
}

/// Replaces or creates a file with the bytes that `write` writes.
///
/// The bytes go to a temporary file in the same folder, which is synced to the disk and renamed at
/// the end: a reader sees either the old contents or the new ones. A process that is killed in
/// between leaves its temporary file, which the next write to that folder removes. A symbolic link
/// is followed. Anything but an ordinary file, such as `/dev/stdout`, is written directly.
///
/// # Errors
/// [`Error::File`] if `write` or the system fails; the old file is then unchanged, and no temporary
/// file is left.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    replace(path, write).map_err(|e| failed(path, &e))
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let old = fs::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        return buffered(&File::options().write(true).open(path)?, write);
    }
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder =
        target.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));

    sweep(folder);
    let file = temporary(folder)?;
    buffered(file.as_file(), write)?;
    #[cfg(unix)]
    if let Some(old) = old {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    // Closed at once: on Windows nobody else can read a locked file.
    drop(file.persist(&target).map_err(|e| e.error)?);

    // The new name is on the disk only once its folder is. Some file systems cannot sync a folder;
    // the file is complete all the same.
    #[cfg(unix)]
    let _ = File::open(folder).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Creates a temporary file with a lock, which tells other processes' sweeps that its process is
/// alive.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(TEMPORARY);
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

/// Reads `most` bytes, or fewer if the input ends. Memory grows with the bytes that arrive, never
/// with a size that a header claims.
///
/// # Errors
/// Those of the input.
pub fn take(input: &mut dyn Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Returns the error for a system failure on a file.
pub fn failed(path: &Path, error: &io::Error) -> Error {
    Error::File { path: path.display().to_string(), what: error.to_string() }
}

/// Returns the error for a file, or a place in it, whose contents cannot be used.
pub fn refused(place: impl Display, what: impl Into<String>) -> Error {
    Error::Data { path: place.to_string(), what: what.into() }
}

/// Returns a piece of a file's text as an error quotes it: on one line, and truncated.
pub fn shown(text: &str) -> String {
    let mut chars = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut short: String = chars.by_ref().take(80).collect();
    short.extend(chars.next().map(|_| '…'));
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replaces_a_file_and_leaves_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        for text in ["first", "2nd"] {
            write_atomic(&path, |out| out.write_all(text.as_bytes())).unwrap();
            assert_eq!(read(&path).unwrap(), text.as_bytes());
            assert_eq!(names(folder.path()), ["a"]);
        }
    }

    #[test]
    fn keeps_the_old_file_where_writing_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "old").unwrap();
        let failure = write_atomic(&path, |out| {
            out.write_all(&[0; 100_000])?;
            Err(io::Error::other("no more"))
        });
        assert_eq!(failure.unwrap_err().to_string(), format!("{}: no more", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn sweeps_what_killed_processes_left_and_nothing_that_is_being_written() {
        let folder = tempfile::tempdir().unwrap();
        let [a, b] = ["a", "b"].map(|name| folder.path().join(name));
        let others = [".b.tmp", "wgpu-dropout.tmp"];
        others.iter().for_each(|name| fs::write(folder.path().join(name), "another's").unwrap());
        let left = format!(".abc{TEMPORARY}");
        fs::write(folder.path().join(&left), "cut short").unwrap();
        write_atomic(&a, |out| {
            let mut mine = names(folder.path());
            assert!(
                !mine.contains(&left) && mine.iter().any(|name| name.ends_with(TEMPORARY)),
                "{mine:?}"
            );
            out.write_all(b"first, ")?;
            // Another writer in the same folder.
            write_atomic(&b, |out| out.write_all(b"b")).unwrap();
            mine.push("b".to_owned());
            mine.sort();
            assert_eq!(names(folder.path()), mine);
            out.write_all(b"second")
        })
        .unwrap();
        assert_eq!(names(folder.path()), [others[0], "a", "b", others[1]]);
        assert_eq!(read(&a).unwrap(), b"first, second");
    }

    #[test]
    fn names_the_file_that_cannot_be_opened_or_written() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().join("none/a"), folder.path().to_owned()] {
            let start = format!("{}: ", path.display());
            let (written, read) =
                (write_atomic(&path, |_| Ok(())).unwrap_err(), read(&path).unwrap_err());
            assert!(
                matches!(&written, Error::File { .. }) && written.to_string().starts_with(&start),
                "{written}"
            );
            assert!(
                matches!(&read, Error::File { .. }) && read.to_string().starts_with(&start),
                "{read}"
            );
        }
        assert!(names(folder.path()).is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn has_the_permissions_of_an_ordinary_file_or_of_the_one_replaced() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (ordinary, ours) = (folder.path().join("ordinary"), folder.path().join("ours"));
        fs::write(&ordinary, "").unwrap();
        write_atomic(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), mode(&ordinary));
        fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
        write_atomic(&ours, |_| Ok(())).unwrap();
        assert_eq!(mode(&ours), 0o640);
    }

    #[cfg(unix)]
    #[test]
    fn follows_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("a"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write_atomic(&link, |out| out.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[cfg(unix)]
    #[test]
    fn writes_into_a_pipe() {
        use std::os::fd::AsRawFd;
        let (mut reader, writer) = io::pipe().unwrap();
        let path = format!("/dev/fd/{}", writer.as_raw_fd());
        write_atomic(Path::new(&path), |out| out.write_all(b"through")).unwrap();
        drop(writer);
        assert_eq!(take(&mut reader, 100).unwrap(), b"through");
    }
}
