//! The fast CPU path. Masks have the same bits as the reference's; they are drawn eight groups at a
//! time and used while they are in cache.
//!
//! `keep_bits` draws a mask as one bit per element, `drop_part` draws a mask and multiplies the
//! kept elements, and `draws` returns the draws themselves. They exist for every instruction set of
//! [`Isa`], and all produce the same bits.
//!
//! The public functions take row-major slices whose lengths the caller must have checked, as
//! [`Cpu`](crate::Cpu) does. They panic on other lengths.

mod activation;
mod adamw;
mod attention;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "x86_64", has_avx512))]
mod avx512;
mod batch_norm;
mod convolution;
mod drawn;
mod dropout;
mod dropout_bits;
mod dropout_broadcast;
mod gather;
mod linear;
mod mask_bits;
mod mask_bytes;
mod moments;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod product;
mod row;
mod sgd;
mod softmax_cross_entropy;
mod stream;

pub use activation::{activation_grad, linear_activation};
pub use adamw::adamw;
pub(crate) use attention::{AttentionGrads, attention, attention_grad};
pub use batch_norm::batch_norm;
pub use convolution::{patches, patches_grad, pool, pool_grad};
pub use drawn::{alpha_dropout, gaussian_dropout};
pub use dropout::{copy, dropout, dropout_in_place};
pub use dropout_bits::dropout_bits;
pub use dropout_broadcast::dropout_broadcast;
pub use gather::gather;
pub use linear::{Gradient, grad_input, grad_weight, grad_weight_sgd, linear_forward};
pub use mask_bits::mask_bits;
pub use mask_bytes::mask_bytes;
pub use moments::moments;
pub use sgd::sgd;
pub use softmax_cross_entropy::softmax_cross_entropy;

use crate::Dropout;
use crate::mask::DRAWS;
use row::{Affine, Place, RowKey, Site};

/// Number of elements whose draws are kept on the stack. Together with input and output they fit
/// the first-level cache.
pub(crate) const STRIP: usize = 1024;

/// An instruction set supported by the fast path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, vectorized by the compiler.
    Portable,
    /// AArch64 with NEON.
    Neon,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 F and BW, and FMA.
    Avx512,
}

impl Isa {
    /// All sets, from worst to best.
    const ALL: [Self; 4] = [Self::Portable, Self::Neon, Self::Avx2, Self::Avx512];

    /// Returns every set that this processor has, from worst to best.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// Returns true if both the processor and the compiler support the set.
    fn is_available(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        use std::arch::is_x86_feature_detected as has;
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => has!("avx2") && has!("fma"),
            // BW implies F.
            #[cfg(all(target_arch = "x86_64", has_avx512))]
            Self::Avx512 => has!("avx512bw") && has!("fma"),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            _ => false,
        }
    }

    /// Returns the best set that this processor has.
    pub fn best() -> Self {
        *Self::available().last().unwrap_or(&Self::Portable)
    }
}

impl std::fmt::Display for Isa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

/// Draws the mask bits from group `group` on, 64 elements per word.
fn keep_bits(isa: Isa, key: &RowKey, group: u32, words: &mut [u64]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::keep_bits(key, group, words),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::keep_bits(key, group, words),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::keep_bits(key, group, words),
        _ => portable::keep_bits(key, group, words),
    }
}

/// Draws the mask bits of 64 elements from group `group` on in each of several rows.
fn keep_column(isa: Isa, keys: &[RowKey<'_>], group: u32, words: &mut [u64]) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::keep_column(keys, group, words),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::keep_column(keys, group, words),
        _ => keys
            .iter()
            .zip(words)
            .for_each(|(key, word)| keep_bits(isa, key, group, std::slice::from_mut(word))),
    }
}

