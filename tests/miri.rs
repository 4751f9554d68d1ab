//! The CPU backend's core on shapes so small that Miri, Rust's interpreter, runs them in minutes.
//! Every kernel with code for a specific instruction set runs on whole vectors and on ragged ends
//! and is compared with the reference. Miri detects each access outside an allocation, each
//! misaligned access and each data race.
//!
//! ```sh
//! export RUSTFLAGS="-C target-feature=+avx2,+fma"
//! export MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-ignore-leaks -Zmiri-permissive-provenance \
//!     -Zmiri-disable-isolation -Zmiri-deterministic-floats"
//! cargo +nightly miri test --test miri --no-default-features
//! ```
//!
//! The options for tree borrows, leaks and provenance are needed for rayon's queues. Miri by
//! default perturbs logarithms at random, which would change the Gaussian noise.

use wgpu_dropout::call::{
    AlphaDropoutCall, DropoutCall, GaussianDropoutCall, GradInput, GradWeight, GradWeightSgd,
    LinearForward, MaskBits, MaskBytes, Sgd, SgdRule, SoftmaxCrossEntropy,
};
use wgpu_dropout::cpu::fast::Isa;
use wgpu_dropout::{
    AlphaDropout, Backend, Dropout, GaussianDropout, Key, Mask, Mode, Rate, Result,
};
use wgpu_dropout::{Cpu, CpuTensor};

fn numbers(seed: usize, count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 8.0 - 1.25).collect()
}

fn site(col: u64) -> Mask {
    Mask::new(Rate::keep(0.6).unwrap(), Key { seed: 0xDEAD_BEEF_CAFE_F00D, layer: 3, step: 7 })
        .at(5, col)
}

fn empty(cpu: &mut Cpu, rows: usize, cols: usize) -> Result<CpuTensor<f32>> {
    cpu.tensor(rows, cols, &vec![f32::NAN; rows * cols])
}

/// Returns the masks and noise drawn by each kernel, which are equal to the bit on every
/// instruction set.
fn drawn(cpu: &mut Cpu, rows: usize, cols: usize, col: u64) -> Result<Vec<Vec<u32>>> {
    let mask = site(col);
    let x = cpu.tensor(rows, cols, &numbers(1, rows * cols))?;
    let mut all = Vec::new();
    let mut y = empty(cpu, rows, cols)?;
    cpu.run(DropoutCall { x: &x, y: &mut y, dropout: Dropout::train(Mode::Inverted, mask) })?;
    all.push(cpu.read(&y)?);
    cpu.run(AlphaDropoutCall { x: &x, y: &mut y, dropout: AlphaDropout::train(mask) })?;
    all.push(cpu.read(&y)?);
    cpu.run(GaussianDropoutCall { x: &x, y: &mut y, dropout: GaussianDropout::train(mask)? })?;
    all.push(cpu.read(&y)?);
    let mut all: Vec<Vec<u32>> =
        all.iter().map(|values| values.iter().map(|value| value.to_bits()).collect()).collect();
    let mut bits = cpu.tensor(rows, cols.div_ceil(32), &vec![7; rows * cols.div_ceil(32)])?;
    cpu.run(MaskBits { bits: &mut bits, cols, mask })?;
    all.push(cpu.read(&bits)?);
    let mut bytes = cpu.tensor(rows, cols, &vec![7; rows * cols])?;
    cpu.run(MaskBytes { bytes: &mut bytes, mask })?;
    all.push(cpu.read(&bytes)?.into_iter().map(u32::from).collect());
    Ok(all)
}

/// Returns a layer's forward pass, loss, gradients and updated weights.
fn layer(cpu: &mut Cpu, [batch, inputs, outputs]: [usize; 3]) -> Result<Vec<f32>> {
    let dropout = Dropout::train(Mode::Inverted, site(3));
    let rule = SgdRule { lr: 0.1, momentum: 0.5, weight_decay: 0.01, l1: 0.001, max_norm: None };
    let x = cpu.tensor(batch, inputs, &numbers(1, batch * inputs))?;
    let mut weight = cpu.tensor(inputs, outputs, &numbers(2, inputs * outputs))?;
    let mut bias = cpu.tensor(1, outputs, &numbers(3, outputs))?;
    let mut y = empty(cpu, batch, outputs)?;
    cpu.run(LinearForward {
        x: &x,
        weight: &weight,
        bias: Some(&bias),
        y: &mut y,
        relu: true,
        dropout,
    })?;
    let labels: Vec<u32> = (0..batch as u32).map(|row| row % outputs as u32).collect();
    let labels = cpu.tensor(batch, 1, &labels)?;
    let mut losses = empty(cpu, batch, 2)?;
    let mut grad = empty(cpu, batch, outputs)?;
    cpu.run(SoftmaxCrossEntropy {
        logits: &y,
        labels: &labels,
        losses: &mut losses,
        grad_logits: &mut grad,
        batch,
    })?;
    let mut dx = empty(cpu, batch, inputs)?;
    let mut dw = empty(cpu, inputs, outputs)?;
    let mut db = empty(cpu, 1, outputs)?;
    cpu.run(GradInput {
        grad_output: &grad,
        output: Some(&y),
        weight: &weight,
        grad_input: &mut dx,
        dropout,
        through: None,
    })?;
    cpu.run(GradWeight {
        x: &x,
        grad_output: &grad,
        output: Some(&y),
        grad_weight: &mut dw,
        grad_bias: &mut db,
        dropout,
    })?;
    let mut velocity = cpu.tensor(inputs, outputs, &vec![0.0; inputs * outputs])?;
    let mut bias_velocity = cpu.tensor(1, outputs, &vec![0.0; outputs])?;
    cpu.run(Sgd { weight: &mut weight, grad: &dw, velocity: Some(&mut velocity), rule })?;
    let both = Some((&mut velocity, &mut bias_velocity));
    cpu.run(GradWeightSgd {
        x: &x,
        grad_z: &grad,
        weight: &mut weight,
        bias: &mut bias,
        velocity: both,
        rule,
    })?;
    let mut all = Vec::new();
    for tensor in [&y, &losses, &grad, &dx, &dw, &db, &weight, &bias] {
        all.extend(cpu.read(tensor)?);
    }
    Ok(all)
}

#[test]
fn every_instruction_set_draws_the_reference_s_masks() {
    for (rows, cols, col) in [(1, 1, 0), (3, 70, 0), (2, 133, 5)] {
        let expected = drawn(&mut Cpu::reference(), rows, cols, col).unwrap();
        for isa in Isa::available() {
            assert_eq!(
                drawn(&mut Cpu::with_isa(isa), rows, cols, col).unwrap(),
                expected,
                "{isa} {rows}×{cols}"
            );
        }
        // Control: a mask shifted by one column.
        assert!(
            cols == 1 || drawn(&mut Cpu::reference(), rows, cols, col + 1).unwrap() != expected
        );
    }
}

#[test]
fn every_instruction_set_computes_the_reference_s_layers() {
    for shape in [[1, 1, 2], [7, 9, 19], [15, 33, 35]] {
        let expected = layer(&mut Cpu::reference(), shape).unwrap();
        assert!(expected.iter().all(|value| value.is_finite()));
        for isa in Isa::available() {
            let got = layer(&mut Cpu::with_isa(isa), shape).unwrap();
            let worst = got
                .iter()
                .zip(&expected)
                .map(|(a, b)| (a - b).abs() / (1.0 + b.abs()))
                .fold(0.0, f32::max);
            assert!(worst < 1e-5, "{isa} {shape:?}: off by {worst}");
        }
    }
}
