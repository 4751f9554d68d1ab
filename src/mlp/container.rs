//! Safetensors files, in which networks are saved and exchanged.

use crate::{Error, Result, file};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

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

    /// Returns the error for layers in no known order.
    pub fn unordered(&self, what: String, names: String) -> Error {
        Error::Order { path: self.path.display().to_string(), what, names }
    }

    /// Returns a string of the metadata.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Parses a string of the metadata; `None` if it is absent.
    pub fn field<T: FromStr>(&self, key: &str) -> Result<Option<T>> {
        let read = |text: &str| {
            text.parse()
                .map_err(|_| self.bad(format!("metadata `{key}` is `{text}`: not a valid value")))
        };
        self.text(key).map(read).transpose()
    }

    /// Parses a string of the metadata, which must be there.
    pub fn needed<T: FromStr>(&self, key: &str) -> Result<T> {
        self.field(key)?
            .ok_or_else(|| self.bad(format!("no metadata `{key}`: not saved by wgpu-dropout")))
    }

    /// Returns the names of all tensors, in no particular order.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.names()
    }

    /// Returns the shape of the tensor with this name; `None` if there is none.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.tensor(name).ok().map(|view| view.shape().to_vec())
    }

    /// Returns the name of a tensor's type; `None` if there is no such tensor.
    pub fn dtype(&self, name: &str) -> Option<String> {
        self.tensors.tensor(name).ok().map(|view| view.dtype().to_string())
    }

    /// Returns the values of a tensor, which must be F32 and have this shape.
    pub fn values(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.read(name, shape, &[Dtype::F32])
    }

    /// Returns the values of a tensor of floats, which must have this shape. F16 and BF16 are
    /// widened, F64 is rounded.
    pub fn converted(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        self.read(name, shape, &[Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64])
    }

    fn read(&self, name: &str, shape: &[usize], types: &[Dtype]) -> Result<Vec<f32>> {
        let view = self
            .tensors
            .tensor(name)
            .map_err(|error| self.bad(format!("tensor {name}: {error}")))?;
        let (dtype, found) = (view.dtype(), view.shape());
        let readable = types.contains(&dtype);
        if !readable || found != shape {
            let types = if readable { &[dtype] } else { types };
            let types = types.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let what = format!("tensor {name} is {dtype} {found:?}, expected {types} {shape:?}");
            return Err(self.bad(what));
        }
        let data = view.data();
        Ok(match dtype {
            Dtype::F16 => each(data, |bytes| half::f16::from_le_bytes(bytes).to_f32()),
            Dtype::BF16 => each(data, |bytes| half::bf16::from_le_bytes(bytes).to_f32()),
            Dtype::F64 => each(data, |bytes| f64::from_le_bytes(bytes) as f32),
            _ => bytemuck::pod_collect_to_vec(data),
        })
    }
}

/// Returns the values of elements of `N` bytes.
fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.chunks_exact(N).filter_map(<[u8]>::first_chunk).map(|bytes| value(*bytes)).collect()
}
