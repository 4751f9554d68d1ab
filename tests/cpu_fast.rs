//! The fast CPU path: on every instruction set it gives the reference's bits, whatever the shape,
//! offset and number of threads. Matrix products are within the oracle's bound.

mod common;

use common::{noise, poisoned};
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{GradInput, GradWeight, LinearForward, SgdRule};
use wgpu_dropout::cpu::{fast, reference};
use wgpu_dropout::{
    AlphaDropout, AxisMap, Backend, Dropout, GaussianDropout, Key, Mask, Mode, Rate, oracle,
};

const SHAPES: [(usize, usize); 10] = [
    (1, 1),
    (3, 7),
    (5, 64),
    (64, 5),
    (2, 1000),
    (9, 2049),
    (1, 70_001),
    (2, 40_000),
    (0, 5),
    (5, 0),
];
/// Rows of whole pairs of words, of which AVX-512 takes several at a time: fewer rows than a job,
/// more than one job, and a last job of one row.
const RUNS: [(usize, usize); 5] = [(3, 128), (2, 384), (70, 1024), (257, 256), (9, 40_064)];

fn site(keep: f64, row: u64, col: u64) -> Dropout {
    let key = Key { seed: 0xDEAD_BEEF_CAFE_F00D, layer: 3, step: 7 };
    Dropout::train(Mode::Inverted, Mask::new(Rate::keep(keep).unwrap(), key).at(row, col))
}

/// Returns the first element at which two results differ in a bit. All NaNs count as equal.
fn difference(a: &[f32], b: &[f32]) -> Option<usize> {
    assert_eq!(a.len(), b.len());
    (0..a.len()).find(|&i| a[i].to_bits() != b[i].to_bits() && !(a[i].is_nan() && b[i].is_nan()))
}

