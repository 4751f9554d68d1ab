//! What is asked of the machine, behind a trait: the decisions in `driver` and `install` are tested
//! on made-up machines.
//!
//! Paths are strings with `/`, because they are Linux paths on whatever system the tests run.

use std::process::{Command, Stdio};

/// The questions that decide whether a driver is there and how to get one.
pub trait Machine {
    /// `linux`, `macos`, `windows`, …
    fn os(&self) -> &str;
    /// The processor as Rust names it: `x86_64`, `aarch64`, …
    fn arch(&self) -> &str;
    /// An environment variable, if it is set and not empty.
    fn var(&self, name: &str) -> Option<String>;
    /// The text of a file, if it can be read.
    fn read(&self, path: &str) -> Option<String>;
    /// The names in a folder, sorted; none if it cannot be read.
    fn list(&self, folder: &str) -> Vec<String>;
    /// Whether a file or folder is there.
    fn exists(&self, path: &str) -> bool;
    /// What a command wrote to stdout, if it could be started and succeeded.
    fn output(&self, program: &str, args: &[&str]) -> Option<String>;

    /// Whether a program is on the PATH.
    fn has_program(&self, name: &str) -> bool {
        let path = self.var("PATH").unwrap_or_default();
        path.split(':').any(|folder| self.exists(&format!("{folder}/{name}")))
    }

    /// Whether a variable is switched on: set, and to neither `0` nor `false`.
    fn switched_on(&self, name: &str) -> bool {
        self.var(name).is_some_and(|value| value != "0" && value != "false")
    }
}

/// The machine that this program runs on.
pub struct This;

impl Machine for This {
    fn os(&self) -> &str {
        std::env::consts::OS
    }

    fn arch(&self) -> &str {
        std::env::consts::ARCH
    }

    fn var(&self, name: &str) -> Option<String> {
        std::env::var_os(name)
            .map(|value| value.to_string_lossy().into_owned())
            .filter(|value| !value.is_empty())
    }

    fn read(&self, path: &str) -> Option<String> {
        std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    fn exists(&self, path: &str) -> bool {
        std::path::Path::new(path).exists()
    }

    fn output(&self, program: &str, args: &[&str]) -> Option<String> {
        let output = Command::new(program).args(args).stdin(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// A made-up machine for the tests of this crate.
#[cfg(test)]
pub mod fake {
    use super::Machine;
    use std::collections::BTreeMap;

    /// Environment, files and the commands that succeed, with what they write.
    #[derive(Default)]
    pub struct Fake {
        pub os: &'static str,
        pub vars: BTreeMap<&'static str, String>,
        pub files: BTreeMap<String, String>,
        pub commands: BTreeMap<&'static str, String>,
    }

    impl Fake {
        pub fn linux() -> Self {
            Self { os: "linux", ..Self::default() }
        }

        pub fn var(mut self, name: &'static str, value: &str) -> Self {
            self.vars.insert(name, value.into());
            self
        }

        pub fn file(mut self, path: &str, text: &str) -> Self {
            self.files.insert(path.into(), text.into());
            self
        }

        pub fn command(mut self, line: &'static str, stdout: &str) -> Self {
            self.commands.insert(line, stdout.into());
            self
        }
    }

    impl Machine for Fake {
        fn os(&self) -> &str {
            self.os
        }

        fn arch(&self) -> &str {
            "x86_64"
        }

        fn var(&self, name: &str) -> Option<String> {
            self.vars.get(name).filter(|value| !value.is_empty()).cloned()
        }

        fn read(&self, path: &str) -> Option<String> {
            self.files.get(path).cloned()
        }

        fn list(&self, folder: &str) -> Vec<String> {
            let inside =
                |path: &String| path.strip_prefix(folder)?.strip_prefix('/').map(String::from);
            self.files.keys().filter_map(inside).filter(|name| !name.contains('/')).collect()
        }

        fn exists(&self, path: &str) -> bool {
            self.files.contains_key(path)
        }

        fn output(&self, program: &str, args: &[&str]) -> Option<String> {
            let line = [&[program], args].concat().join(" ");
            self.commands.get(line.as_str()).cloned()
        }
    }
}
