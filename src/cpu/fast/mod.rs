//! The fast CPU path: the same bits as the reference, drawn eight groups at a time and used while they are in cache.
//!
//! A row is taken in strips. For each, `keep_bits` draws the mask as one bit an element into a few words on the stack, and
//! `select` multiplies what is kept. Each exists for every instruction set of [`Isa`]; all give the same bits.
//!
//! All take row-major slices whose lengths the caller has checked, as [`Cpu`](crate::cpu::Cpu) does, and panic on others.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "x86_64", has_avx512))]
mod avx512;
mod dropout;
mod linear;
mod mask_bits;
mod matmul;
mod portable;

pub use dropout::{copy, dropout};
pub use linear::{grad_input, grad_weight, gradient, linear_forward};
pub use mask_bits::mask_bits;

use crate::{Dropout, Mask};

/// Elements of a strip: their mask is 128 bytes, and input and output stay in the first-level cache.
pub(crate) const STRIP: usize = 1024;

/// An instruction set that the fast path is written for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, left to the compiler; on AArch64 that means NEON.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 F and BW.
    Avx512,
}

impl Isa {
    /// Every set that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            if std::arch::is_x86_feature_detected!("avx2") {
                found.push(Self::Avx2);
            }
            if cfg!(has_avx512) && std::arch::is_x86_feature_detected!("avx512f") && std::arch::is_x86_feature_detected!("avx512bw")
            {
                found.push(Self::Avx512);
            }
        }
        found
    }

    /// The best set that this processor has.
    pub fn best() -> Self {
        *Self::available().last().unwrap_or(&Self::Portable)
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// What the masks of one row are drawn from: everything but the columns.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowKey {
    key: [u32; 2],
    row: u32,
    layer: u32,
    step: u32,
    /// 1 ..= 65535
    threshold: u16,
}

/// Draws 64 elements a word from group `group` on.
fn keep_bits(isa: Isa, key: &RowKey, group: u32, words: &mut [u64]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::keep_bits(key, group, words),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::keep_bits(key, group, words),
        _ => portable::keep_bits(key, group, words),
    }
}

/// `y[i] = x[i] · scale` where bit i is set, else 0.
fn select(isa: Isa, x: &[f32], y: &mut [f32], bits: &[u64], scale: f32) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::select(x, y, bits, scale),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::select(x, y, bits, scale),
        _ => portable::select(x, y, bits, scale),
    }
}

/// What becomes of a whole strip without a draw, if anything.
enum Trivial {
    Zero,
    Scale,
}

fn trivial(mask: &Mask) -> Option<Trivial> {
    match mask.rate.threshold() {
        0 => Some(Trivial::Zero),
        crate::rate::DRAWS => Some(Trivial::Scale),
        _ => None,
    }
}

/// The mask's words for at most [`STRIP`] elements from local `(row, col)` on; the last word may hold more bits than there are elements.
fn strip_bits(isa: Isa, mask: &Mask, row: usize, col: usize, len: usize, words: &mut [u64; STRIP / 64 + 1]) {
    let key = RowKey {
        key: crate::philox::key(mask.key.seed),
        row: (mask.row_offset + row as u64) as u32,
        layer: mask.key.layer,
        step: mask.key.step,
        threshold: mask.rate.threshold() as u16,
    };
    let col = mask.col_offset + col as u64;
    let (group, lane) = ((col / 8) as u32, (col % 8) as u32);
    let count = len.div_ceil(64);
    if lane == 0 {
        keep_bits(isa, &key, group, &mut words[..count]);
        return;
    }
    keep_bits(isa, &key, group, &mut words[..=count]);
    for i in 0..count {
        words[i] = words[i] >> lane | words[i + 1] << (64 - lane);
    }
}

/// `y = M·s·x` for a part of local row `row` from column `col` on.
fn segment(isa: Isa, x: &[f32], y: &mut [f32], row: usize, col: usize, dropout: &Dropout) {
    match trivial(&dropout.mask) {
        Some(Trivial::Zero) => y.fill(0.0),
        Some(Trivial::Scale) if dropout.scale == 1.0 => y.copy_from_slice(x),
        Some(Trivial::Scale) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * dropout.scale),
        None => {
            let mut words = [0; STRIP / 64 + 1];
            for (i, (x, y)) in x.chunks(STRIP).zip(y.chunks_mut(STRIP)).enumerate() {
                strip_bits(isa, &dropout.mask, row, col + i * STRIP, x.len(), &mut words);
                select(isa, x, y, &words, dropout.scale);
            }
        }
    }
}

/// As [`segment`], in place.
fn segment_in_place(isa: Isa, y: &mut [f32], row: usize, col: usize, dropout: &Dropout) {
    let mut x = [0.0; STRIP];
    for (i, y) in y.chunks_mut(STRIP).enumerate() {
        // The copy stays in the first-level cache, and select can have its input and output apart.
        let x = &mut x[..y.len()];
        x.copy_from_slice(y);
        segment(isa, x, y, row, col + i * STRIP, dropout);
    }
}
