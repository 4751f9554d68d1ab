//! Twin of `shaders/activation.wgsl`.
// The constants have the digits of the source.
#![allow(clippy::excessive_precision)]

use crate::rules::Activation;

/// Computes `Φ(z)`, the standard normal distribution function, from `bell = exp(−z²/2)`. Source:
/// Abramowitz and Stegun, 7.1.26.
fn normal(z: f32, bell: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let polynomial = 0.254_829_592
        + t * (-0.284_496_736 + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429)));
    let tail = 0.5 * bell * t * polynomial;
    if z > 0.0 { 1.0 - tail } else { tail }
}

/// Computes the logistic function of `z`. Clamps `z` so that the exponential does not overflow.
fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z.clamp(-80.0, 80.0)).exp())
}

/// Returns `exp(−z²/2)` and the `z` that it was computed from, clamped so that its square does not
/// overflow.
fn bell(z: f32) -> (f32, f32) {
    let near = z.clamp(-20.0, 20.0);
    ((-0.5 * near * near).exp(), near)
}

/// Computes `act(z)`.
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

/// Computes `act'(z)·grad`.
pub(crate) fn back(activation: Activation, z: f32, grad: f32) -> f32 {
    match activation {
        Activation::None => grad,
        // Selects instead of multiplying; if z is NaN, the gradient passes.
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