/// Draws from group `group` on, eight groups of 64 draws per entry.
fn draws(isa: Isa, key: &RowKey, group: u32, out: &mut [[u16; 64]]) {
    match isa {
        // Drawing is the same on both; AVX-512 is faster only at using the draws.
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::Avx512 => avx2::draws(key, group, out),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::draws(key, group, out),
        _ => portable::draws(key, group, out),
    }
}

/// Computes `y = M·s·x` for the part of a row that starts at `place`, in place if `x` is `None`.
/// With `stream`, stores may bypass the caches.
fn drop_part(
    isa: Isa,
    key: &RowKey,
    place: Place,
    x: Option<&[f32]>,
    y: &mut [f32],
    scale: f32,
    stream: bool,
) {
    // The other instruction sets ignore it.
    let _ = stream;
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::drop_part(key, place, x, y, scale, stream),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::drop_part(key, place, x, y, scale, stream),
        #[cfg(target_arch = "aarch64")]
        Isa::Neon => neon::drop_part(key, place, x, y, scale),
        _ => portable::drop_part(key, place, x, y, scale),
    }
}

/// Computes `y = x·scale + shift` for kept elements and `y = dropped` for the others, for the part
/// of a row that starts at `place`. With `stream`, stores may bypass the caches.
fn alpha_part(
    isa: Isa,
    key: &RowKey,
    place: Place,
    x: &[f32],
    y: &mut [f32],
    affine: &Affine,
    stream: bool,
) {
    #[cfg(all(target_arch = "x86_64", has_avx512))]
    if isa == Isa::Avx512 {
        return avx512::alpha_part(key, place, x, y, affine, stream);
    }
    let _ = stream;
    let threshold = i32::from(key.threshold);
    map_part(isa, key, place, x, y, |x, draw| {
        // See `portable::drop_with`.
        let kept = ((i32::from(draw) - threshold) >> 31) as u32;
        f32::from_bits(
            (x * affine.scale + affine.shift).to_bits() & kept | affine.dropped.to_bits() & !kept,
        )
    });
}

/// Computes `y = one(x, draw)` for the part of a row that starts at `place`.
fn map_part(
    isa: Isa,
    key: &RowKey,
    place: Place,
    x: &[f32],
    y: &mut [f32],
    one: impl Fn(f32, u16) -> f32,
) {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::map_part(key, place, x, y, one),
        #[cfg(all(target_arch = "x86_64", has_avx512))]
        Isa::Avx512 => avx512::map_part(key, place, x, y, one),
        _ => portable::map_with(
            |group, out| draws(isa, key, group, std::slice::from_mut(out)),
            place,
            Some(x),
            y,
            one,
        ),
    }
}

/// Draws the mask's words for at most [`STRIP`] elements from local `(row, col)` on. The last word
/// may hold more bits than there are elements.
fn strip_bits(
    isa: Isa,
    site: &Site<'_>,
    row: usize,
    col: usize,
    len: usize,
    words: &mut [u64; STRIP / 64 + 1],
) {
    let Place { group, lane } = Place::new(&site.dropout.mask, col);
    let key = site.row(row);
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

/// Computes `y = M·s·x` for the part of local row `row` that starts at column `col`, in place if
/// `x` is `None`. With `stream`, stores may bypass the caches.
fn segment(
    isa: Isa,
    x: Option<&[f32]>,
    y: &mut [f32],
    row: usize,
    col: usize,
    site: &Site<'_>,
    stream: bool,
) {
    let Dropout { mask, scale } = site.dropout;
    match (mask.rate.threshold(), x) {
        (0, _) => y.fill(0.0),
        (DRAWS, None) if *scale == 1.0 => {}
        (DRAWS, None) => y.iter_mut().for_each(|y| *y *= scale),
        (DRAWS, Some(x)) if *scale == 1.0 => y.copy_from_slice(x),
        (DRAWS, Some(x)) => y.iter_mut().zip(x).for_each(|(y, x)| *y = x * scale),
        _ => drop_part(isa, &site.row(row), Place::new(mask, col), x, y, *scale, stream),
    }
}
