//! Twin of `shaders/moments.wgsl`.

use crate::order;

/// Weighted mean, weighted sum of squares about it, and the total weight.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sum {
    weight: f32,
    mean: f32,
    squares: f32,
}

impl Sum {
    /// Joins two sums. If `other` has a weight of 0, its other fields are ignored.
    fn join(self, other: Self) -> Self {
        if other.weight <= 0.0 {
            return self;
        }
        let (off, weight) = (other.mean - self.mean, self.weight + other.weight);
        let share = other.weight / weight;
        Self {
            weight,
            mean: self.mean + off * share,
            squares: self.squares + other.squares + self.weight * off * off * share,
        }
    }
}

/// Joins the moments of S networks to `moments [R, 2·C + 1]`: the means of the class probabilities,
/// the sums of squares about them, and the mean of the entropies. Overwrites the logits
/// `z [S·R, C]` with the probabilities.
///
/// `weights [S]` are the weights of the networks. `before` is the total weight of all earlier
/// networks; if it is 0, the previous contents of `moments` are ignored.
pub fn moments(z: &mut [f32], weights: &[f32], before: f32, moments: &mut [f32], classes: usize) {
    let rows = moments.len() / (2 * classes + 1);
    let entropies: Vec<f32> = z.chunks_exact_mut(classes).map(softmax).collect();
    for (row, moments) in moments.chunks_exact_mut(2 * classes + 1).enumerate() {
        join_row(z, &entropies, weights, before, moments, [rows, row, classes]);
    }
}

/// Replaces a row of logits with its softmax and returns its entropy in nats. Subtracts the largest
/// logit first, so that no exponential overflows.
pub(crate) fn softmax(row: &mut [f32]) -> f32 {
    let largest = row
        .iter()
        .copied()
        .reduce(|largest, z| if z > largest { z } else { largest })
        .unwrap_or(0.0);
    let (mut sum, mut terms) = (0.0, 0.0);
    for z in &mut *row {
        let (t, e) = (*z - largest, (*z - largest).exp());
        *z = e;
        sum += e;
        terms += if e == 0.0 { 0.0 } else { t * e };
    }
    row.iter_mut().for_each(|z| *z /= sum);
    sum.ln() - terms / sum
}

/// Joins `probabilities [S·R, C]` and `entropies [S·R]` to the `moments [2·C + 1]` of row `row` of
/// `rows`.
pub(crate) fn join_row(
    probabilities: &[f32],
    entropies: &[f32],
    weights: &[f32],
    before: f32,
    moments: &mut [f32],
    [rows, row, classes]: [usize; 3],
) {
    let chains = order::chains(weights.len());
    let joined = |value: &dyn Fn(usize) -> f32| {
        let one = |s: usize| Sum { weight: weights[s], mean: value(s * rows + row), squares: 0.0 };
        let chain = |first: usize| {
            (first..weights.len()).step_by(chains).map(one).fold(Sum::default(), Sum::join)
        };
        (0..chains).map(chain).fold(Sum::default(), Sum::join)
    };
    for c in 0..=classes {
        let (sum, mean_at) = match c < classes {
            true => (joined(&|at| probabilities[at * classes + c]), c),
            false => (joined(&|at| entropies[at]), 2 * classes),
        };
        let squares_at = (c < classes).then_some(classes + c);
        let old = Sum {
            weight: before,
            mean: moments[mean_at],
            squares: squares_at.map_or(0.0, |at| moments[at]),
        };
        let sum = if before == 0.0 { sum } else { old.join(sum) };
        moments[mean_at] = sum.mean;
        squares_at.into_iter().for_each(|at| moments[at] = sum.squares);
    }
}
