//! Queries to the machine, behind a trait, so that the decisions in `driver` and `install` can be
//! tested on simulated machines.
//!
//! Paths are strings with `/`: they are Linux paths, whatever system the tests run on.

use std::process::{Command, Stdio};

/// Queries that decide whether a driver is installed and how to install one.
pub trait Machine {
    /// Returns the operating system: `linux`, `macos`, `windows`, …
    fn os(&self) -> &str;
    /// Returns the processor architecture as Rust names it: `x86_64`, `aarch64`, …
    fn arch(&self) -> &str;
    /// Returns an environment variable if it is set and not empty.
    fn var(&self, name: &str) -> Option<String>;
    /// Returns the text of a file if it can be read.
    fn read(&self, path: &str) -> Option<String>;
    /// Returns the sorted names in a folder; none if it cannot be read.
    fn list(&self, folder: &str) -> Vec<String>;
    /// Returns true if a file or folder exists.
    fn exists(&self, path: &str) -> bool;
    /// Returns the stdout of a command if it could be started and succeeded.
    fn output(&self, program: &str, args: &[&str]) -> Option<String>;

    /// Returns true if a program is on the PATH.
    fn has_program(&self, name: &str) -> bool {
        let path = self.var("PATH").unwrap_or_default();
        path.split(':').any(|folder| self.exists(&format!("{folder}/{name}")))
    }

    /// Returns true if a variable is set, and neither to `0` nor to `false`.
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

/// A simulated machine for the tests of this crate.
#[cfg(test)]
pub mod fake {
    use super::Machine;
    use std::collections::BTreeMap;

    /// Environment, files, and the commands that succeed with their output.
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
