//! The other forms of dropout, computed naively in f64.

use super::Exact;
use crate::{AlphaDropout, AxisMap, Dropout, GaussianDropout};
use std::sync::LazyLock;

/// Computes `y = M·s·x` with a broadcast mask.
pub fn dropout_broadcast(x: &[f32], axes: &AxisMap, dropout: &Dropout) -> Exact {
    let mut y = Exact { terms: 1, ..Exact::default() };
    for (i, &x) in x.iter().enumerate() {
        let (row, col) = axes.place(i);
        let value = super::drop_one(dropout, row, col, f64::from(x));
        y.push(value, value.abs());
    }
    y
}

/// Computes `y = M·s·x` with the mask given as bytes.
pub fn dropout_bytes(x: &[f32], mask: &[u8], scale: f32) -> Exact {
    let mut y = Exact { terms: 1, ..Exact::default() };
    for (&x, &kept) in x.iter().zip(mask) {
        let value = if kept == 1 { f64::from(x) * f64::from(scale) } else { 0.0 };
        y.push(value, value.abs());
    }
    y
}

/// Computes `y = a·x + b` for kept elements and `y = a·α' + b` for the others, from the rate alone.
pub fn alpha_dropout(x: &[f32], cols: usize, dropout: &AlphaDropout) -> Exact {
    let (lambda, alpha) = (1.050_700_987_355_480_5, 1.673_263_242_354_377_2);
    let (k, saturated): (f64, f64) = (dropout.mask.rate.keep_in_effect(), -lambda * alpha);
    let a = if k == 0.0 { 0.0 } else { 1.0 / (k + saturated * saturated * k * (1.0 - k)).sqrt() };
    let b = -a * (1.0 - k) * saturated;
    let mut y = Exact { terms: 2, ..Exact::default() };
    for (i, &x) in x.iter().enumerate() {
        let part =
            if dropout.mask.keeps(i / cols, i % cols) { a * f64::from(x) } else { a * saturated };
        y.push(part + b, part.abs() + b.abs());
    }
    y
}

/// Computes `y = x·(1 + σ·n)` from the rate and the draws alone.
///
/// The bound is specific to Gaussian dropout. It follows from the accuracy that WGSL guarantees, in
/// units of u = 2^-24, half of ε:
///
/// ```text
/// |q| ≤ 0.425  r = 0.180625 − q² to 0.6u, times at most 3 in the quotient                        2
///              both polynomials (positive terms): coefficients 1, products and sums 3 + 3    7 + 7
///              the quotient, 2.5 ulp; times q                                                5 + 1
/// elsewhere    −ln p to 3 ulp, and its root, whose division and inverse root add 4.5 ulp:
///              r to 12u, times at most 1.9 in the quotient                                      23
///              r − 1.6                                                                           2
///              both polynomials; the quotient                                            7 + 5 + 5
/// both         PPND7 itself, 1.2e-7; σ·c rounded, times the quotient                     2 + 1 + 1
/// ```
///
/// Hence `σ·n` is accurate to 46u = 23ε. With two more roundings, `x·(1 + σ·n)` is accurate to
/// `ε·|x|·(23·σ|n| + 1 + σ|n|)`.
pub fn gaussian_dropout(x: &[f32], cols: usize, dropout: &GaussianDropout) -> Exact {
    let mask = dropout.mask();
    let mut y = Exact { terms: 0, ..Exact::default() };
    for (i, &x) in x.iter().enumerate() {
        let (row, col) = (mask.row_offset + (i / cols) as u64, mask.col_offset + (i % cols) as u64);
        let noise = dropout.sigma() * noise(mask.key.draw(row as u32, col));
        let x = f64::from(x);
        // `check` multiplies this by 2·(0 + 2)·ε.
        y.push(x * (1.0 + noise), x.abs() * (24.0 * noise.abs() + 1.0) / 4.0);
    }
    y
}

/// Returns the noise of a draw in Gaussian dropout: the standard normal quantile at the middle of
/// the draw's 65,536th, times the factor that makes the variance over all draws 1.
pub fn noise(draw: u16) -> f64 {
    // Only the upper half is stored; the lower is its mirror image.
    static UPPER: LazyLock<Vec<f64>> = LazyLock::new(|| {
        (32_768..65_536).map(|draw| quantile((f64::from(draw) + 0.5) / 65536.0)).collect()
    });
    let noise = |draw: u16| crate::gaussian::UNIT_VARIANCE * UPPER[usize::from(draw - 32_768)];
    if draw >= 32_768 { noise(draw) } else { -noise(!draw) }
}

/// Returns `Φ⁻¹(u)` for u ≥ 1/2, by Newton's method on
/// `Φ(x) = 1/2 + φ(x)·(x + x³/3 + x⁵/(3·5) + …)`.
///
/// Source: Marsaglia, "Evaluating the normal distribution", Journal of Statistical Software 11
/// (2004).
fn quantile(u: f64) -> f64 {
    let mut x = 0.0f64;
    for _ in 0..60 {
        let density = (-0.5 * x * x).exp() / std::f64::consts::TAU.sqrt();
        let (mut term, mut sum, mut odd) = (x, x, 3.0);
        while sum + term != sum {
            term *= x * x / odd;
            sum += term;
            odd += 2.0;
        }
        let step = (u - 0.5 - density * sum) / density;
        // Φ is concave here, so a step from below never passes the root.
        x += step;
        if step <= 1e-13 * x.max(1.0) {
            break;
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Over all draws, the mean is 0, the variance is 1, and the f32 form is within its bound.
    #[test]
    fn over_all_draws_the_noise_is_standard() {
        let all: Vec<f64> = (0..=u16::MAX).map(noise).collect();
        let moment = |of: &dyn Fn(f64) -> f64| all.iter().map(|&n| of(n)).sum::<f64>() / 65536.0;
        assert!(moment(&|n| n).abs() < 1e-12, "mean {}", moment(&|n| n));
        let variance = moment(&|n| n * n);
        assert!((variance - 1.0).abs() < 1e-12, "variance {variance}");
        // Without the constant, the variance would not be 1.
        assert!((variance / crate::gaussian::UNIT_VARIANCE.powi(2) - 1.0).abs() > 1e-5);
        // The fourth moment of the normal distribution is 3; truncation at 4.3 changes it little.
        assert!((moment(&|n| n.powi(4)) - 3.0).abs() < 0.01);
        for (draw, &exact) in (0..=u16::MAX).zip(&all) {
            let computed =
                f64::from(crate::gaussian::quantile(draw)) * crate::gaussian::UNIT_VARIANCE;
            let bound = 23.0 * f64::from(f32::EPSILON) * exact.abs();
            assert!(
                (computed - exact).abs() <= bound,
                "draw {draw}: {computed}, expected {exact} ± {bound:e}"
            );
        }
    }

    #[test]
    fn quantiles_are_the_published_ones() {
        // Sources: Abramowitz and Stegun, table 26.5, and NIST's handbook.
        for (u, x) in [
            (0.5, 0.0),
            (0.75, 0.674_489_750_196_081_7),
            (0.975, 1.959_963_984_540_054),
            (0.999_9, 3.719_016_485_455_68),
        ] {
            assert!((quantile(u) - x).abs() < 1e-11, "{u}: {}", quantile(u));
        }
    }
}
