//! Checks every kernel against the f64 oracle, on the CPU and on the GPU in each tile: ragged
//! shapes, rates, modes, poisoned outputs.
//!
//! There is one module per family of kernels. Sums of small whole numbers are exact in f32, so for
//! them every backend and tile must give the same bits.

#[path = "kernels/activation.rs"]
mod activation;
#[path = "kernels/attention.rs"]
mod attention;
mod common;
#[path = "kernels/convolution.rs"]
mod convolution;
#[path = "kernels/elementwise.rs"]
mod elementwise;
#[path = "kernels/ensemble.rs"]
mod ensemble;
#[path = "kernels/forms.rs"]
mod forms;
#[path = "kernels/loss.rs"]
mod loss;
#[path = "kernels/normalization.rs"]
mod normalization;
#[path = "kernels/products.rs"]
mod products;
#[path = "kernels/sgd.rs"]
mod sgd;
#[path = "kernels/sparsity.rs"]
mod sparsity;
#[path = "kernels/squared_error.rs"]
mod squared_error;

use wgpu_dropout::oracle::Exact;
use wgpu_dropout::{Dropout, Key, Mask, Mode, Rate};

fn mask(keep: f64) -> Mask {
    Mask::new(Rate::keep(keep).unwrap(), Key { seed: 0x1234_5678_9abc, layer: 3, step: 17 })
}

/// Returns sites that cover all settings: rates 0, 1 and between, every mode, training and
/// prediction, whole tensors and shards.
fn sites() -> Vec<Dropout> {
    let mut sites = vec![Dropout::NONE, Dropout::predict(Mode::Vanilla, Rate::keep(0.3).unwrap())];
    for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
        for keep in [0.0, 0.3, 1.0] {
            sites.push(Dropout::train(mode, mask(keep)));
        }
        sites.push(Dropout::predict(mode, Rate::keep(0.8).unwrap()));
    }
    sites.push(Dropout::train(Mode::Inverted, mask(0.7).at(5, 11)));
    sites.push(Dropout::train(Mode::Vanilla, mask(0.5).at(1 << 31, 16)));
    sites
}

/// Returns sites whose scale is a power of two, so that whole numbers stay exact.
fn exact_sites() -> [Dropout; 4] {
    let sites =
        [(Mode::Inverted, 0.5), (Mode::Inverted, 0.25), (Mode::Vanilla, 0.5), (Mode::None, 0.5)];
    sites.map(|(mode, keep)| Dropout::train(mode, mask(keep).at(2, 3)))
}

/// The control of all comparisons with the oracle: checks what the comparison must reject.
#[test]
fn the_comparator_rejects_what_it_must() {
    let exact = |values: &[f64], terms| Exact {
        values: values.to_vec(),
        magnitudes: vec![10.0; values.len()],
        terms,
    };
    let right = exact(&[1.0, -2.0, 0.0, f64::NAN, f64::INFINITY], 8);
    let good = [1.0, -2.0, 0.0, f32::NAN, f32::INFINITY];
    right.check("as it is", &good).unwrap();
    // The bound is c · (terms + 2) · eps · magnitude = 2 · 10 · 2^-23 · 10.
    let bound = 2.0 * 10.0 * f32::EPSILON * 10.0;
    let changed = |i: usize, value: f32| {
        let mut values = good;
        values[i] = value;
        values
    };
    right.check("within the bound", &changed(1, -2.0 - 0.9 * bound)).unwrap();
    let rejected = [
        changed(0, f32::NAN),
        changed(1, -2.0 - 1.1 * bound),
        changed(1, 2.0),
        changed(2, f32::INFINITY),
        changed(3, 1.0),
        changed(4, f32::NAN),
        changed(4, f32::NEG_INFINITY),
        changed(4, f32::MAX),
    ];
    for values in rejected {
        assert!(right.check("changed", &values).is_err(), "{values:?}");
    }
    assert!(right.check("too short", &good[..4]).is_err());
    assert!(right.check("too long", &[good.as_slice(), &[0.0]].concat()).is_err());
    assert!(exact(&[], 1).check("nothing", &[]).is_ok());
    // The bit comparison must reject differences too.
    assert!(common::same_bits("", &[1.0, f32::NAN], &[1.0, -f32::NAN]).is_ok());
    for (a, b) in [
        (&[0.0][..], &[-0.0][..]),
        (&[1.0], &[f32::NAN]),
        (&[1.0], &[1.0 + f32::EPSILON]),
        (&[1.0], &[1.0, 2.0]),
    ] {
        assert!(common::same_bits("", a, b).is_err(), "{a:?} {b:?}");
    }
}
