//! Safetensors files of f32 tensors, in which networks are saved and exchanged.

use crate::{Error, Result, file};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;

/// A tensor with its name.
pub(super) struct Named {
    pub name: String,
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

impl Named {
    pub fn new(name: String, shape: &[usize], values: Vec<f32>) -> Self {
        Self { name, shape: shape.to_vec(), values }
    }
}

/// Returns the bytes of a file that holds the tensors. Equal tensors and metadata give identical
/// bytes.
pub(super) fn bytes(tensors: &[Named], metadata: &[(&str, String)]) -> Result<Vec<u8>> {
    let failed = |error: safetensors::SafeTensorError| Error::invalid(error.to_string());
    let mut views = Vec::new();
    for Named { name, shape, values } in tensors {
        let view = TensorView::new(Dtype::F32, shape.clone(), bytemuck::cast_slice(values))
            .map_err(failed)?;
        views.push((name.as_str(), view));
    }
    let metadata: HashMap<String, String> =
        metadata.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    let mut bytes = safetensors::serialize(views, (!metadata.is_empty()).then_some(metadata))
        .map_err(failed)?;
    sort_header(&mut bytes);
    Ok(bytes)
}

/// Sorts the header's keys. They come out of a hash map, and equal networks should give identical
/// files.
fn sort_header(bytes: &mut [u8]) {
    let Some((length, rest)) = bytes.split_first_chunk_mut::<8>() else { return };
    let Ok(length) = usize::try_from(u64::from_le_bytes(*length)) else { return };
    let Some(header) = rest.get_mut(..length) else { return };
    // serde_json sorts the keys of an object, and the same text in another order has the same
    // length.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(header) else { return };
    let mut sorted = value.to_string().into_bytes();
    if sorted.len() <= header.len() {
        sorted.resize(header.len(), b' ');
        header.copy_from_slice(&sorted);
    }
}

/// Contents of a file; its errors name the file.
pub(super) struct Container<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
    metadata: HashMap<String, String>,
}

impl<'a> Container<'a> {
    /// Parses the bytes of the file at `path`.
    pub fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self> {
        let refuse = |error| file::refused(path.display(), format!("no safetensors file: {error}"));
        let tensors = SafeTensors::deserialize(bytes).map_err(refuse)?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(refuse)?;
        Ok(Self { path, tensors, metadata: header.metadata().clone().unwrap_or_default() })
    }

    /// Returns an error that names the file.
    pub fn bad(&self, what: impl Into<String>) -> Error {
        file::refused(self.path.display(), what)
    }

    /// Returns a string of the metadata.
    pub fn field(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Returns the names of all tensors, in no particular order.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    /// Returns the shape of the tensor with this name; `None` if there is none.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    /// Returns the values of a tensor, which must be F32 and have this shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|error| self.bad(format!("tensor {name}: {error}")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(self.bad(format!(
                "tensor {name} is {:?} {:?}, expected F32 {shape:?}",
                view.dtype(),
                view.shape()
            )));
        }
        Ok(bytemuck::pod_collect_to_vec(view.data()))
    }
}
