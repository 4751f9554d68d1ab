//! `dropout`, `copy` and `gather`: one read and one write per element.

use crate::common::{Form, MULTIPLICATIONS, noise, poisoned, same_bits};
use crate::{on_backends, sites};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{CopyCall, DropoutCall, Features, Gather};
use wgpu_dropout::oracle::{self, Exact};
use wgpu_dropout::{Dropout, Mode};

const SHAPES: [[usize; 2]; 18] = [
    [1, 1],
    [1, 7],
    [1, 12],
    [1, 64],
    [7, 1],
    [3, 8],
    [9, 9],
    [63, 64],
    [64, 63],
    [65, 65],
    [127, 4],
    [4, 12],
    [2, 129],
    [129, 2],
    [13, 1009],
    [0, 5],
    [5, 0],
    [0, 0],
];

fn drop_on<B: Backend>(
    backend: &mut B,
    x: &[f32],
    [rows, cols]: [usize; 2],
    dropout: Dropout,
) -> Vec<f32> {
    let x = backend.tensor(rows, cols, x).unwrap();
    let mut y = poisoned(backend, rows, cols);
    backend.run(DropoutCall { x: &x, y: &mut y, dropout }).unwrap();
    backend.read(&y).unwrap()
}

#[test]
fn dropout_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in SHAPES {
            let x = noise(1, shape[0] * shape[1]);
            for dropout in sites() {
                let what = format!("{} dropout {shape:?} {dropout:?}", backend.name());
                let y = drop_on(backend, &x, shape, dropout);
                oracle::dropout(&x, shape[1], &dropout).check(&what, &y).unwrap();
                if dropout.scale.log2().fract() == 0.0 {
                    // One multiplication by a power of two is exact.
                    same_bits(&what, &y, &drop_on(&mut Cpu::reference(), &x, shape, dropout))
                        .unwrap();
                }
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

#[test]
fn nan_and_infinity_do_not_survive_being_dropped() {
    fn check<B: Backend>(backend: &mut B) {
        for mode in [Mode::Vanilla, Mode::Inverted] {
            for special in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                for keep in [0.0, 0.4, 1.0] {
                    let dropout = Dropout::train(mode, crate::mask(keep));
                    let x = vec![special; 20 * 33];
                    let y = drop_on(backend, &x, [20, 33], dropout);
                    let right: Vec<f32> = (0..x.len())
                        .map(|i| if dropout.mask.keeps(i / 33, i % 33) { special } else { 0.0 })
                        .collect();
                    same_bits(&format!("{} {special} keep {keep}", backend.name()), &y, &right)
                        .unwrap();
                }
            }
        }
    }
    on_backends!(check);
}

/// Checks that the backward pass of plain dropout is the same kernel applied to the gradient:
///
/// ⟨dropout(x), g⟩ = ⟨x, dropout(g)⟩.
#[test]
fn dropout_is_its_own_backward_pass() {
    fn check<B: Backend>(backend: &mut B) {
        let shape = [31, 65];
        let x = noise(5, 31 * 65);
        let g = noise(6, 31 * 65);
        let dot = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
        };
        let dropout = Dropout::train(Mode::Inverted, crate::mask(0.6));
        let forward = dot(&drop_on(backend, &x, shape, dropout), &g);
        let backward = dot(&x, &drop_on(backend, &g, shape, dropout));
        assert!((forward - backward).abs() < 1e-4, "{forward} {backward}");
        let other = Dropout::train(Mode::Inverted, crate::mask(0.6).at(1, 0));
        let wrong = dot(&x, &drop_on(backend, &g, shape, other));
        assert!((forward - wrong).abs() > 1e-2, "the control, another mask: {forward} {wrong}");
    }
    on_backends!(check);
}

#[test]
fn copy_copies_every_bit() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            let values = noise(2, rows * cols);
            let x = backend.tensor(rows, cols, &values).unwrap();
            let mut y = poisoned(backend, rows, cols);
            backend.run(CopyCall { x: &x, y: &mut y }).unwrap();
            same_bits("copy", &backend.read(&y).unwrap(), &values).unwrap();
        }
    }
    on_backends!(check);
}

