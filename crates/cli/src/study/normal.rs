//! Normally distributed inputs and weights for studies that compute rather than train.

use rand::Rng;
use wgpu_dropout::philox::PhiloxRng;

/// Draws `count` numbers from N(0, 1) by Box and Muller's transform, in f64. Different `stream`s of
/// a seed give different sequences.
pub fn normal(seed: u64, stream: u64, count: usize) -> Vec<f64> {
    // Streams start 2⁶⁴ counters apart.
    let mut words = PhiloxRng::at(seed, u128::from(stream) << 64);
    // Uniform on the open interval (0, 1), so that its logarithm is finite.
    let mut uniform = || (f64::from(words.next_u32()) + 0.5) / 4_294_967_296.0;
    let pair = || {
        let radius = (-2.0 * uniform().ln()).sqrt();
        let angle = std::f64::consts::TAU * uniform();
        [radius * angle.cos(), radius * angle.sin()]
    };
    std::iter::repeat_with(pair).take(count.div_ceil(2)).flatten().take(count).collect()
}

/// Draws the numbers of [`normal`], rounded to f32 for the kernels.
pub fn normal32(seed: u64, stream: u64, count: usize) -> Vec<f32> {
    normal(seed, stream, count).into_iter().map(|value| value as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::normal;
    use crate::study::spread::Spread;

    #[test]
    fn mean_variance_and_kurtosis_are_a_normal_s() {
        let values = normal(1, 0, 100_001);
        let spread = Spread::of(values.iter().copied());
        assert!(
            spread.mean.abs() < 5.0 / 316.0 && (spread.deviation - 1.0).abs() < 5.0 * 0.7 / 316.0,
            "{spread:?}"
        );
        let fourth = values.iter().map(|value| value.powi(4)).sum::<f64>() / 100_001.0;
        assert!((fourth - 3.0).abs() < 5.0 * 9.8 / 316.0, "{fourth}");
        assert_ne!(normal(1, 1, 4), normal(1, 0, 4));
    }
}
