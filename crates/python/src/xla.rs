//! Dropout as a custom call of XLA, which JAX runs on the CPU without a copy.
//!
//! The structs are those of `xla/ffi/api/c_api.h`, version 0.3. XLA keeps old versions for a year
//! and tells a handler's version by its answer to a query. Rate and key are an operand, since each
//! new attribute would be compiled anew.
#![allow(unsafe_code)]

use crate::pool::on_pool;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null, null_mut};
use wgpu_dropout::call::{AlphaDropoutCall, DropoutBroadcast, DropoutCall};
use wgpu_dropout::{
    AlphaDropout, AxisMap, Cpu, Dropout, Error, Key, Mask, Mode, Rate, Slice, SliceMut,
};

/// Header that starts every struct.
#[repr(C)]
struct Head {
    size: usize,
    extension: *const Extension,
}

#[repr(C)]
struct Extension {
    size: usize,
    kind: c_int,
    next: *const Extension,
    metadata: *mut Metadata,
}

/// [`Extension::kind`] of a query for the handler's version.
const METADATA: c_int = 1;

#[repr(C)]
struct Metadata {
    size: usize,
    version: Version,
    traits: u32,
}

#[repr(C)]
struct Version {
    head: Head,
    major: c_int,
    minor: c_int,
}

#[repr(C)]
struct Buffer {
    head: Head,
    dtype: c_int,
    data: *mut c_void,
    rank: i64,
    dims: *const i64,
}

/// [`Buffer::dtype`] of f32 and u32.
const F32: c_int = 11;
const U32: c_int = 8;

/// Operands or results.
#[repr(C)]
struct Buffers {
    head: Head,
    count: i64,
    kinds: *const c_int,
    buffers: *const *const Buffer,
}

#[repr(C)]
struct ErrorArgs {
    head: Head,
    message: *const c_char,
    code: c_int,
}

/// [`ErrorArgs::code`] of an invalid argument.
const INVALID: c_int = 3;

#[repr(C)]
struct Api {
    head: Head,
    version: Version,
    internal: *const c_void,
    error: unsafe extern "C" fn(*const ErrorArgs) -> *mut c_void,
}

/// Call: the arguments of a handler.
#[repr(C)]
pub struct Frame {
    head: Head,
    api: *const Api,
    context: *const c_void,
    stage: c_int,
    operands: Buffers,
    results: Buffers,
}

/// Words of the operand that says what to draw.
const WORDS: usize = 9;

/// Computes dropout: operands x and the words `[form, t, seed, seed, layer, step, row, col, col]`,
/// numbers of 64 bits with their low word first; result y, as x.
///
/// The form is 0 for a draw an element, 1 a channel, 2 a sample, 3 for alpha dropout and 4 for its
/// gradient. An element is kept if its draw is less than t.
///
/// # Safety
/// XLA calls it, with a frame of its version of the structs.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn wgpu_dropout_xla(frame: *mut Frame) -> *mut c_void {
    // SAFETY: the caller hands over a frame, its extensions, and buffers that nobody else writes.
    unsafe {
        let frame = &*frame;
        if let Some(extension) = frame.head.extension.as_ref()
            && extension.kind == METADATA
        {
            let version = &mut (*extension.metadata).version;
            (version.major, version.minor) = (0, 1);
            return null_mut();
        }
        match computed(frame) {
            Ok(()) => null_mut(),
            Err(what) => {
                let message = CString::new(what).unwrap_or_default();
                let head = Head { size: size_of::<ErrorArgs>(), extension: null() };
                let args = ErrorArgs { head, message: message.as_ptr(), code: INVALID };
                ((*frame.api).error)(&args)
            }
        }
    }
}

/// Returns buffer `index` of operands or results, if it has this type.
///
/// # Safety
/// `buffers` are those of XLA's frame.
unsafe fn buffer(buffers: &Buffers, index: usize, dtype: c_int) -> Result<&Buffer, String> {
    if index as i64 >= buffers.count {
        return Err(format!("wgpu_dropout_xla: no operand or result {index}"));
    }
    // SAFETY: the array has `count` pointers to buffers.
    let buffer = unsafe { &**buffers.buffers.add(index) };
    match buffer.dtype == dtype {
        true => Ok(buffer),
        false => Err(format!("wgpu_dropout_xla: operand or result {index} has another type")),
    }
}

/// # Safety
/// `frame` is XLA's, and its result is memory of its own.
unsafe fn computed(frame: &Frame) -> Result<(), String> {
    // SAFETY: XLA's buffers have `rank` sizes, and as many elements as their product.
    let (shape, x, words, y) = unsafe {
        let x = buffer(&frame.operands, 0, F32)?;
        let words = buffer(&frame.operands, 1, U32)?;
        let y = buffer(&frame.results, 0, F32)?;
        let shape = |of: &Buffer| -> Vec<usize> {
            (0..of.rank as usize).map(|axis| *of.dims.add(axis) as usize).collect()
        };
        if shape(words) != [WORDS] || shape(x) != shape(y) {
            return Err("wgpu_dropout_xla: shapes that do not fit".to_owned());
        }
        let len = shape(x).iter().product();
        if len == 0 {
            return Ok(());
        }
        (
            shape(x),
            std::slice::from_raw_parts(x.data.cast::<f32>(), len),
            std::slice::from_raw_parts(words.data.cast::<u32>(), WORDS),
            std::slice::from_raw_parts_mut(y.data.cast::<f32>(), len),
        )
    };
    on_pool(|| dropped(&shape, x, words, y))
        .map_err(|error| format!("no threads: {error}"))?
        .map_err(|error| error.to_string())
}

fn dropped(shape: &[usize], x: &[f32], words: &[u32], y: &mut [f32]) -> Result<(), Error> {
    let wide = |low: usize| u64::from(words[low]) | u64::from(words[low + 1]) << 32;
    let rate = Rate::keep(f64::from(words[1]) / 65536.0)?;
    let key = Key { seed: wide(2), layer: words[4], step: words[5] };
    let mask = Mask::new(rate, key).at(words[6].into(), wide(7));
    let (rows, cols) = crate::arrays::matrix(shape);
    let (x, y) = (Slice::new(x, rows, cols)?, SliceMut::new(y, rows, cols)?);
    let dropout = Dropout::train(Mode::Inverted, mask);
    let mut cpu = Cpu::new();
    match words[0] {
        0 => cpu.run_on_slices(DropoutCall { x, y, dropout }),
        form @ (1 | 2) => {
            let channels: &[usize] = if form == 1 { &[1] } else { &[] };
            let axes = AxisMap::new(shape, &[0], channels)?;
            cpu.run_on_slices(DropoutBroadcast { x, y, axes: &axes, dropout })
        }
        form => {
            let alpha = AlphaDropout::train(mask);
            match form {
                3 => cpu.run_on_slices(AlphaDropoutCall { x, y, dropout: alpha }),
                _ => cpu.run_on_slices(DropoutCall { x, y, dropout: alpha.backward() }),
            }
        }
    }
}
