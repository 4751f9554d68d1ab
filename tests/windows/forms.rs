//! The other forms of dropout in windows.

use super::{equal, on_both_plans, site};
use crate::common::{noise, poisoned};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBytes,
};
use wgpu_dropout::gpu::{Gpu, Tile};
use wgpu_dropout::{AlphaDropout, AxisMap, GaussianDropout, oracle};

#[test]
fn a_broadcast_mask_in_windows_of_rows_and_in_cut_rows() {
    let maps = [
        AxisMap::channels(&[7, 30, 11, 13]),
        AxisMap::channels(&[3, 2, 20_001]),
        AxisMap::over_time(&[40, 20, 64]),
        AxisMap::over_time(&[2, 3, 20_000]),
        AxisMap::over_time(&[2, 2, 20_003]),
        AxisMap::new(&[20_000, 3], &[1], &[0]),
    ];
    for axes in maps.map(Result::unwrap) {
        let x = noise(1, axes.elements());
        for (row, col) in [(0, 0), (9, 13)] {
            let dropout = site(0.7, row, col);
            let run = |gpu: &mut Gpu| {
                let (x, mut y) = (gpu.tensor(1, x.len(), &x).unwrap(), poisoned(gpu, 1, x.len()));
                gpu.run(DropoutBroadcast { x: &x, y: &mut y, axes: &axes, dropout }).unwrap();
                gpu.read(&y).unwrap()
            };
            let Some(y) =
                equal(&format!("{axes:?} at {row}, {col}"), on_both_plans(Tile::Register, run))
            else {
                return;
            };
            oracle::dropout_broadcast(&x, &axes, &dropout).check("dropout_broadcast", &y).unwrap();
        }
    }
}

#[test]
fn strips_in_windows_of_rows_and_in_cut_rows() {
    for (rows, cols) in [(100, 1000), (50, 1001), (3, 40_000), (2, 40_001)] {
        let x = noise(1, rows * cols);
        for (row, col) in [(0, 0), (9, 13)] {
            let mask = site(0.7, row, col).mask;
            let alpha = AlphaDropout::train(mask);
            let gaussian = GaussianDropout::train(mask).unwrap();
            let run = |gpu: &mut Gpu| {
                let x = gpu.tensor(rows, cols, &x).unwrap();
                let mut y = [0; 2].map(|_| poisoned(gpu, rows, cols));
                gpu.run(AlphaDropoutCall { x: &x, y: &mut y[0], dropout: alpha }).unwrap();
                gpu.run(GaussianDropoutCall { x: &x, y: &mut y[1], dropout: gaussian }).unwrap();
                y.map(|y| gpu.read(&y).unwrap()).concat()
            };
            // Only the oracle is compared: a device may contract a multiplication and an addition
            // in one variant and not in the next.
            for y in on_both_plans(Tile::Register, run).into_iter().flatten() {
                oracle::alpha_dropout(&x, cols, &alpha)
                    .check("alpha_dropout", &y[..x.len()])
                    .unwrap();
                oracle::gaussian_dropout(&x, cols, &gaussian)
                    .check("gaussian_dropout", &y[x.len()..])
                    .unwrap();
            }
        }
    }
}

#[test]
fn a_given_mask_in_windows_of_rows_and_in_cut_rows() {
    for (rows, cols) in [(100, 1000), (3, 40_000), (2, 40_001)] {
        let x = noise(1, rows * cols);
        let words: Vec<u32> = noise(2, rows * cols.div_ceil(32))
            .iter()
            .map(|x| x.to_bits() << 9 ^ x.to_bits())
            .collect();
        let run = |gpu: &mut Gpu| {
            let x = gpu.tensor(rows, cols, &x).unwrap();
            let bits = gpu.tensor(rows, cols.div_ceil(32), &words).unwrap();
            let mut y = poisoned(gpu, rows, cols);
            gpu.run(DropoutBits { x: &x, bits: &bits, y: &mut y, scale: 2.0 }).unwrap();
            gpu.read(&y).unwrap()
        };
        let Some(y) = equal(&format!("{rows}×{cols}"), on_both_plans(Tile::Register, run)) else {
            return;
        };
        let bytes = wgpu_dropout::mask::bits_to_bytes(&words, rows, cols).unwrap();
        oracle::dropout_bytes(&x, &bytes, 2.0).check("dropout_bits", &y).unwrap();
    }
}

#[test]
fn mask_bytes_in_windows() {
    for (rows, cols, row, col) in
        [(300, 1000, 0, 0), (700, 1003, 5, 6), (60_000, 3, 1 << 31, 3), (2, 100_001, 0, 1)]
    {
        let mask = site(0.3, row, col).mask;
        let run = |gpu: &mut Gpu| {
            let mut bytes = gpu.tensor(rows, cols, &vec![7u8; rows * cols]).unwrap();
            gpu.run(MaskBytes { bytes: &mut bytes, mask }).unwrap();
            gpu.read(&bytes).unwrap()
        };
        let Some([whole, parts]) = on_both_plans(Tile::Register, run) else { return };
        assert!(whole == parts, "{rows}×{cols} at {row}, {col}");
        assert!(whole == mask.bytes(rows, cols).unwrap(), "{rows}×{cols} at {row}, {col}");
    }
}
