//! Other forms of dropout, and masks alone, against `copy`.

use super::elementwise::{COLS, copy};
use super::work::{Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{
    AlphaDropoutCall, CopyCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBits,
    MaskBytes,
};
use wgpu_dropout::{
    AlphaDropout, AxisMap, Backend, Dropout, GaussianDropout, Key, Mask, Mode, Rate, Result,
};

/// Returns the kernels over `elements` elements, a multiple of [`COLS`].
pub fn entries(elements: usize) -> Vec<Entry> {
    let (copy, n) = (copy(elements), elements as u64);
    let form = |kernel| Entry { kernel, flops: n, ..copy.clone() };
    vec![
        copy.clone(),
        form("dropout_broadcast"),
        Entry { bytes: 8 * n + n / 8, ..form("dropout_bits") },
        Entry { flops: 2 * n, ..form("alpha_dropout") },
        Entry { flops: 3 * n, ..form("gaussian_dropout") },
        Entry { bytes: n / 8, flops: 0, ..form("mask_bits") },
        Entry { bytes: n, flops: 0, ..form("mask_bytes") },
    ]
}

/// Input and output, masks as bits and as bytes, and a site of each form.
pub struct Forms<'a, B: Backend> {
    backend: &'a mut B,
    x: B::Tensor<f32>,
    y: B::Tensor<f32>,
    bits: B::Tensor<u32>,
    bytes: B::Tensor<u8>,
    dropout: Dropout,
    /// Each row is a channel that is dropped as a whole.
    channels: AxisMap,
    alpha: AlphaDropout,
    gaussian: GaussianDropout,
}

impl<'a, B: Backend> Forms<'a, B> {
    /// Creates tensors of `elements` elements, and sites that keep half of them.
    pub fn new(backend: &'a mut B, elements: usize, key: Key) -> Result<Self> {
        let (rows, mask) = (elements / COLS, Mask::new(Rate::drop(0.5)?, key));
        let mut bits = backend.tensor(rows, COLS / 32, &vec![0; elements / 32])?;
        backend.run(MaskBits { bits: &mut bits, cols: COLS, mask })?;
        Ok(Self {
            x: filled(backend, 0, rows, COLS)?,
            y: backend.zeros(rows, COLS)?,
            bits,
            bytes: backend.tensor(rows, COLS, &vec![0u8; elements])?,
            dropout: Dropout::train(Mode::Inverted, mask),
            channels: AxisMap::channels(&[1, rows, COLS])?,
            alpha: AlphaDropout::train(mask),
            gaussian: GaussianDropout::train(mask)?,
            backend,
        })
    }
}

impl<B: Timed> Work for Forms<'_, B> {
    fn call(&mut self, entry: usize) -> Result<()> {
        let Self { backend, x, y, bits, bytes, dropout, channels: axes, .. } = self;
        let dropout = *dropout;
        match entry {
            0 => backend.run(CopyCall { x: &*x, y }),
            1 => backend.run(DropoutBroadcast { x: &*x, y, axes, dropout }),
            2 => backend.run(DropoutBits { x: &*x, bits: &*bits, y, scale: dropout.scale }),
            3 => backend.run(AlphaDropoutCall { x: &*x, y, dropout: self.alpha }),
            4 => backend.run(GaussianDropoutCall { x: &*x, y, dropout: self.gaussian }),
            5 => backend.run(MaskBits { bits, cols: COLS, mask: dropout.mask }),
            _ => backend.run(MaskBytes { bytes, mask: dropout.mask }),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        self.backend.finish()
    }
}
