//! Twin of `shaders/activation.wgsl`.
// The constants have the digits of the source.
#![allow(clippy::excessive_precision)]

use crate::rules::Activation;

/// Returns `Φ(z)`, the normal distribution function; Abramowitz and Stegun, 7.1.26. `bell` is
/// `exp(−z²/2)`.
fn normal(z: f32, bell: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = 0.254_829_592
        + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429)));
    let tail = 0.5 * bell * t * polynomial;
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// Returns `1 / (1 + exp(−z))`, with `z` clamped so that the exponential stays finite.
fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z.clamp(-80.0, 80.0)).exp())
}

/// Returns `exp(−z²/2)` and the `z` it is taken of, clamped so that its square stays small.
fn bell(z: f32) -> (f32, f32) {
    let near = z.clamp(-20.0, 20.0);
    ((-0.5 * near * near).exp(), near)
}

/// Returns `act(z)`.
pub(crate) fn activate(activation: Activation, z: f32) -> f32 {
    match activation {
        Activation::None => z,
        // A comparison instead of max(), so that relu(NaN) is NaN.
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Relu => z,
        Activation::Gelu => {
            let (bell, near) = bell(z);
            z * normal(near, bell)
        }
        Activation::Silu => z * sigmoid(z),
        Activation::Sigmoid => sigmoid(z),
    }
}

/// Returns `act'(z)·grad`.
pub(crate) fn back(activation: Activation, z: f32, grad: f32) -> f32 {
    match activation {
        Activation::None => grad,
        // By selection, so a NaN in z lets the gradient pass.
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Relu => grad,
        Activation::Gelu => {
            let (bell, near) = bell(z);
            (normal(near, bell) + near * bell * 0.398_942_28) * grad
        }
        Activation::Silu => {
            let (near, s) = (z.clamp(-80.0, 80.0), sigmoid(z));
            s * (1.0 + near * (1.0 - s)) * grad
        }
        Activation::Sigmoid => {
            let s = sigmoid(z);
            s * (1.0 - s) * grad
        }
    }
}
