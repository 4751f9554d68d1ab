//! NPY files, NumPy's format for one array: reads and writes f32 and bytes in C order.
//!
//! The header is a Python dictionary of three keys, and only that form is parsed here. A general
//! reader, such as the crate npyz, parses any Python literal, in time exponential in the depth of
//! its brackets, and multiplies the axes unchecked: a file of a hundred bytes could hang or crash
//! the program.

use std::io::{self, Read, Write};
use std::path::Path;

use crate::inputs;
use wgpu_dropout::data::Values;
use wgpu_dropout::{Result, file};

/// Bytes at the start of a file.
pub(crate) const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read, in bytes. NumPy itself stops at 10,000.
const MAX_HEADER: u64 = 65_535;

/// An array of any rank, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Array<V = Vec<f32>> {
    /// Length of each axis; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements: as many as the product of the axes.
    pub values: V,
}

impl<V> Array<V> {
    /// Returns the shape that the mask contract uses: the product of the leading axes × the last
    /// axis. A vector is one row, a scalar 1×1.
    pub fn rows_cols(&self) -> (usize, usize) {
        match self.shape.split_last() {
            Some((&cols, leading)) => {
                (leading.iter().copied().fold(1, usize::saturating_mul), cols)
            }
            None => (1, 1),
        }
    }
}

/// Reads an array of `<f4` in C order; `-` is stdin. NaN and infinity are ordinary values, and an
/// empty axis gives an empty array.
///
/// # Errors
/// [`Error::File`](wgpu_dropout::Error::File) if the file cannot be read.
/// [`Error::Data`](wgpu_dropout::Error::Data) if it holds another type or order (the message has
/// the NumPy call that converts it), or is truncated, corrupt or longer than its header claims.
pub fn read(path: &Path) -> Result<Array> {
    let mut input = inputs::open(path)?;
    let (_, Array { shape, values }) = load(&inputs::shown(path), &mut input, &[F32])?;
    Ok(Array { shape, values: floats(&values) })
}

/// Reads an array of `<f4` or of bytes, `|u1`, in C order.
///
/// # Errors
/// As [`read`].
pub fn read_values(path: &Path) -> Result<Array<Values>> {
    values_from(&inputs::shown(path), &mut inputs::open(path)?)
}

/// Reads an array as [`read_values`] does, from an input that is already open. `path` is for
/// errors.
pub(crate) fn values_from(path: &Path, input: &mut dyn Read) -> Result<Array<Values>> {
    let (dtype, Array { shape, values }) = load(path, input, &[F32, U8])?;
    let values = if dtype == U8 { Values::Bytes(values) } else { Values::Floats(floats(&values)) };
    Ok(Array { shape, values })
}

/// Reads a mask, an array of `|u1` or `|b1` in C order, each byte of which is 0 or 1.
///
/// # Errors
/// As [`read`]; [`Error::Data`](wgpu_dropout::Error::Data) for another byte.
pub fn read_mask(path: &Path) -> Result<Array<Vec<u8>>> {
    let name = inputs::shown(path);
    let (_, mask) = load(&name, &mut inputs::open(path)?, &[U8, BOOL])?;
    match mask.values.iter().position(|&byte| byte > 1) {
        Some(at) => {
            let what = format!("element {at} is {}: a mask consists of 0 and 1", mask.values[at]);
            Err(file::refused(name.display(), what))
        }
        None => Ok(mask),
    }
}

/// Type of an array's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Dtype {
    descr: &'static str,
    bytes: u64,
}

const F32: Dtype = Dtype { descr: "<f4", bytes: 4 };
const U8: Dtype = Dtype { descr: "|u1", bytes: 1 };
const BOOL: Dtype = Dtype { descr: "|b1", bytes: 1 };

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .filter_map(|four| four.first_chunk())
        .map(|four| f32::from_le_bytes(*four))
        .collect()
}