#[test]
fn dropout_is_the_reference_to_the_bit() {
    for (rows, cols) in SHAPES {
        let mut x = noise(1, rows * cols);
        x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
        for col in [0, 1, 3, 7, 8, 1001, (1 << 35) - 80_000] {
            for keep in [0.0, 1e-5, 0.3, 0.5, 0.999_99, 1.0] {
                let dropout = site(keep, (1 << 32) - 100, col);
                let mut expected = vec![f32::NAN; x.len()];
                reference::dropout(&x, &mut expected, cols, &dropout);
                for isa in fast::Isa::available() {
                    let mut y = vec![f32::NAN; x.len()];
                    fast::dropout(isa, &x, &mut y, cols, &dropout);
                    assert_eq!(
                        difference(&expected, &y),
                        None,
                        "{isa} {rows}×{cols} from column {col}, keep {keep}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_mask_of_another_step_is_told_apart() {
    let x = noise(1, 4096);
    let mut a = vec![0.0; 4096];
    let mut b = vec![0.0; 4096];
    let dropout = site(0.5, 0, 0);
    let mut other = site(0.5, 0, 0);
    other.mask.key.step += 1;
    reference::dropout(&x, &mut a, 64, &dropout);
    fast::dropout(fast::Isa::best(), &x, &mut b, 64, &other);
    assert!(difference(&a, &b).is_some());
}

#[test]
fn bits_are_the_reference_s() {
    for (rows, cols) in SHAPES {
        for col in [0, 5, 64] {
            for keep in [0.0, 0.4, 1.0] {
                let mask = site(keep, 9, col).mask;
                let words = rows * cols.div_ceil(32);
                let mut expected = vec![u32::MAX; words];
                reference::mask_bits(&mut expected, cols, &mask);
                for isa in fast::Isa::available() {
                    let mut bits = vec![u32::MAX; words];
                    fast::mask_bits(isa, &mut bits, cols, &mask);
                    assert_eq!(
                        bits, expected,
                        "{isa} {rows}×{cols} from column {col}, keep {keep}"
                    );
                }
            }
        }
    }
}

/// Checks runs of rows from local column 0, aligned to a group of draws and not, into outputs that
/// start anywhere in a cache line.
#[test]
fn runs_of_rows_are_the_reference_to_the_bit() {
    for (rows, cols) in RUNS {
        let x = noise(1, rows * cols);
        for (start, col) in [(0, 0), (1, 8), (6, 1000), (15, (1 << 35) - 128), (3, 5)] {
            let dropout = site(0.3, (1 << 32) - 2, col);
            let alpha = AlphaDropout::train(dropout.mask);
            let mut expected = vec![f32::NAN; x.len()];
            let mut y = vec![f32::NAN; start + x.len()];
            for isa in fast::Isa::available() {
                reference::dropout(&x, &mut expected, cols, &dropout);
                fast::dropout(isa, &x, &mut y[start..], cols, &dropout);
                assert_eq!(
                    difference(&expected, &y[start..]),
                    None,
                    "{isa} {rows}×{cols} from column {col}"
                );
                reference::alpha_dropout(&x, &mut expected, cols, &alpha);
                fast::alpha_dropout(isa, &x, &mut y[start..], cols, &alpha);
                assert_eq!(
                    difference(&expected, &y[start..]),
                    None,
                    "{isa} {rows}×{cols} from column {col}, alpha"
                );
            }
            assert!(y[..start].iter().all(|y| y.is_nan()), "nothing before the output is written");
        }
    }
}

/// Checks outputs so large that stores bypass the caches, for rows that start anywhere in a cache
/// line and for runs of rows.
#[test]
fn large_outputs_are_the_reference_to_the_bit() {
    for (rows, cols, col) in [(8, (1 << 20) + 3, 5), ((1 << 13) + 1, 1024, 8)] {
        let mut x = noise(1, rows * cols);
        (x[5], x[cols + 9]) = (f32::NAN, f32::NEG_INFINITY);
        let dropout = site(0.4, 7, col);
        let alpha = AlphaDropout::train(dropout.mask);
        let mut expected = vec![f32::NAN; x.len()];
        let mut y = vec![f32::NAN; x.len()];
        reference::alpha_dropout(&x, &mut expected, cols, &alpha);
        for isa in fast::Isa::available() {
            y.fill(f32::NAN);
            fast::alpha_dropout(isa, &x, &mut y, cols, &alpha);
            assert_eq!(difference(&expected, &y), None, "{isa} {rows}×{cols}, alpha");
        }
        reference::dropout(&x, &mut expected, cols, &dropout);
        for isa in fast::Isa::available() {
            y.fill(f32::NAN);
            fast::dropout(isa, &x, &mut y, cols, &dropout);
            assert_eq!(difference(&expected, &y), None, "{isa} {rows}×{cols}");
        }
    }
}

/// Checks rows that are divided among threads. Some labels are past the classes.
#[test]
fn losses_are_the_reference_s_to_the_bit() {
    for (rows, classes) in [(3, 10), (2000, 10), (4097, 1), (5, 5000), (1500, 33)] {
        let logits = noise(1, rows * classes);
        let labels: Vec<u32> = (0..rows as u32).map(|row| row * 7 % (classes as u32 + 1)).collect();
        let mut results =
            [(); 2].map(|()| (vec![f32::NAN; logits.len()], vec![f32::NAN; 2 * rows]));
        let [(expected_dz, expected_losses), (dz, losses)] = &mut results;
        reference::softmax_cross_entropy(
            &logits,
            &labels,
            expected_dz,
            expected_losses,
            classes,
            rows + 3,
        );
        fast::softmax_cross_entropy(&logits, &labels, dz, losses, classes, rows + 3);
        assert_eq!(
            (difference(expected_dz, dz), difference(expected_losses, losses)),
            (None, None),
            "{rows}×{classes}"
        );
        // The control: another batch size changes each row's share.
        fast::softmax_cross_entropy(&logits, &labels, dz, losses, classes, rows);
        assert!(classes == 1 || difference(expected_dz, dz).is_some());
    }
}

#[test]
fn forms_of_dropout_are_the_reference_s_to_the_bit() {
    for (rows, cols) in SHAPES {
        let mut x = noise(1, rows * cols);
        x.iter_mut().step_by(97).for_each(|x| *x = f32::NAN);
        for (col, keep) in [(0, 0.0), (0, 0.3), (5, 0.3), (1001, 0.999), (64, 1.0)] {
            let dropout = site(keep, (1 << 32) - 100, col);
            let alpha = AlphaDropout::train(dropout.mask);
            let axes = [
                AxisMap::over_time(&[1, rows, cols]),
                AxisMap::drop_path(&[rows, cols]),
                AxisMap::new(&[rows, cols], &[], &[0, 1]),
                AxisMap::new(&[rows, cols], &[], &[1, 0]),
            ]
            .map(Result::unwrap);
            let bits: Vec<u32> =
                noise(2, rows * cols.div_ceil(32)).iter().map(|x| x.to_bits() << 9).collect();
            let all = |isa: Option<fast::Isa>| {
                let mut ys = vec![vec![f32::NAN; x.len()]; 3 + axes.len()];
                let mut bytes = vec![7u8; x.len()];
                let gaussian = GaussianDropout::train(dropout.mask);
                match isa {
                    Some(isa) => {
                        fast::alpha_dropout(isa, &x, &mut ys[0], cols, &alpha);
                        gaussian.iter().for_each(|site| {
                            fast::gaussian_dropout(isa, &x, &mut ys[1], cols, site)
                        });
                        fast::dropout_bits(&x, &bits, &mut ys[2], cols, 0.3);
                        ys[3..].iter_mut().zip(&axes).for_each(|(y, axes)| {
                            fast::dropout_broadcast(isa, &x, y, axes, &dropout)
                        });
                        fast::mask_bytes(isa, &mut bytes, cols, &dropout.mask);
                    }
                    None => {
                        reference::alpha_dropout(&x, &mut ys[0], cols, &alpha);
                        gaussian.iter().for_each(|site| {
                            reference::gaussian_dropout(&x, &mut ys[1], cols, site)
                        });
                        reference::dropout_bits(&x, &bits, &mut ys[2], cols, 0.3);
                        ys[3..].iter_mut().zip(&axes).for_each(|(y, axes)| {
                            reference::dropout_broadcast(&x, y, axes, &dropout)
                        });
                        reference::mask_bytes(&mut bytes, cols, &dropout.mask);
                    }
                }
                ys.push(bytes.into_iter().map(f32::from).collect());
                ys
            };
            let expected = all(None);
            for isa in fast::Isa::available() {
                for (i, (expected, got)) in expected.iter().zip(all(Some(isa))).enumerate() {
                    assert_eq!(
                        difference(expected, &got),
                        None,
                        "{isa} form {i} {rows}×{cols} from column {col}, keep {keep}"
                    );
                }
            }
            // The control: no two successive forms give the same result.
            if x.len() > 1000 && rows > 1 && keep == 0.3 {
                (1..expected.len()).for_each(|i| {
                    assert!(difference(&expected[i - 1], &expected[i]).is_some(), "forms {i}")
                });
            }
        }
    }
}

#[test]
fn a_layer_is_within_the_oracle_s_bound() {
    for isa in fast::Isa::available() {
        // Includes shapes larger than a block of terms and a panel of rows, and a single row, for
        // which weights are read in place.
        for shape in [
            [1, 1, 1],
            [7, 13, 129],
            [64, 65, 63],
            [130, 200, 150],
            [3, 0, 5],
            [29, 1030, 77],
            [1, 700, 200],
            [600, 9, 20],
        ] {
            let [batch, inputs, outputs] = shape;
            let mut cpu = Cpu::with_isa(isa);
            let x = noise(1, batch * inputs);
            let w = noise(2, inputs * outputs);
            let b = noise(3, outputs);
            let dy = noise(4, batch * outputs);
            let tensors = [
                (batch, inputs, &x),
                (inputs, outputs, &w),
                (1, outputs, &b),
                (batch, outputs, &dy),
            ];
            let [tx, tw, tb, tdy] =
                tensors.map(|(rows, cols, values)| cpu.tensor(rows, cols, values).unwrap());
            for relu in [true, false] {
                let dropout = site(0.6, 3, 5);
                let mut y = poisoned(&mut cpu, batch, outputs);
                cpu.run(LinearForward {
                    x: &tx,
                    weight: &tw,
                    bias: Some(&tb),
                    y: &mut y,
                    relu,
                    dropout,
                })
                .unwrap();
                oracle::linear_forward(&x, &w, Some(&b), shape, relu, &dropout)
                    .check("y", y.values())
                    .unwrap();
                let output = relu.then_some(&y);
                let dz = oracle::gradient(&dy, output.map(|y| y.values()), outputs, &dropout);
                let mut dx = poisoned(&mut cpu, batch, inputs);
                cpu.run(GradInput {
                    grad_output: &tdy,
                    output,
                    weight: &tw,
                    grad_input: &mut dx,
                    dropout,
                    through: None,
                })
                .unwrap();
                oracle::grad_input(&dz, &w, shape).check("dx", dx.values()).unwrap();
                let mut dw = poisoned(&mut cpu, inputs, outputs);
                let mut db = poisoned(&mut cpu, 1, outputs);
                cpu.run(GradWeight {
                    x: &tx,
                    grad_output: &tdy,
                    output,
                    grad_weight: &mut dw,
                    grad_bias: &mut db,
                    dropout,
                })
                .unwrap();
                let (exact_dw, exact_db) = oracle::grad_weight(&x, &dz, shape);
                exact_dw.check("dw", dw.values()).unwrap();
                exact_db.check("db", db.values()).unwrap();
            }
        }
    }
}

/// Returns a product that computes each element as one chain of fused multiply-adds.
fn chain(x: &[f32], w: &[f32], [batch, inputs, outputs]: [usize; 3]) -> Vec<f32> {
    let element = |at: usize| {
        let (row, col) = (at / outputs, at % outputs);
        (0..inputs).fold(0.0f32, |sum, k| x[row * inputs + k].mul_add(w[k * outputs + col], sum))
    };
    (0..batch * outputs).map(element).collect()
}

#[test]
fn a_product_is_one_ascending_chain_whatever_the_blocks_and_threads() {
    for shape in [[1, 1500, 130], [3, 5, 1], [40, 1100, 300], [200, 33, 65]] {
        let [batch, inputs, outputs] = shape;
        let x = noise(5, batch * inputs);
        let w = noise(6, inputs * outputs);
        let expected = chain(&x, &w, shape);
        for isa in fast::Isa::available().into_iter().filter(|&isa| isa != fast::Isa::Portable) {
            for threads in [1, 2, 7] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut y = vec![f32::NAN; expected.len()];
                pool.install(|| {
                    fast::linear_forward(
                        isa,
                        &x,
                        &w,
                        None,
                        &mut y,
                        [inputs, outputs],
                        false,
                        &Dropout::NONE,
                    )
                });
                assert_eq!(difference(&expected, &y), None, "{isa} {shape:?} on {threads} threads");
            }
        }
    }
}

#[test]
fn a_chain_of_two_roundings_is_told_apart() {
    let shape @ [batch, inputs, outputs] = [2, 50, 3];
    let x = noise(5, batch * inputs);
    let w = noise(6, inputs * outputs);
    let mut y = vec![f32::NAN; batch * outputs];
    reference::linear_forward(&x, &w, None, &mut y, [inputs, outputs], false, &Dropout::NONE);
    assert!(difference(&chain(&x, &w, shape), &y).is_some());
}

#[test]
fn an_update_is_the_reference_s_to_the_bit() {
    for (rows, cols) in [(1, 1), (3, 70), (300, 129), (1000, 64), (0, 3), (3, 0)] {
        for (momentum, weight_decay, max_norm) in
            [(0.0, 0.0, None), (0.9, 0.1, None), (0.5, 0.0, Some(0.7))]
        {
            let rule = SgdRule { momentum, weight_decay, max_norm, ..SgdRule::plain(0.25) };
            let grad = noise(1, rows * cols);
            let start = noise(2, rows * cols);
            let velocity = noise(3, rows * cols);
            let run = |isa: Option<fast::Isa>| {
                let mut w = start.clone();
                let mut v = velocity.clone();
                let kept = (momentum != 0.0).then_some(&mut v[..]);
                match isa {
                    Some(isa) => fast::sgd(isa, &grad, &mut w, kept, cols, &rule),
                    None => reference::sgd(&grad, &mut w, kept, cols, &rule),
                }
                w.extend(v);
                w
            };
            let expected = run(None);
            for isa in fast::Isa::available() {
                assert_eq!(
                    difference(&expected, &run(Some(isa))),
                    None,
                    "{isa} {rows}×{cols} {rule:?}"
                );
            }
        }
    }
}

#[test]
fn a_mini_batch_is_the_reference_s_to_the_bit() {
    for cols in [1, 64, 77, 784] {
        let data: Vec<u8> = (0..50 * cols).map(|i| (i * 31 % 251) as u8).collect();
        let all_labels: Vec<u32> = (0..50).collect();
        // Index 50 is past the data, so its rows stay as they are.
        let order: Vec<u32> = (0..90).map(|i| i * 7 % 51).collect();
        let value = |byte: u8| f32::from(byte) / 255.0;
        let dropout = site(0.8, 5, 3);
        let mut x = vec![9.0; 90 * cols];
        let mut labels = vec![9; 90];
        reference::gather(&data, value, &all_labels, &order, &mut x, &mut labels, cols, &dropout);
        for isa in fast::Isa::available() {
            let mut y = vec![9.0; 90 * cols];
            let mut found = vec![9; 90];
            fast::gather(
                isa,
                &data,
                value,
                &all_labels,
                &order,
                &mut y,
                &mut found,
                cols,
                &dropout,
            );
            assert_eq!((difference(&x, &y), &labels), (None, &found), "{isa} {cols} columns");
        }
    }
}

#[test]
fn a_fused_update_is_the_gradient_and_the_update_to_the_bit() {
    for shape in [[1, 1, 1], [37, 129, 70], [1100, 45, 200], [3, 0, 5], [0, 3, 5]] {
        let [batch, inputs, outputs] = shape;
        let x = noise(1, batch * inputs);
        let dz = noise(2, batch * outputs);
        let weight = noise(3, inputs * outputs);
        let bias = noise(4, outputs);
        for momentum in [0.0, 0.9] {
            let rule = SgdRule { momentum, weight_decay: 0.1, l1: 0.05, ..SgdRule::plain(0.25) };
            for isa in fast::Isa::available() {
                let dropout = Dropout::NONE;
                let gradient = fast::Gradient { grad_output: &dz, output: None, dropout: &dropout };
                let mut dw = vec![f32::NAN; weight.len()];
                let mut db = vec![f32::NAN; outputs];
                fast::grad_weight(isa, &x, gradient, &mut dw, &mut db, [inputs, outputs]);
                let mut expected =
                    [weight.clone(), vec![0.5; weight.len()], bias.clone(), vec![0.5; outputs]];
                let mut fused = expected.clone();
                let [w, vw, b, vb] = &mut expected;
                let kept = |v| (momentum != 0.0).then_some(v);
                fast::sgd(isa, &dw, w, kept(&mut vw[..]), outputs, &rule);
                fast::sgd(isa, &db, b, kept(&mut vb[..]), outputs, &rule.for_bias());
                let [w, vw, b, vb] = &mut fused;
                let velocity = (momentum != 0.0).then_some((&mut vw[..], &mut vb[..]));
                fast::grad_weight_sgd(isa, &x, &dz, w, b, velocity, [inputs, outputs], &rule);
                for (fused, expected) in fused.iter().zip(&expected) {
                    assert_eq!(
                        difference(expected, fused),
                        None,
                        "{isa} {shape:?} momentum {momentum}"
                    );
                }
            }
        }
    }
}
