//! Checks that a file can be written, before the work that produces its contents.

use crate::failure::Failure;
use std::ffi::OsStr;
use std::path::Path;

/// Returns an error if the file cannot be written. Leaves nothing behind.
pub fn check(path: &Path) -> Result<(), Failure> {
    let refuse = |what: String| Err(Failure::Run(format!("{}: {what}", path.display())));
    match std::fs::metadata(path) {
        Ok(old) if old.is_dir() => {
            return refuse("is a folder, expected the name of a file".to_owned());
        }
        // A device or a pipe is written directly.
        Ok(old) if !old.is_file() => return Ok(()),
        _ => {}
    }
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let folder =
        target.parent().filter(|folder| *folder != OsStr::new("")).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return refuse(format!("there is no folder {}; make it first", folder.display()));
    }
    match tempfile::tempfile_in(folder) {
        Ok(_) => Ok(()),
        Err(error) => {
            refuse(format!("cannot write in the folder {}: {}", folder.display(), error.kind()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn a_file_in_a_folder_that_is_there_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(check(&path("new")).is_ok());
        std::fs::write(path("old"), "kept").unwrap();
        assert!(check(&path("old")).is_ok());
        for bad in ["none/new", "old/new", "."] {
            assert!(check(&path(bad)).is_err(), "{bad}");
        }
        assert_eq!(std::fs::read(path("old")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