/// `[data rows, cols, batch, first]`
const GATHERS: [[usize; 4]; 9] = [
    [1, 1, 1, 0],
    [50, 3, 7, 5],
    [50, 8, 65, 0],
    [50, 64, 32, 18],
    [33, 65, 9, 1],
    [20, 129, 5, 2],
    [70, 4, 64, 6],
    [5, 7, 0, 3],
    [4, 0, 3, 0],
];

#[test]
fn gather_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for [count, cols, batch, first] in GATHERS {
            let bytes: Vec<u8> =
                noise(7, count * cols).iter().map(|x| (x * 127.5 + 127.5) as u8).collect();
            let floats = noise(8, count * cols);
            let labels: Vec<u32> = (0..count as u32).map(|row| row * 7 + 1).collect();
            // Row indices in no particular order, some of them repeated.
            let order: Vec<u32> = noise(9, first + batch + 2)
                .iter()
                .map(|x| ((x + 1.0) * 0.5 * count as f32) as u32 % count as u32)
                .collect();
            let byte_tensor = backend.tensor(count, cols, &bytes).unwrap();
            let float_tensor = backend.tensor(count, cols, &floats).unwrap();
            let label_tensor = backend.tensor(count, 1, &labels).unwrap();
            let order_tensor = backend.tensor(order.len(), 1, &order).unwrap();
            let rows = &order[first..first + batch];
            for dropout in sites() {
                for (is_bytes, unit) in
                    [(true, 1.0 / 255.0), (true, 1.0 / 16.0), (false, 1.0), (false, 0.3)]
                {
                    let what =
                        format!("{} gather {count}×{cols} to {batch} {dropout:?}", backend.name());
                    let data = if is_bytes {
                        Features::Bytes(&byte_tensor)
                    } else {
                        Features::Floats(&float_tensor)
                    };
                    let mut x = poisoned(backend, batch, cols);
                    let mut batch_labels =
                        backend.tensor(batch, 1, &vec![u32::MAX; batch]).unwrap();
                    let call = Gather {
                        data,
                        all_labels: &label_tensor,
                        order: &order_tensor,
                        first,
                        unit,
                        x: &mut x,
                        labels: &mut batch_labels,
                        dropout,
                    };
                    backend.run(call).unwrap();
                    let datum = |i: usize| {
                        if is_bytes { f64::from(bytes[i]) } else { f64::from(floats[i]) }
                    };
                    let mut right = Exact { terms: 1, ..Exact::default() };
                    for (r, &row) in rows.iter().enumerate() {
                        for c in 0..cols {
                            let value = datum(row as usize * cols + c)
                                * f64::from(unit)
                                * f64::from(dropout.scale);
                            let value = if dropout.mask.keeps(r, c) { value } else { 0.0 };
                            right.values.push(value);
                            right.magnitudes.push(value.abs());
                        }
                    }
                    right.check(&what, &backend.read(&x).unwrap()).unwrap();
                    let expected: Vec<u32> = rows.iter().map(|&row| labels[row as usize]).collect();
                    assert_eq!(backend.read(&batch_labels).unwrap(), expected, "{what}");
                }
            }
        }
    }
    on_backends!(check, [Form::Usual, Form::Downlevel]);
}

/// Checks that an index past the data affects only its own row of the mini-batch.
#[test]
fn gather_past_the_data_leaves_the_other_rows_right() {
    fn check<B: Backend>(backend: &mut B) {
        let (count, cols) = (10, 9);
        let values = noise(10, count * cols);
        let data = backend.tensor(count, cols, &values).unwrap();
        let labels = backend.tensor(count, 1, &[4u32; 10]).unwrap();
        let order = backend.tensor(5, 1, &[3, u32::MAX, 10, 0x8000_0000, 7]).unwrap();
        let mut x = poisoned(backend, 5, cols);
        let mut batch_labels = backend.zeros(5, 1).unwrap();
        let call = Gather {
            data: Features::Floats(&data),
            all_labels: &labels,
            order: &order,
            first: 0,
            unit: 1.0,
            x: &mut x,
            labels: &mut batch_labels,
            dropout: Dropout::NONE,
        };
        backend.run(call).unwrap();
        let x = backend.read(&x).unwrap();
        for (row, source) in [(0, 3), (4, 7)] {
            same_bits("row", &x[row * cols..][..cols], &values[source * cols..][..cols]).unwrap();
        }
    }
    on_backends!(check);
}
