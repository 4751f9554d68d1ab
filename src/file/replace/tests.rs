use super::*;
use crate::Error;
use crate::file::read;

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
    assert_eq!(crate::file::take(&mut reader, 100).unwrap(), b"through");
}

/// Stages files of these names and texts.
fn staged(folder: &Path, files: &[(&str, &str)]) -> Vec<Staged> {
    let stage = |&(name, text): &(&str, &str)| {
        Staged::write(&folder.join(name), |out| out.write_all(text.as_bytes())).unwrap()
    };
    files.iter().map(stage).collect()
}

/// Returns the names in a folder, each with the file's contents; a folder has none.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let of = |name: String| (name.clone(), fs::read(folder.join(name)).unwrap_or_default());
    names(folder).into_iter().map(of).collect()
}

#[test]
fn several_files_change_together() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("a"), "old").unwrap();
    fs::write(folder.join("c"), "old").unwrap();
    let new = staged(folder, &[("a", "1"), ("b", "2"), ("c", "3")]);
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"old", "nothing changes before the end");
    replace(new).unwrap();
    let expected = [("a", "1"), ("b", "2"), ("c", "3")];
    assert_eq!(contents(folder), expected.map(|(a, b)| (a.to_owned(), b.as_bytes().to_vec())));
}

/// A folder appears in the place of each file in turn, so that its rename fails. The control is
/// that without the folder all change.
#[test]
fn a_rename_that_fails_puts_back_what_was_there() {
    let files = ["a", "b", "c", "d"].map(|name| (name, "new"));
    for old in 0..1 << files.len() {
        for (fails, (stands_in_the_way, _)) in files.iter().enumerate() {
            let folder = tempfile::tempdir().unwrap();
            let folder = folder.path();
            for (index, (name, _)) in files.iter().enumerate() {
                if old >> index & 1 == 1 && index != fails {
                    fs::write(folder.join(name), format!("old {name}")).unwrap();
                }
            }
            let new = staged(folder, &files);
            fs::create_dir(folder.join(stands_in_the_way)).unwrap();
            fs::write(folder.join(stands_in_the_way).join("inner"), "").unwrap();
            let before: Vec<_> = contents(folder)
                .into_iter()
                .filter(|(name, _)| !name.ends_with(TEMPORARY))
                .collect();
            let error = replace(new).unwrap_err().to_string();
            assert!(error.starts_with(&folder.join(stands_in_the_way).display().to_string()));
            assert_eq!(contents(folder), before, "{stands_in_the_way}, old {old:b}");
        }
    }
}

#[test]
fn an_old_file_is_copied_where_it_cannot_be_linked() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("a"), "old").unwrap();
    let new = staged(folder, &[("a", "new")]).remove(0);
    let linked = new.old().unwrap().unwrap();
    let copied = new.copy_of_old(folder).unwrap();
    fs::write(folder.join("a"), "changed in place").unwrap();
    assert_eq!(fs::read(linked.path()).unwrap(), b"changed in place");
    assert_eq!(fs::read(copied.path()).unwrap(), b"old");
    put_back(&folder.join("a"), Some(copied)).unwrap();
    assert_eq!(fs::read(folder.join("a")).unwrap(), b"old");
}

#[test]
fn an_old_file_that_is_kept_is_not_swept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("a"), "old").unwrap();
    let new = staged(folder, &[("a", "new")]).remove(0);
    for old in [new.old().unwrap().unwrap(), new.copy_of_old(folder).unwrap()] {
        sweep(folder);
        assert_eq!(fs::read(old.path()).unwrap(), b"old");
        // Control: without its lock it is swept.
        let name = old.path().to_owned();
        let (lock, path) = old.into_parts();
        drop(lock);
        sweep(folder);
        assert!(!name.exists());
        drop(path);
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_nowhere_yet_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::create_dir(folder.join("inner")).unwrap();
    for (link, to) in [("first", "second"), ("second", "inner/a"), ("round", "round")] {
        std::os::unix::fs::symlink(to, folder.join(link)).unwrap();
    }
    write_atomic(&folder.join("first"), |out| out.write_all(b"new")).unwrap();
    assert_eq!(fs::read(folder.join("inner/a")).unwrap(), b"new");
    assert!(write_atomic(&folder.join("round"), |_| Ok(())).is_err());
    for link in ["first", "second", "round"] {
        assert!(fs::symlink_metadata(folder.join(link)).unwrap().is_symlink(), "{link}");
    }
}

#[test]
fn a_temporary_name_does_not_grow_with_the_file_s() {
    let folder = tempfile::tempdir().unwrap();
    // The longest name that most file systems take.
    let path = folder.path().join("n".repeat(255));
    for text in ["first", "second"] {
        write_atomic(&path, |out| out.write_all(text.as_bytes())).unwrap();
        assert_eq!(read(&path).unwrap(), text.as_bytes());
    }
    assert!(write_atomic(&folder.path().join("n".repeat(256)), |_| Ok(())).is_err());
    assert_eq!(names(folder.path()).len(), 1);
}
