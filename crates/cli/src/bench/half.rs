//! `dropout` and a layer's forward pass on tensors stored as f16, against a copy and a plain
//! product of such tensors. The kernels run on the caller's buffers, since the backends' tensors
//! are f32.

use super::elementwise::{self, COLS};
use super::layer;
use super::pass::Pass;
use super::work::{Entry, Work, numbers};
use half::f16;
use std::time::Duration;
use wgpu_dropout::call::{CopyCall, DropoutCall, LinearForward};
use wgpu_dropout::gpu::{Gpu, GpuTensor, Prepared, View};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// Returns an entry's counterpart with half the bytes.
fn stored_as_half(kernel: &'static str, entry: &Entry) -> Entry {
    Entry { kernel, dtype: "f16", bytes: entry.bytes / 2, ..entry.clone() }
}

/// Returns `dropout` over `elements` elements, a multiple of [`COLS`], and its ceiling.
pub fn entries(elements: usize) -> Vec<Entry> {
    let [copy, dropout, _] = &elementwise::entries(elements)[..] else { return Vec::new() };
    vec![stored_as_half("copy_f16", copy), stored_as_half("dropout_f16", dropout)]
}

/// Returns the layer with this batch, inputs and outputs, and its ceiling.
pub fn layer_entries(shape: [usize; 3]) -> Vec<Entry> {
    let [matmul, _, layer, ..] = &layer::entries(shape)[..] else { return Vec::new() };
    vec![stored_as_half("matmul_f16", matmul), stored_as_half("linear_forward_f16", layer)]
}

/// Prepared calls, in the order of the entries.
pub struct Half<'a> {
    gpu: &'a Gpu,
    pass: Pass,
    calls: Vec<Prepared>,
    /// Calls made since the last finish.
    due: Vec<usize>,
}

impl<'a> Half<'a> {
    /// Prepares inverted dropout that keeps half of `elements` elements.
    pub fn elementwise(gpu: &'a mut Gpu, elements: usize, key: Key) -> Result<Self> {
        let rows = elements / COLS;
        let (x, y) = (filled(gpu, 0, rows, COLS)?, filled(gpu, 1, rows, COLS)?);
        let (x, y) = (view(&x, rows, COLS), view(&y, rows, COLS));
        let copy = gpu.kernels().prepare(&CopyCall { x, y })?;
        let dropout = gpu.kernels().prepare(&DropoutCall { x, y, dropout: dropout(key)? })?;
        Self::new(gpu, vec![copy, dropout])
    }

    /// Prepares `X·W` and `dropout(relu(X·W + b))`.
    pub fn layer(gpu: &'a mut Gpu, [batch, inputs, outputs]: [usize; 3], key: Key) -> Result<Self> {
        let (x, weight) = (filled(gpu, 1, batch, inputs)?, filled(gpu, 2, inputs, outputs)?);
        let (bias, y) = (filled(gpu, 3, 1, outputs)?, filled(gpu, 4, batch, outputs)?);
        let (x, weight) = (view(&x, batch, inputs), view(&weight, inputs, outputs));
        let (bias, y) = (view(&bias, 1, outputs), view(&y, batch, outputs));
        let call = |whole: bool, dropout| {
            let bias = whole.then_some(bias);
            gpu.kernels().prepare(&LinearForward { x, weight, bias, y, relu: whole, dropout })
        };
        let calls = vec![call(false, Dropout::NONE)?, call(true, dropout(key)?)?];
        Self::new(gpu, calls)
    }

    fn new(gpu: &'a mut Gpu, calls: Vec<Prepared>) -> Result<Self> {
        // The tensors must be written before the separately recorded passes read them.
        gpu.wait()?;
        Ok(Self { gpu, pass: Pass::new(gpu.device()), calls, due: Vec::new() })
    }
}

impl Work for Half<'_> {
    fn call(&mut self, entry: usize) -> Result<()> {
        self.due.push(entry);
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        let Self { gpu, pass, calls, due } = self;
        pass.run(gpu, |pass| due.drain(..).for_each(|entry| calls[entry].record(pass)))
    }
}

fn dropout(key: Key) -> Result<Dropout> {
    Ok(Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)))
}

/// Creates a tensor of [`numbers`] as f16, two per word.
fn filled(gpu: &mut Gpu, tensor: u32, rows: usize, cols: usize) -> Result<GpuTensor<u32>> {
    // The tensor comes first: if it cannot be allocated, the numbers must not be either.
    let mut filled = gpu.zeros(1, (rows * cols).div_ceil(2))?;
    let bits: Vec<u16> =
        numbers(tensor, rows, cols).into_iter().map(|x| f16::from_f32(x).to_bits()).collect();
    let words: Vec<u32> = bits
        .chunks(2)
        .map(|pair| u32::from(pair[0]) | u32::from(*pair.get(1).unwrap_or(&0)) << 16)
        .collect();
    gpu.write(&mut filled, &words)?;
    Ok(filled)
}

fn view(tensor: &GpuTensor<u32>, rows: usize, cols: usize) -> View<'_> {
    View::new(tensor.view().buffer, rows, cols).half()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_s_twin_moves_half_the_bytes() {
        for (half, whole) in [
            (entries(1 << 10), elementwise::entries(1 << 10)),
            (layer_entries([2, 3, 4]), layer::entries([2, 3, 4])),
        ] {
            assert!(
                half.iter().all(|entry| entry.dtype == "f16" && entry.kernel.ends_with("_f16"))
            );
            assert_eq!(2 * half[0].bytes, whole[0].bytes);
        }
    }
}
