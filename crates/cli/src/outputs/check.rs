//! Checks of all outputs before the work that produces them.

use super::identity::Identity;
use super::{is_stdout, shown};
use crate::args::Common;
use crate::failure::Failure;
use crate::inputs::Input;
use crate::output::{self, Role};
use std::fs::{self, File};
use std::io;
use std::path::Path;
use wgpu_dropout::Error;
use wgpu_dropout::file::{self, Staged};

/// Checks the outputs of a command, each with its argument, and chooses where text is printed.
///
/// Refuses two outputs that are one file, an output that would replace a file in `inputs`, two
/// inputs from stdin, an output to stdout beside `--json`, and a file that cannot be written.
/// Leaves nothing behind.
pub fn check<'a>(
    common: &Common,
    outputs: impl IntoIterator<Item = (&'static str, &'a Path)>,
    inputs: &[Input],
) -> Result<(), Failure> {
    let outputs: Vec<(&str, &Path)> = outputs.into_iter().collect();
    let inputs: Vec<(&Input, Identity)> = inputs
        .iter()
        .flat_map(|input| input.paths.iter().map(move |path| (input, Identity::of_input(path))))
        .collect();

    let mut from_stdin = inputs.iter().filter(|(_, identity)| *identity == Identity::Stdin);
    if let (Some((one, _)), Some((other, _))) = (from_stdin.next(), from_stdin.next()) {
        let what = format!("{} and {} both read stdin: name a file", one.flag, other.flag);
        return Err(Failure::Usage(what));
    }
    let mut seen: Vec<(&str, Identity)> = Vec::new();
    for &(flag, path) in &outputs {
        let Some(identity) = Identity::of_output(path) else { continue };
        let name = shown(path);
        if identity == Identity::Stdout && common.json {
            let what = format!("{flag} {} is stdout, which --json takes", path.display());
            return Err(Failure::Usage(format!("{what}: name a file")));
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == identity) {
            return Err(Failure::Usage(format!("{other} and {flag} both name {name}")));
        }
        let read = inputs.iter().find(|(input, read)| {
            *read == identity && !file::is_stream(path) && input.replaced_by != Some(flag)
        });
        if let Some((input, _)) = read {
            let what = format!("{flag} {name} would replace the file that {} reads", input.flag);
            return Err(Failure::Usage(format!("{what}: name another")));
        }
        seen.push((flag, identity));
    }
    outputs.iter().try_for_each(|(_, path)| writable(path))?;

    if seen.iter().any(|(_, identity)| *identity == Identity::Stdout) {
        output::set(Role::Data);
    } else if !outputs.is_empty() {
        output::set(Role::BesideFiles);
    }
    Ok(())
}

/// Returns an error if an output cannot be written.
fn writable(path: &Path) -> Result<(), Failure> {
    let refuse = |what: String| Err(Failure::Run(format!("{}: {what}", path.display())));
    // A device or a pipe is opened only once, to write it.
    if is_stdout(path) || file::is_stream(path) {
        return Ok(());
    }
    match fs::metadata(path) {
        Ok(old) if old.is_dir() => {
            return refuse("is a folder, expected the name of a file".to_owned());
        }
        // The rename would not need the permission to write the old file. Its owner denied it.
        Ok(_) => {
            if let Err(error) = File::options().write(true).open(path) {
                return refuse(format!("cannot be written: {}", error.kind()));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return refuse(error.to_string()),
    }
    if path.as_os_str().as_encoded_bytes().ends_with(b"/") || path.file_name().is_none() {
        return refuse("is the name of a folder, expected that of a file".to_owned());
    }
    let target = file::target(path);
    let folder =
        target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return refuse(format!("there is no folder {}; make it first", folder.display()));
    }
    // The most certain check is to write a file there.
    match Staged::write(path, |_| Ok(())) {
        Err(Error::File { what, .. }) => {
            refuse(format!("cannot write in the folder {}: {what}", folder.display()))
        }
        written => Ok(written.map(drop)?),
    }
}

#[cfg(test)]
mod tests {
    use super::writable;

    #[test]
    fn a_file_in_a_folder_that_is_there_can_be_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert!(writable(&path("new")).is_ok());
        std::fs::write(path("old"), "kept").unwrap();
        assert!(writable(&path("old")).is_ok());
        let (long, longer) = ("n".repeat(255), "n".repeat(256));
        assert!(writable(&path(&long)).is_ok());
        for bad in ["none/new", "old/new", "old/", "new/", ".", "..", "new/..", &longer] {
            assert!(writable(&path(bad)).is_err(), "{bad}");
        }
        assert_eq!(std::fs::read(path("old")).unwrap(), b"kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