/// Reads an array of one of these types: its type and its bytes.
fn load(path: &Path, input: &mut dyn Read, types: &[Dtype]) -> Result<(Dtype, Array<Vec<u8>>)> {
    let mut take = |most: u64| file::take(input, most).map_err(|e| file::failed(path, &e));
    let refuse = |what: String| Err(file::refused(path.display(), what));

    let start = take(8)?;
    let width = match start.strip_prefix(MAGIC) {
        Some([1, 0]) => 2,
        Some([2 | 3, 0]) => 4,
        Some(&[major, minor]) => {
            return refuse(format!("NPY version {major}.{minor}: expected 1.0, 2.0 or 3.0"));
        }
        _ => {
            return refuse(
                "not an NPY file: expected the bytes \\x93NUMPY and a version at its start"
                    .to_owned(),
            );
        }
    };
    let length = take(width)?;
    if length.len() as u64 != width {
        return refuse("truncated: ends before its header".to_owned());
    }
    let length = length.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte));
    if length > MAX_HEADER {
        return refuse(format!("a header of {length} bytes: at most {MAX_HEADER}"));
    }
    let text = take(length)?;
    if text.len() as u64 != length {
        return refuse(format!(
            "truncated: ends after {} of the header's {length} bytes",
            text.len()
        ));
    }
    let text = String::from_utf8_lossy(&text);
    let Some(header) = Header::parse(&text) else {
        return refuse(format!("corrupt header `{}`", file::shown(text.trim())));
    };
    let dtype = match header.dtype(types) {
        Ok(dtype) => dtype,
        Err((found, into)) => {
            let wanted: Vec<_> = types.iter().map(|dtype| dtype.descr).collect();
            let wanted = wanted.join(" or ");
            let call = header.conversion(&path.display().to_string(), into);
            return refuse(format!(
                "holds {found}, expected {wanted} in C order; convert with {call}"
            ));
        }
    };
    let Some((shape, claim)) = sizes(&header.shape, dtype.bytes) else {
        return refuse(format!("shape {}: more than a file can hold", tuple(&header.shape)));
    };
    let bytes = take(claim.saturating_add(1))?;
    let found = bytes.len() as u64;
    if found != claim {
        let what = if found < claim {
            format!("the file holds {found}")
        } else {
            "the file goes on after them".to_owned()
        };
        return refuse(format!("shape {} needs {claim} bytes, {what}", tuple(&header.shape)));
    }
    Ok((dtype, Array { shape, values: bytes }))
}

/// Writes an array of `<f4` in C order and replaces the file atomically.
///
/// # Errors
/// [`Error::File`](wgpu_dropout::Error::File) if the number of `values` is not that of `shape`, or
/// if the system refuses.
pub fn write_f32(path: &Path, shape: &[usize], values: &[f32]) -> Result<()> {
    file::write_atomic(path, |out| encode_f32(shape, values, out))
}

/// Writes an array of bytes in C order and replaces the file atomically.
///
/// # Errors
/// As [`write_f32`].
pub fn write_u8(path: &Path, shape: &[usize], values: &[u8]) -> Result<()> {
    file::write_atomic(path, |out| encode_u8(shape, values, out))
}

/// Writes a file of `<f4` in C order to `out`.
///
/// # Errors
/// If the number of `values` is not that of `shape`; those of `out`.
pub fn encode_f32(shape: &[usize], values: &[f32], out: &mut dyn Write) -> io::Result<()> {
    begin(F32, shape, values.len(), out)?;
    values.chunks(1 << 14).try_for_each(|part| {
        let bytes: Vec<u8> = part.iter().flat_map(|value| value.to_le_bytes()).collect();
        out.write_all(&bytes)
    })
}

/// Writes a file of bytes in C order to `out`.
///
/// # Errors
/// As [`encode_f32`].
pub fn encode_u8(shape: &[usize], values: &[u8], out: &mut dyn Write) -> io::Result<()> {
    begin(U8, shape, values.len(), out)?;
    out.write_all(values)
}

