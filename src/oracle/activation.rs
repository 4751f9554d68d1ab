//! Activations and their derivatives, computed naively in f64.

use super::Exact;
use crate::Dropout;
use crate::rules::Activation;

/// Returns the normal density and distribution function. They come from the series and, in the far
/// tails, from the asymptotic expansion (Abramowitz and Stegun, 26.2.11 and 26.2.12), neither of
/// which the kernels use.
fn normal(z: f64) -> (f64, f64) {
    let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
    if z.abs() > 8.0 {
        let tail = density / z.abs() * (1.0 - 1.0 / (z * z));
        return (density, if z > 0.0 { 1.0 - tail } else { tail });
    }
    let (mut term, mut sum) = (z, z);
    for odd in (3..400).step_by(2) {
        term *= z * z / f64::from(odd);
        sum += term;
    }
    (density, 0.5 + density * sum)
}

/// Returns the logistic function of `z`.
fn sigmoid(z: f64) -> f64 {
    1.0 / (1.0 + (-z).exp())
}

/// Returns `act(z)`.
fn act(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::None => z,
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Relu => z,
        Activation::Gelu => z * normal(z).1,
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Sigmoid => sigmoid(z),
    }
}

/// Returns `act'(z)`.
fn slope(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::None => 1.0,
        Activation::Relu if z <= 0.0 => 0.0,
        Activation::Relu => 1.0,
        Activation::Gelu => {
            let (density, below) = normal(z);
            below + z * density
        }
        Activation::Silu => {
            let s = sigmoid(z);
            s * (1.0 + z * (1.0 - s))
        }
        // 1 − s, without a subtraction.
        Activation::Sigmoid => sigmoid(z) * sigmoid(-z),
    }
}

/// Returns the extra error allowed for an approximate activation at z, in the bound's smallest
/// unit, 4 ε:
///
/// - GELU's polynomial is off by 8·10⁻⁸·|z|, which is 0.7 ε·|z|.
/// - An exponential of −d has a relative error of (3 + 2·d)·ε (WGSL's accuracy). Times |z|, that is
///   at most 3 ε for d = |z| or z²/2.
/// - A division is off by 2.5 ε.
/// - The logistic function s is off by s·(1 − s)·(3 + 2·|z|) + 2.5 + ½, whose first term is below
///   0.9.
fn coarse(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::None | Activation::Relu => 0.0,
        Activation::Gelu | Activation::Silu => 2.0 * (1.0 + z.abs()),
        Activation::Sigmoid => 1.0,
    }
}

/// Computes `Y = R + M·s·act(Z)` from the exact `Z` of a layer, as returned by
/// [`super::linear_forward`] without ReLU and dropout.
pub fn linear_activation(
    z: &Exact,
    residual: Option<&[f32]>,
    cols: usize,
    activation: Activation,
    dropout: &Dropout,
) -> Exact {
    let mut y = Exact { terms: z.terms + 1, ..Exact::default() };
    for (i, (&z, &magnitude)) in z.values.iter().zip(&z.magnitudes).enumerate() {
        let residual = residual.map_or(0.0, |residual| f64::from(residual[i]));
        let value = super::drop_one(dropout, i / cols, i % cols, act(activation, z));
        // No slope exceeds 1.13.
        let size =
            super::drop_one(dropout, i / cols, i % cols, 1.2 * magnitude + coarse(activation, z));
        y.push(residual + value, size.abs() + residual.abs());
    }
    y
}

/// Computes `dZ = M·s·act'(Z)·dY`.
pub fn activation_grad(
    grad_output: &[f32],
    z: &[f32],
    cols: usize,
    activation: Activation,
    dropout: &Dropout,
) -> Exact {
    let mut grad_z = Exact { terms: 2, ..Exact::default() };
    for (i, (&dy, &z)) in grad_output.iter().zip(z).enumerate() {
        let dy = f64::from(dy);
        let back = match (activation, z <= 0.0) {
            (Activation::Relu, true) => 0.0,
            _ => slope(activation, f64::from(z)) * dy,
        };
        let value = super::drop_one(dropout, i / cols, i % cols, back);
        // The logistic function's slope is off by at most 4 ε, as derived above.
        let kind =
            if matches!(activation, Activation::Gelu | Activation::Silu) { 2.4 } else { 1.0 };
        grad_z.push(value, super::drop_one(dropout, i / cols, i % cols, kind * dy).abs());
    }
    grad_z
}

#[cfg(test)]
mod tests {
    use super::normal;

    #[test]
    fn the_normal_distribution_is_the_tables() {
        // Source: Abramowitz and Stegun, table 26.1.
        for (z, below) in [
            (0.0, 0.5),
            (1.0, 0.841_344_746_068_543),
            (2.5, 0.993_790_334_674_224),
            (-3.0, 0.001_349_898_031_630),
        ] {
            assert!((normal(z).1 - below).abs() < 1e-14, "{z}: {}", normal(z).1);
        }
        // At the boundary between the series and the expansion, both are 1 to the last digits of an
        // f64.
        assert!((normal(7.999).1 - normal(8.001).1).abs() < 1e-14);
        assert!((normal(-9.0).1 / 1.128_588e-19 - 1.0).abs() < 1e-3);
    }
}
