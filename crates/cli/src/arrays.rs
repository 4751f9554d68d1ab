//! Arrays in files: read before anything runs and written after everything has succeeded.

use crate::args::Common;
use crate::failure::Failure;
use crate::inputs::{self, Input};
use crate::npy::{self, Array};
use crate::outputs::{self, Transaction};
use std::io::{self, Write};
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
    let path = inputs::shown(path);
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
    /// A text, which is no array.
    Text(Vec<u8>),
}

impl Values {
    fn write(&self, shape: &[usize], out: &mut dyn Write) -> io::Result<()> {
        match self {
            Self::Floats(values) => npy::encode_f32(shape, values, out),
            Self::Mask(values) => npy::encode_u8(shape, values, out),
            Self::Text(text) => out.write_all(text),
        }
    }
}

/// Results to be written to files. They are all computed first and then written together, so that
/// a failed run changes no file.
#[derive(Debug, Default)]
pub struct Outputs<'a> {
    pending: Vec<(&'a Path, Vec<usize>, Values)>,
}

impl<'a> Outputs<'a> {
    /// Adds a result.
    pub fn add(&mut self, path: &'a Path, shape: &[usize], values: Values) {
        self.pending.push((path, shape.to_vec(), values));
    }

    /// Writes all results or none, and returns the names of their files.
    pub fn write(self) -> Result<String, Failure> {
        let mut outputs = Transaction::default();
        for (path, shape, values) in &self.pending {
            outputs.add(path, |out| values.write(shape, out));
        }
        outputs.write()?;
        let names: Vec<_> = self.pending.iter().map(|(path, ..)| outputs::shown(path)).collect();
        Ok(names.join(", "))
    }
}

/// Checks outputs as [`outputs::check`] does, and refuses a command without any.
pub fn check_outputs(
    common: &Common,
    outputs: &[(&'static str, &Option<PathBuf>)],
    inputs: &[Input],
) -> Result<(), Failure> {
    let given: Vec<_> =
        outputs.iter().filter_map(|(flag, path)| Some((*flag, path.as_deref()?))).collect();
    if given.is_empty() {
        return Err(Failure::usage(format!(
            "nothing to write: {} is needed",
            outputs.first().map_or("an output", |(flag, _)| flag)
        )));
    }
    outputs::check(common, given, inputs)
}
