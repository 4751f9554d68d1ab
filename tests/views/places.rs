//! Lays out a call's tensors in buffers in different ways, runs the call, and checks every word
//! afterwards.

use crate::common::raw::Raw;
use crate::common::{noise, same_bits};
use wgpu_dropout::Result;
use wgpu_dropout::gpu::{Prepared, View};

/// Value of the words that belong to no tensor.
const GUARD: f32 = 9.25;

/// A tensor's shape and values.
pub type Tensor = (usize, usize, Vec<f32>);

pub fn tensor(seed: u64, rows: usize, cols: usize) -> Tensor {
    (rows, cols, noise(seed, rows * cols))
}

/// Layout of a call's tensors.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    /// One buffer per tensor.
    Apart,
    /// One buffer for all, with `between` words before each tensor and `gap` words after each row.
    Together { between: usize, gap: usize },
}

/// Returns the ranges of words that a tensor's rows occupy, relative to its start.
fn rows(&(rows, cols, _): &Tensor, gap: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    (0..rows).map(move |row| row * (cols + gap)..row * (cols + gap) + cols)
}

/// Lays tensors out, runs the call that `prepare` makes of their views, and returns their values
/// afterwards.
///
/// # Panics
///
/// If a word between the tensors changed.
pub fn run(
    raw: &Raw,
    place: Place,
    tensors: &[Tensor],
    prepare: impl Fn(&[View<'_>]) -> Result<Prepared>,
) -> Result<Vec<Vec<f32>>> {
    let gap = if let Place::Together { gap, .. } = place { gap } else { 0 };
    let mut starts = Vec::new();
    let mut contents: Vec<Vec<f32>> = Vec::new();
    for tensor in tensors {
        if contents.is_empty() || matches!(place, Place::Apart) {
            contents.push(Vec::new());
        }
        let words = contents.last_mut().unwrap();
        if let Place::Together { between, .. } = place {
            words.resize(words.len() + between, GUARD);
        }
        let start = words.len();
        starts.push((contents.len() - 1, start));
        let words = contents.last_mut().unwrap();
        words.resize(start + tensor.0 * (tensor.1 + gap) + 4, GUARD);
        for (range, values) in rows(tensor, gap).zip(tensor.2.chunks(tensor.1.max(1))) {
            words[start + range.start..start + range.end].copy_from_slice(values);
        }
    }
    let buffers: Vec<wgpu::Buffer> = contents.iter().map(|words| raw.buffer(words)).collect();
    let views: Vec<View<'_>> = tensors
        .iter()
        .zip(&starts)
        .map(|((rows, cols, _), &(buffer, start))| {
            View::new(&buffers[buffer], *rows, *cols).at(4 * start as u64).strided(cols + gap)
        })
        .collect();
    let call = prepare(&views)?;
    let mut encoder = raw.device.create_command_encoder(&Default::default());
    call.record(&mut encoder.begin_compute_pass(&Default::default()));
    raw.queue.submit([encoder.finish()]);
    let mut after: Vec<Vec<f32>> = buffers.iter().map(|buffer| raw.read(buffer)).collect();
    let mut values = Vec::new();
    for (tensor, &(buffer, start)) in tensors.iter().zip(&starts) {
        let mut of_tensor = Vec::new();
        for range in rows(tensor, gap) {
            let words = &mut after[buffer][start + range.start..start + range.end];
            of_tensor.extend_from_slice(words);
            words.fill(GUARD);
        }
        values.push(of_tensor);
    }
    assert!(
        after.iter().flatten().all(|&word| word == GUARD),
        "{place:?}: a word between tensors was written"
    );
    Ok(values)
}

/// Runs a call in every layout and compares the results with those on separate buffers.
pub fn everywhere(
    raw: &Raw,
    what: &str,
    tensors: &[Tensor],
    packed: bool,
    prepare: impl Fn(&[View<'_>]) -> Result<Prepared>,
) {
    let right = run(raw, Place::Apart, tensors, &prepare).unwrap();
    assert!(
        right.iter().zip(tensors).any(|(after, before)| same_bits("", after, &before.2).is_err()),
        "{what} does nothing"
    );
    let places = [(64, 0), (1, 0), (5, 4), (3, 5), (8, 8)];
    for (between, gap) in places.into_iter().filter(|&(_, gap)| gap == 0 || !packed) {
        let place = Place::Together { between, gap };
        let got = run(raw, place, tensors, &prepare)
            .unwrap_or_else(|error| panic!("{what}, {place:?}: {error}"));
        for (i, (got, right)) in got.iter().zip(&right).enumerate() {
            same_bits(&format!("{what}, {place:?}, tensor {i}"), got, right).unwrap();
        }
    }
}
