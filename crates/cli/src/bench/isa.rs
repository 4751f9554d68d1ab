//! `dropout` on each instruction set that the CPU backend implements and this processor supports.
//! The backend uses the best of them.

use super::elementwise::{COLS, copy};
use super::work::{Entry, Timed, Work, filled};
use std::time::Duration;
use wgpu_dropout::call::{CopyCall, DropoutCall};
use wgpu_dropout::cpu::fast::Isa;
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};
use wgpu_dropout::{Cpu, CpuTensor};

/// Returns `copy`, then `dropout` for each instruction set.
pub fn entries(elements: usize) -> Vec<Entry> {
    let name = |isa| match isa {
        Isa::Portable => "dropout_portable",
        Isa::Neon => "dropout_neon",
        Isa::Avx2 => "dropout_avx2",
        Isa::Avx512 => "dropout_avx512",
    };
    let dropout = |isa| Entry { kernel: name(isa), flops: elements as u64, ..copy(elements) };
    [copy(elements)].into_iter().chain(Isa::available().into_iter().map(dropout)).collect()
}

/// Input and output, and a backend for each instruction set.
pub struct Isas {
    backends: Vec<Cpu>,
    x: CpuTensor<f32>,
    y: CpuTensor<f32>,
    dropout: Dropout,
}

impl Isas {
    /// Creates tensors of `elements` elements, and inverted dropout that keeps half of them.
    pub fn new(elements: usize, key: Key) -> Result<Self> {
        let (mut cpu, rows) = (Cpu::new(), elements / COLS);
        Ok(Self {
            backends: Isa::available().into_iter().map(Cpu::with_isa).collect(),
            x: filled(&mut cpu, 0, rows, COLS)?,
            y: cpu.zeros(rows, COLS)?,
            dropout: Dropout::train(Mode::Inverted, Mask::new(Rate::drop(0.5)?, key)),
        })
    }
}

impl Work for Isas {
    fn call(&mut self, entry: usize) -> Result<()> {
        let Self { backends, x, y, dropout } = self;
        match entry {
            0 => backends[0].run(CopyCall { x: &*x, y }),
            _ => backends[entry - 1].run(DropoutCall { x: &*x, y, dropout: *dropout }),
        }
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        Timed::finish(&mut self.backends[0])
    }
}
