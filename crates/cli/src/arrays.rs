//! Arrays in files: read before anything runs and written after everything has succeeded.

use crate::failure::Failure;
use crate::npy::{self, Array};
use std::path::{Path, PathBuf};

/// Formats a shape as NumPy prints it.
pub fn show(shape: &[usize]) -> String {
    match shape {
        [one] => format!("({one},)"),
        _ => format!("({})", shape.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Reads an array and checks that it has the shape that `of` has.
pub fn read_shaped(path: &Path, shape: &[usize], of: &str) -> Result<Array, Failure> {
    let array = npy::read(path)?;
    if array.shape == shape {
        return Ok(array);
    }
    let (path, found, wanted) = (path.display(), show(&array.shape), show(shape));
    Err(Failure::Run(format!("{path}: shape {found}, expected {wanted}, that of {of}")))
}

/// Contents of an output file.
#[derive(Debug)]
pub enum Values {
    /// Floats.
    Floats(Vec<f32>),
    /// A mask of bytes 0 and 1.
    Mask(Vec<u8>),
}

/// Results to be written to files. They are all computed first and then written together, so that
/// a failed run leaves no file behind.
#[derive(Debug, Default)]
pub struct Outputs<'a> {
    pending: Vec<(&'a Path, Vec<usize>, Values)>,
}

impl<'a> Outputs<'a> {
    /// Adds a result.
    pub fn add(&mut self, path: &'a Path, shape: &[usize], values: Values) {
        self.pending.push((path, shape.to_vec(), values));
    }

    /// Writes all results and returns the names of their files. If one fails, removes the others.
    pub fn write(self) -> Result<String, Failure> {
        for (done, (path, shape, values)) in self.pending.iter().enumerate() {
            let written = match values {
                Values::Floats(values) => npy::write_f32(path, shape, values),
                Values::Mask(values) => npy::write_u8(path, shape, values),
            };
            if let Err(error) = written {
                self.pending[..done].iter().filter(|(path, ..)| path.is_file()).for_each(
                    |(path, ..)| {
                        // The first error is the one to report.
                        let _ = std::fs::remove_file(path);
                    },
                );
                return Err(error.into());
            }
        }
        Ok(self
            .pending
            .iter()
            .map(|(path, ..)| path.display().to_string())
            .collect::<Vec<_>>()
            .join(", "))
    }
}

/// Refuses two outputs to the same file, and a command without outputs.
pub fn check_outputs(outputs: &[(&str, &Option<PathBuf>)]) -> Result<(), Failure> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for (flag, path) in outputs {
        let Some(path) = path else { continue };
        // A path that cannot be resolved is compared verbatim.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == path) {
            return Err(Failure::usage(format!("{other} and {flag} both name {}", path.display())));
        }
        seen.push((flag, path));
    }
    if seen.is_empty() {
        Err(Failure::usage(format!(
            "nothing to write: {} is needed",
            outputs.first().map_or("an output", |(flag, _)| flag)
        )))
    } else {
        Ok(())
    }
}
