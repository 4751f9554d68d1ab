//! The mask contract, version 1: the published check vectors, and the same bits from every backend,
//! kernel, shard and offset.

mod common;

use common::raw::Raw;
use common::{MULTIPLICATIONS, poisoned};
use rand::Rng;
use sha2::{Digest, Sha256};
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    DropoutCall, Features, Gather, GradInput, GradWeight, LinearForward, MaskBits,
};
use wgpu_dropout::gpu::{Params, Place, Stem, Variant};
use wgpu_dropout::mask::{MAX_COLS, MAX_ROWS, bits_to_bytes};
use wgpu_dropout::philox::{PhiloxRng, philox4x32};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate};

/// A check vector: the mask, rows, cols, the number of elements kept, and the SHA-256 of its bytes.
type Vector = (Mask, usize, usize, usize, &'static str);

fn mask(seed: u64, layer: u32, step: u32, keep: f64) -> Mask {
    Mask::new(Rate::keep(keep).unwrap(), Key { seed, layer, step })
}

fn published() -> [Vector; 4] {
    [
        (
            mask(42, 0, 0, 0.5),
            1000,
            1000,
            500_239,
            "399c7c7c2634229e7b2bd21740720c0cdc860fed903d3ba3891700bacff94091",
        ),
        (
            mask(0xDEAD_BEEF_CAFE_F00D, 3, 7, 0.8),
            257,
            131,
            26_951,
            "e7608c7a225e505d02d1e54081d9cf5283f77c48aa525b61f07ae1c15dfc237e",
        ),
        (
            mask(1, 0x8000_0001, u32::MAX, 0.9).at(4_294_967_200, 0),
            64,
            65,
            3_765,
            "91e6de9804d3a8100715ac914580f88ace983192d88dd2d8027977037aff7588",
        ),
        (
            mask(u64::MAX, 5, 123_456, 0.25).at(100, 1000),
            33,
            77,
            645,
            "4191aec02038d40740d904090a272491a39fba898b1034c55bfe1b64f7c2afab",
        ),
    ]
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the mask element by element, computed directly from the equations.
fn naive(mask: &Mask, rows: usize, cols: usize) -> Vec<u8> {
    let t = (mask.rate.keep_asked() * 65536.0 + 0.5).floor() as u32;
    let seed = mask.key.seed;
    let kept = |row: u64, col: u64| {
        let counter = [(col / 8) as u32, row as u32, mask.key.layer, mask.key.step];
        let word = philox4x32(counter, [seed as u32, (seed >> 32) as u32])[(col % 8 / 2) as usize];
        let draw = if col.is_multiple_of(2) { word & 0xffff } else { word >> 16 };
        u8::from(draw < t)
    };
    let rows = mask.row_offset..mask.row_offset + rows as u64;
    rows.flat_map(|row| {
        (mask.col_offset..mask.col_offset + cols as u64).map(move |col| kept(row, col))
    })
    .collect()
}

/// Returns 1 for an output of 1 and 0 for an output of 0. Panics on anything else.
fn as_bytes(output: &[f32]) -> Vec<u8> {
    let byte = |&y: &f32| {
        if y == 1.0 {
            1
        } else if y == 0.0 {
            0
        } else {
            panic!("{y} is neither 0 nor 1")
        }
    };
    output.iter().map(byte).collect()
}

/// Returns the mask that `dropout` draws, by applying it unscaled to ones.
fn through_dropout<B: Backend>(backend: &mut B, mask: Mask, rows: usize, cols: usize) -> Vec<u8> {
    let x = backend.tensor(rows, cols, &vec![1.0; rows * cols]).unwrap();
    let mut y = poisoned(backend, rows, cols);
    backend
        .run(DropoutCall { x: &x, y: &mut y, dropout: Dropout::train(Mode::Vanilla, mask) })
        .unwrap();
    as_bytes(&backend.read(&y).unwrap())
}

#[test]
fn the_check_vectors_hold_on_every_backend() {
    fn check<B: Backend>(backend: &mut B) {
        for (mask, rows, cols, kept, sum) in published() {
            for bytes in [
                backend.read_mask(mask, rows, cols).unwrap(),
                through_dropout(backend, mask, rows, cols),
            ] {
                assert_eq!(
                    bytes.iter().filter(|&&byte| byte == 1).count(),
                    kept,
                    "{} {mask:?}",
                    backend.name()
                );
                assert_eq!(sha256(&bytes), sum, "{} {mask:?}", backend.name());
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// The control of the check vectors: changing any part of the key, the offsets or the rate by its
/// smallest step changes the checksum.
#[test]
fn every_part_of_a_key_changes_the_mask() {
    fn check<B: Backend>(backend: &mut B) {
        let (right, rows, cols, _, sum) = published()[3];
        let Key { seed, layer, step } = right.key;
        let keyed = |seed, layer, step| Mask { key: Key { seed, layer, step }, ..right };
        let wrong = [
            keyed(seed ^ 1, layer, step),
            keyed(seed ^ 1 << 32, layer, step),
            keyed(seed, layer ^ 1, step),
            keyed(seed, layer ^ 0x8000_0000, step),
            keyed(seed, layer, step + 1),
            right.at(101, 1000),
            right.at(100, 1001),
            right.at(100, 1008),
            Mask { rate: Rate::keep(0.26).unwrap(), ..right },
        ];
        for wrong in wrong {
            assert_ne!(
                sha256(&backend.read_mask(wrong, rows, cols).unwrap()),
                sum,
                "{} {wrong:?}",
                backend.name()
            );
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Returns random keys, rates, shapes and offsets that cover every lane of a group of eight and the
/// ends of the coordinate ranges.
fn sweep() -> Vec<(Mask, usize, usize)> {
    let mut rng = PhiloxRng::at(2026, 0);
    let mut cases = Vec::new();
    for i in 0..120u64 {
        let keep = match i % 10 {
            0 => 0.5 / 65536.0,
            1 => 1.0 - 1.0 / 65536.0,
            2 => 0.5,
            _ => f64::from(rng.next_u32()) / f64::from(u32::MAX),
        };
        let rows = rng.next_u32() as usize % 40 + 1;
        let cols = rng.next_u32() as usize % 140 + 1;
        let row = match i % 3 {
            0 => u64::from(rng.next_u32() % 1000),
            1 => MAX_ROWS - rows as u64 - i % 2,
            _ => u64::from(rng.next_u32()).min(MAX_ROWS - rows as u64),
        };
        let col = match i % 4 {
            0 => i / 4 % 9,
            1 => MAX_COLS - cols as u64 - i / 4 % 9,
            2 => 8 * u64::from(rng.next_u32() % 1000) + i / 4 % 9,
            _ => (rng.next_u64() % MAX_COLS).min(MAX_COLS - cols as u64),
        };
        cases.push((
            mask(rng.next_u64(), rng.next_u32(), rng.next_u32(), keep).at(row, col),
            rows,
            cols,
        ));
    }
    cases
}

#[test]
fn every_backend_equals_the_equations_to_the_bit_over_a_sweep() {
    fn check<B: Backend>(backend: &mut B) {
        let mut differ = 0;
        for (mask, rows, cols) in sweep() {
            let right = naive(&mask, rows, cols);
            assert!(
                backend.read_mask(mask, rows, cols).unwrap() == right,
                "{} mask_bits {mask:?} {rows}×{cols}",
                backend.name()
            );
            assert!(
                through_dropout(backend, mask, rows, cols) == right,
                "{} dropout {mask:?} {rows}×{cols}",
                backend.name()
            );
            assert_eq!(mask.bytes(rows, cols).unwrap(), right);
            // The control: the mask of another step differs.
            let next = Mask { key: Key { step: mask.key.step ^ 1, ..mask.key }, ..mask };
            differ += usize::from(naive(&next, rows, cols) != right);
        }
        assert!(differ > 90, "the comparison tells masks apart: {differ} of 120");
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Checks that every kernel that draws gives the mask itself as its output, on ones, or on the
/// identity for a product.
#[test]
fn every_kernel_draws_the_same_mask() {
    fn check<B: Backend>(backend: &mut B) {
        // With the second shape and offset, matrix products can load whole vectors.
        for (rows, cols, at) in [(29, 37, (7, 13)), (32, 40, (3, 16))] {
            let mask = mask(99, 2, 5, 0.4).at(at.0, at.1);
            let dropout = Dropout::train(Mode::Vanilla, mask);
            let right = naive(&mask, rows, cols);
            let identity = |n: usize| {
                (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect::<Vec<f32>>()
            };
            let ones = backend.tensor(rows, cols, &vec![1.0; rows * cols]).unwrap();
            let square = backend.tensor(cols, cols, &identity(cols)).unwrap();
            let small = backend.tensor(rows, rows, &identity(rows)).unwrap();

            let mut y = poisoned(backend, rows, cols);
            for relu in [false, true] {
                let call = LinearForward {
                    x: &ones,
                    weight: &square,
                    bias: None,
                    y: &mut y,
                    relu,
                    dropout,
                };
                backend.run(call).unwrap();
                assert!(
                    as_bytes(&backend.read(&y).unwrap()) == right,
                    "{} linear_forward {rows}×{cols}",
                    backend.name()
                );
            }
            let mut dx = poisoned(backend, rows, cols);
            let call = GradInput {
                grad_output: &ones,
                output: None,
                weight: &square,
                grad_input: &mut dx,
                dropout,
                through: None,
            };
            backend.run(call).unwrap();
            assert!(
                as_bytes(&backend.read(&dx).unwrap()) == right,
                "{} grad_input {rows}×{cols}",
                backend.name()
            );

            let mut dw = poisoned(backend, rows, cols);
            let mut db = poisoned(backend, 1, cols);
            let call = GradWeight {
                x: &small,
                grad_output: &ones,
                output: None,
                grad_weight: &mut dw,
                grad_bias: &mut db,
                dropout,
            };
            backend.run(call).unwrap();
            assert!(
                as_bytes(&backend.read(&dw).unwrap()) == right,
                "{} grad_weight {rows}×{cols}",
                backend.name()
            );

            let bytes = backend.tensor(rows, cols, &vec![1u8; rows * cols]).unwrap();
            let labels = backend.tensor(rows, 1, &vec![0u32; rows]).unwrap();
            let mut batch_labels = backend.zeros(rows, 1).unwrap();
            for data in [Features::Bytes(&bytes), Features::Floats(&ones)] {
                let mut x = poisoned(backend, rows, cols);
                let labels_out = &mut batch_labels;
                let call = Gather {
                    data,
                    all_labels: &labels,
                    order: &labels,
                    first: 0,
                    unit: 1.0,
                    x: &mut x,
                    labels: labels_out,
                    dropout,
                };
                backend.run(call).unwrap();
                assert!(
                    as_bytes(&backend.read(&x).unwrap()) == right,
                    "{} gather {rows}×{cols}",
                    backend.name()
                );
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

#[test]
fn shards_together_are_the_whole() {
    fn check<B: Backend>(backend: &mut B) {
        let (rows, cols) = (37, 101);
        let whole = mask(7, 4, 11, 0.7).at(1000, 3);
        let right = backend.read_mask(whole, rows, cols).unwrap();
        let mut joined = vec![9; rows * cols];
        for (row, height) in [(0, 1), (1, 19), (20, 17)] {
            for (col, width) in [(0, 5), (5, 8), (13, 50), (63, 38)] {
                let shard = whole.at(whole.row_offset + row as u64, whole.col_offset + col as u64);
                let part = through_dropout(backend, shard, height, width);
                for (r, part) in part.chunks(width).enumerate() {
                    joined[(row + r) * cols + col..][..width].copy_from_slice(part);
                }
            }
        }
        assert!(joined == right, "{}", backend.name());
        // The control: a shard without its offset draws something else.
        assert!(
            through_dropout(backend, whole, 17, 38)
                != through_dropout(backend, whole.at(1020, 66), 17, 38)
        );
    }
    on_backends!(check, MULTIPLICATIONS);
}

#[test]
fn bits_past_the_last_column_are_zero() {
    fn check<B: Backend>(backend: &mut B) {
        for cols in [1usize, 7, 8, 31, 32, 33, 63, 64, 65, 127] {
            for keep in [0.0, 0.6, 1.0] {
                let rows = 5;
                let mask = mask(3, 1, 4, keep).at(2, 5);
                let words = cols.div_ceil(32);
                let mut bits =
                    backend.tensor(rows, words, &vec![0xdead_beef; rows * words]).unwrap();
                backend.run(MaskBits { bits: &mut bits, cols, mask }).unwrap();
                let read = backend.read(&bits).unwrap();
                assert_eq!(
                    bits_to_bytes(&read, rows, cols).unwrap(),
                    naive(&mask, rows, cols),
                    "{} {cols}",
                    backend.name()
                );
                let padding = if cols % 32 == 0 { 0 } else { u32::MAX << (cols % 32) };
                for row in read.chunks(words) {
                    assert_eq!(
                        row[words - 1] & padding,
                        0,
                        "{} {cols} columns, keep {keep}",
                        backend.name()
                    );
                }
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

#[test]
fn rates_0_and_1_drop_everything_and_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        for (keep, expected) in [(0.0, 0), (1.0, 1)] {
            let mask = mask(5, 0, 0, keep).at(1, 3);
            assert!(backend.read_mask(mask, 33, 65).unwrap().iter().all(|&byte| byte == expected));
            assert!(through_dropout(backend, mask, 33, 65).iter().all(|&byte| byte == expected));
        }
        // At a distance of 1/65,536 from either rate, a mask is neither all 0 nor all 1.
        for keep in [1.0 / 65536.0, 65535.0 / 65536.0] {
            let bytes = backend.read_mask(mask(5, 0, 0, keep), 1000, 1000).unwrap();
            let rare = bytes.iter().filter(|&&byte| (byte == 1) == (keep < 0.5)).count();
            assert!((1..60).contains(&rare), "{}: {rare} of about 15", backend.name());
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

#[test]
fn a_tensor_of_no_elements_has_an_empty_mask() {
    fn check<B: Backend>(backend: &mut B) {
        for (rows, cols) in [(0, 5), (5, 0), (0, 0)] {
            assert!(backend.read_mask(mask(1, 2, 3, 0.5), rows, cols).unwrap().is_empty());
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Checks the ends of the coordinates, 2^32 rows and 2^35 columns: one past them is refused, and
/// the last ones follow the equations (see the sweep).
#[test]
fn coordinates_past_the_contract_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        for (row, col, bound) in [
            (MAX_ROWS - 4, 0, MAX_ROWS),
            (u64::MAX, 0, MAX_ROWS),
            (0, MAX_COLS - 8, MAX_COLS),
            (0, u64::MAX, MAX_COLS),
        ] {
            let error = backend.read_mask(mask(1, 2, 3, 0.5).at(row, col), 5, 9).unwrap_err();
            assert!(
                matches!(error, Error::TooLarge { value, bound: b, .. } if b == bound && value > b),
                "{}: {error}",
                backend.name()
            );
        }
        let last = mask(1, 2, 3, 0.5).at(MAX_ROWS - 5, MAX_COLS - 9);
        assert!(backend.read_mask(last, 5, 9).unwrap() == naive(&last, 5, 9), "{}", backend.name());
    }
    on_backends!(check);
}

/// Returns the mask that a WGSL text computes on a raw device.
fn mask_of(raw: &Raw, wgsl: &str, mask: &Mask, rows: usize, cols: usize) -> Vec<u8> {
    let words = cols.div_ceil(32);
    let mut params = Params {
        rows: rows as u32,
        cols: cols as u32,
        grid: (rows * words).div_ceil(64) as u32,
        seed_low: mask.key.seed as u32,
        seed_high: (mask.key.seed >> 32) as u32,
        layer: mask.key.layer,
        step: mask.key.step,
        threshold: mask.rate.threshold(),
        ..Params::default()
    };
    params.tensors[0] = Place { start: 0, stride: words as u32 };
    let bits = raw.buffer(&vec![0xdead_beefu32; rows * words]);
    let params_buffer = raw.buffer_for(&[params], wgpu::BufferUsages::UNIFORM);
    let pipeline = raw.pipeline(wgsl);
    let groups = [raw.group(&pipeline, 0, &[&bits]), raw.group(&pipeline, 1, &[&params_buffer])];
    let mut encoder = raw.device.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&pipeline);
        pass.set_bind_group(0, &groups[0], &[]);
        pass.set_bind_group(1, &groups[1], &[]);
        pass.dispatch_workgroups(params.grid, 1, 1);
    }
    raw.queue.submit([encoder.finish()]);
    bits_to_bytes(&raw.read(&bits), rows, cols).unwrap()
}

/// The control of all tests above: a shader that differs in one bit of one constant, or that loses
/// a carry, gives another mask.
#[test]
fn one_changed_constant_of_philox_shows() {
    let Some(raw) = Raw::open() else { return };
    let mask = mask(42, 0, 0, 0.5);
    let rows = 64;
    let cols = 96;
    let right = mask.bytes(rows, cols).unwrap();
    for int64 in [false, raw.device.features().contains(wgpu::Features::SHADER_INT64)] {
        let wgsl = Variant { int64, ..Variant::new(Stem::MaskBits) }.source();
        assert!(
            mask_of(&raw, &wgsl, &mask, rows, cols) == right,
            "the text as it is gives the contract's mask"
        );
        let own = if int64 { ("(b >> 32u)", "(b >> 31u)") } else { (" + (cross >> 16u)", "") };
        for (constant, changed) in [
            ("0xD2511F53", "0xD2511F52"),
            ("0xCD9E8D57", "0xCD9E8D56"),
            ("0x9E3779B9", "0x9E3779B8"),
            ("0xBB67AE85", "0xBB67AE84"),
            ("0xffffu)) < threshold", "0x7fffu)) < threshold"),
            own,
        ] {
            assert!(wgsl.contains(constant), "{constant} is in the text");
            let wrong = mask_of(&raw, &wgsl.replace(constant, changed), &mask, rows, cols);
            let differ = wrong.iter().zip(&right).filter(|(a, b)| a != b).count();
            assert!(differ > rows * cols / 10, "{constant} as {changed}: {differ} bits differ");
        }
    }
}