/// Writes everything before the elements.
fn begin(dtype: Dtype, shape: &[usize], elements: usize, out: &mut dyn Write) -> io::Result<()> {
    let axes: Vec<u64> = shape.iter().map(|&axis| axis as u64).collect();
    if shape.iter().try_fold(1usize, |n, &axis| n.checked_mul(axis)) != Some(elements) {
        let shape = tuple(&axes);
        let what = format!("an array of shape {shape} cannot hold {elements} elements");
        return Err(io::Error::other(what));
    }
    let descr = dtype.descr;
    let header =
        format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {}, }}", tuple(&axes));
    // Spaces and a line end align the data to a multiple of 64, as the format requires.
    let length = (10 + header.len() + 1).next_multiple_of(64) - 10;
    let Ok(size) = u16::try_from(length) else {
        let what = format!("an array of {} axes: more than an NPY header can hold", shape.len());
        return Err(io::Error::other(what));
    };
    out.write_all(MAGIC)?;
    out.write_all(&[1, 0])?;
    out.write_all(&size.to_le_bytes())?;
    writeln!(out, "{header:<0$}", length - 1)
}

/// Contents of a header, with its text unchanged.
struct Header<'a> {
    descr: &'a str,
    fortran: bool,
    shape: Vec<u64>,
}

impl<'a> Header<'a> {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }`, its keys in any order.
    fn parse(text: &'a str) -> Option<Self> {
        let mut descr = None;
        let mut fortran = None;
        let mut shape = None;
        for item in items(text.trim().strip_prefix('{')?.strip_suffix('}')?) {
            let (key, value) = item.split_once(':')?;
            let value = value.trim();
            match unquoted(key.trim())? {
                "descr" => descr = Some(unquoted(value).unwrap_or(value)),
                "fortran_order" if matches!(value, "True" | "False") => {
                    fortran = Some(value == "True")
                }
                "shape" => {
                    let axes = items(value.strip_prefix('(')?.strip_suffix(')')?);
                    shape = Some(axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?);
                }
                _ => return None,
            }
        }
        Some(Self { descr: descr?, fortran: fortran?, shape: shape? })
    }

    /// Returns the type of the array if it is one of `types` and in C order. Otherwise returns a
    /// description of the array and the type to convert it to.
    fn dtype(&self, types: &[Dtype]) -> std::result::Result<Dtype, (String, Dtype)> {
        match types.iter().find(|dtype| dtype.descr == self.descr) {
            None => Err((file::shown(self.descr), types.first().copied().unwrap_or(F32))),
            Some(&dtype) if self.fortran && self.shape.len() > 1 => {
                Err((format!("{} in Fortran order", dtype.descr), dtype))
            }
            Some(&dtype) => Ok(dtype),
        }
    }

    /// Returns the NumPy call that converts a file to one of this type in C order.
    fn conversion(&self, path: &str, into: Dtype) -> String {
        let pickle = if self.descr.contains('O') { ", allow_pickle=True" } else { "" };
        let field = if self.descr.starts_with('[') { r#"["FIELD"]"# } else { "" };
        let into = into.descr;
        format!(
            r#"np.save({path:?}, np.ascontiguousarray(np.load({path:?}{pickle}){field}, dtype="{into}"))"#
        )
    }
}

/// Splits a Python literal at the commas outside strings and brackets. A comma may follow the last
/// item.
fn items(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let mut quote = None;
    let text = text.trim();
    let all = text.strip_suffix(',').unwrap_or(text).split(move |c| {
        match c {
            _ if quote == Some(c) => quote = None,
            _ if quote.is_some() => {}
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0 && quote.is_none()
    });
    all.map(str::trim).filter(move |_| !text.is_empty())
}

fn unquoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
}

/// Returns the axes and the number of bytes of an array whose elements have `each` bytes, if a
/// machine can hold them. As in NumPy, the axes beside an empty one count, too, so that no part of
/// their product can overflow later, also as floats.
fn sizes(shape: &[u64], each: u64) -> Option<(Vec<usize>, u64)> {
    let bytes = shape
        .iter()
        .try_fold(4u64, |n, &axis| n.checked_mul(axis.max(1)))
        .filter(|&n| isize::try_from(n).is_ok())?;
    let axes = shape.iter().map(|&axis| usize::try_from(axis).ok()).collect::<Option<_>>()?;
    Some((axes, if shape.contains(&0) { 0 } else { bytes / 4 * each }))
}

/// Returns a shape as Python writes it.
fn tuple(shape: &[u64]) -> String {
    let axes = shape.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    format!("({axes}{})", if shape.len() == 1 { "," } else { "" })
}

#[cfg(test)]
mod tests;
