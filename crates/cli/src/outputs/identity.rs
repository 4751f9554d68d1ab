//! Identity of files: equal for all names of one file.

use crate::inputs::DASH;
use std::path::{Path, PathBuf};
use wgpu_dropout::file;

/// File or stream behind a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// The process's stdin, unless that is an ordinary file.
    Stdin,
    /// The process's stdout.
    Stdout,
    /// A file that exists: its device and its number there.
    #[cfg(unix)]
    There(u64, u64),
    /// A file that does not exist yet, or one without a number: its absolute path.
    Path(PathBuf),
}

impl Identity {
    /// Returns the identity of an output; `None` for `/dev/null`, in which all outputs fit.
    pub fn of_output(path: &Path) -> Option<Self> {
        if path == Path::new(DASH) {
            return Some(Self::Stdout);
        }
        match there(path) {
            Some(there) if Some(&there) == null().as_ref() => None,
            Some(there) if Some(&there) == stdout().as_ref() => Some(Self::Stdout),
            Some(there) => Some(there),
            None => Some(Self::Path(absolute(path))),
        }
    }

    /// Returns the identity of an input.
    pub fn of_input(path: &Path) -> Self {
        if path == Path::new(DASH) {
            return Self::Stdin;
        }
        match there(path) {
            Some(there) if file::is_stream(path) && Some(&there) == stdin().as_ref() => Self::Stdin,
            Some(there) => there,
            None => Self::Path(absolute(path)),
        }
    }
}

/// Returns the path of a file without the links that lead to it.
fn absolute(path: &Path) -> PathBuf {
    let target = file::target(path);
    let target = std::path::absolute(&target).unwrap_or(target);
    match (target.parent().map(std::fs::canonicalize), target.file_name()) {
        (Some(Ok(folder)), Some(name)) => folder.join(name),
        _ => target,
    }
}

#[cfg(unix)]
use unix::{null, stdin, stdout, there};

#[cfg(unix)]
mod unix {
    use super::{Identity, Path};
    use std::fs::{File, Metadata};
    use std::io;
    use std::os::fd::AsFd;
    use std::os::unix::fs::MetadataExt;

    fn identity(file: &Metadata) -> Identity {
        Identity::There(file.dev(), file.ino())
    }

    pub fn there(path: &Path) -> Option<Identity> {
        std::fs::metadata(path).ok().as_ref().map(identity)
    }

    pub fn null() -> Option<Identity> {
        there(Path::new("/dev/null"))
    }

    pub fn stdin() -> Option<Identity> {
        stream(&io::stdin())
    }

    pub fn stdout() -> Option<Identity> {
        stream(&io::stdout())
    }

    fn stream(stream: &impl AsFd) -> Option<Identity> {
        let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
        file.metadata().ok().as_ref().map(identity)
    }
}

#[cfg(not(unix))]
use other::{null, stdin, stdout, there};

/// Other systems do not tell a file's number, nor the file behind a stream.
#[cfg(not(unix))]
mod other {
    use super::{Identity, Path};

    pub fn there(path: &Path) -> Option<Identity> {
        std::fs::canonicalize(path).ok().map(Identity::Path)
    }

    pub fn null() -> Option<Identity> {
        None
    }

    pub fn stdin() -> Option<Identity> {
        None
    }

    pub fn stdout() -> Option<Identity> {
        None
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn all_names_of_a_file_have_one_identity() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let path = |name: &str| folder.join(name);
        std::fs::create_dir(path("inner")).unwrap();
        symlink("inner", path("other")).unwrap();
        for there in [false, true] {
            if there {
                std::fs::write(path("inner/a"), "").unwrap();
                std::fs::hard_link(path("inner/a"), path("hard")).unwrap();
            }
            symlink("inner/a", path(&format!("link {there}"))).unwrap();
            let names = ["inner/a", "other/a", "inner/../other/a", &format!("link {there}")];
            let links = there.then_some("hard");
            let identities: Vec<_> = names
                .into_iter()
                .chain(links)
                .map(|name| Identity::of_output(&path(name)).unwrap())
                .collect();
            assert!(identities.windows(2).all(|pair| pair[0] == pair[1]), "{identities:?}");
            assert_ne!(Some(&identities[0]), Identity::of_output(&path("inner/b")).as_ref());
        }
    }

    #[test]
    fn outputs_into_nothing_have_no_identity() {
        assert_eq!(Identity::of_output(Path::new("/dev/null")), None);
        assert!(Identity::of_output(Path::new("/dev/zero")).is_some());
    }

    #[test]
    fn a_dash_is_stdin_or_stdout() {
        assert_eq!(Identity::of_output(Path::new("-")), Some(Identity::Stdout));
        assert_eq!(Identity::of_input(Path::new("-")), Identity::Stdin);
        assert_ne!(Identity::of_output(Path::new("./-")), Some(Identity::Stdout));
    }
}
