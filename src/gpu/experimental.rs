//! wgpu's experimental features, which require `unsafe`: cooperative matrices, for
//! [`Tile::Matrix`](super::Tile::Matrix).
#![allow(unsafe_code)]

use super::kernels::Kernels;
use super::owned::Gpu;
use crate::backend::Backend;
use crate::call::LinearForward;
use crate::plan::Planner;
use crate::plan::Tile;
use crate::plan::Tiles;
use crate::plan::View;
use crate::{Dropout, Error, Result};
use wgpu::CooperativeScalarType::{F16, F32};

/// Returns the experimental features of an adapter that the kernels can use, and the token that
/// enables them.
pub(super) fn features(adapter: &wgpu::Adapter) -> (wgpu::Features, wgpu::ExperimentalFeatures) {
    let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
    let has_size = adapter.cooperative_matrix_properties().iter().any(|of| {
        (of.m_size, of.n_size, of.k_size, of.ab_type, of.cr_type) == (16, 16, 16, F16, F32)
            && !of.saturating_accumulation
    });
    if !adapter.features().contains(matrices) || !has_size {
        return (wgpu::Features::empty(), wgpu::ExperimentalFeatures::disabled());
    }
    // SAFETY: wgpu requires that whoever enables an experimental feature accepts its bugs. Only
    // tiles that are requested by name use it, after a check against products of known results.
    (matrices, unsafe { wgpu::ExperimentalFeatures::enabled() })
}

/// `[rows, terms, cols]` of the products of the check. Neither is a whole number of tiles and
/// slabs; the first has one part, the second has split sums whose parts end within a slab.
const SHAPES: [[usize; 3]; 2] = [[132, 72, 136], [20, 528, 136]];

/// Checks that a device's matrix units multiply correctly, if the plan names a tile that uses them.
///
/// # Errors
/// [`Error::Adapter`] if a product is wrong.
pub(super) fn check_matrices(gpu: &mut Gpu) -> Result<()> {
    let named = |tile| gpu.kernels().planner().tiles == Tiles::all(tile);
    if !named(Tile::Matrix) && !named(Tile::MatrixLarge) {
        return Ok(());
    }
    for tile in [Tile::Matrix, Tile::MatrixLarge] {
        let kernels =
            gpu.kernels().replanned(|planner| Planner { tiles: Tiles::all(tile), ..planner })?;
        for shape in SHAPES {
            if let Some([row, col]) = wrong_sum(gpu, &kernels, shape)? {
                let what = format!(
                    "tile {tile}: the device's matrix units give a wrong sum in row {row}, column {col} of {shape:?}"
                );
                return Err(Error::Adapter { what });
            }
        }
    }
    Ok(())
}

/// Returns the row and column of the first wrong sum in a product of f16. The factors are whole
/// numbers, so that the order of a sum does not matter.
fn wrong_sum(
    gpu: &mut Gpu,
    kernels: &Kernels,
    [rows, terms, cols]: [usize; 3],
) -> Result<Option<[usize; 2]>> {
    let x = |row: usize, term: usize| (row * 7 + term * 3) % 5 / 3;
    let w = |term: usize, col: usize| (term * 5 + col * 11) % 7 / 2;
    let mut tensor = |rows: usize, cols: usize, value: &dyn Fn(usize, usize) -> usize| {
        let halves: Vec<u32> = (0..rows * cols).map(|i| whole(value(i / cols, i % cols))).collect();
        let words: Vec<u32> = halves.chunks(2).map(|pair| pair[0] | pair[1] << 16).collect();
        gpu.tensor(1, words.len(), &words)
    };
    let x_halves = tensor(rows, terms, &x)?;
    let w_halves = tensor(terms, cols, &w)?;
    let y_halves = tensor(rows, cols, &|_, _| 1)?;
    // The product is recorded in an encoder of its own and must come after the uploads.
    gpu.wait()?;
    let view = |buffer, rows, cols| View::new(buffer, rows, cols).half();
    let (x_view, weight) =
        (view(x_halves.view().buffer, rows, terms), view(w_halves.view().buffer, terms, cols));
    let y = view(y_halves.view().buffer, rows, cols);
    let call =
        LinearForward { x: x_view, weight, bias: None, y, relu: false, dropout: Dropout::NONE };
    let prepared = kernels.prepare(&call)?;
    let mut encoder =
        gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    prepared.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
    gpu.queue().submit([encoder.finish()]);
    let found = gpu.read(&y_halves)?;
    let wrong = (0..rows * cols).find(|&i| {
        let sum = (0..terms).map(|term| x(i / cols, term) * w(term, i % cols)).sum();
        found[i / 2] >> (16 * (i % 2)) & 0xffff != whole(sum)
    });
    Ok(wrong.map(|i| [i / cols, i % cols]))
}

/// Returns the bits of a whole number up to 2048 as f16.
fn whole(number: usize) -> u32 {
    match (number as u32).checked_ilog2() {
        None => 0,
        Some(power) => (15 + power) << 10 | ((number as u32) << 10 >> power) & 0x3ff,
    }
}

#[cfg(all(test, feature = "verify"))]
mod tests {
    use super::*;
    use crate::gpu::AdapterChoice;

    #[test]
    fn whole_numbers_are_those_of_f16() {
        for number in 0..=2048 {
            assert_eq!(
                whole(number),
                u32::from(half::f16::from_f32(number as f32).to_bits()),
                "{number}"
            );
        }
    }

    /// Tests the check with a tile that every device can run; its control is a shader that doubles
    /// the weights.
    #[test]
    fn a_right_product_passes_and_a_wrong_one_is_found() {
        let tiled = |planner| Planner { tiles: Tiles::all(Tile::Workgroup), ..planner };
        let Ok(mut gpu) = Gpu::build(&AdapterChoice::Best, tiled) else {
            return eprintln!("SKIPPED: no adapter");
        };
        if !gpu.kernels().planner().half {
            return eprintln!("SKIPPED: the adapter has no f16");
        }
        let head = "fn weight_quad(k: u32, n: u32) -> vec4<Number> {\n    return ";
        let right = gpu.kernels().replanned(tiled).unwrap();
        let wrong = gpu.kernels().replanned(tiled).unwrap().edited(head, &format!("{head}2.0 * "));
        for [rows, terms, cols] in SHAPES {
            let shape = [rows, terms, cols];
            assert_eq!(crate::order::part(rows, cols, terms).is_some(), terms > 500, "{shape:?}");
            assert_eq!(wrong_sum(&mut gpu, &right, shape).unwrap(), None, "{shape:?}");
            assert_eq!(wrong_sum(&mut gpu, &wrong, shape).unwrap(), Some([0, 0]), "{shape:?}");
        }
    }
}
