//! Twin of `shaders/sgd.wgsl`.

use crate::rules::SgdRule;

/// Updates `weight [rows, cols]` once by [`SgdRule`].
pub fn sgd(
    grad: &[f32],
    weight: &mut [f32],
    velocity: Option<&mut [f32]>,
    cols: usize,
    rule: &SgdRule,
) {
    descend(grad, weight, velocity, rule);
    if let Some(max_norm) = rule.max_norm {
        let mut norms = vec![0.0f32; cols];
        for row in weight.chunks(cols.max(1)) {
            norms.iter_mut().zip(row).for_each(|(sum, &w)| *sum += w * w);
        }
        let factors: Vec<f32> = norms.iter().map(|&squares| shrink(squares, max_norm)).collect();
        for row in weight.chunks_mut(cols.max(1)) {
            row.iter_mut().zip(&factors).for_each(|(w, &factor)| *w *= factor);
        }
    }
}

/// Updates each weight once, without max-norm.
// Inlined into callers that are compiled for other instruction sets.
#[inline(always)]
pub(crate) fn descend(
    grad: &[f32],
    weight: &mut [f32],
    velocity: Option<&mut [f32]>,
    rule: &SgdRule,
) {
    let decayed = |g: f32, w: f32| {
        let g = g + rule.weight_decay * w;
        if rule.l1 != 0.0 { g + rule.l1 * sign(w) } else { g }
    };
    match velocity {
        Some(velocity) => {
            for ((w, &g), v) in weight.iter_mut().zip(grad).zip(velocity) {
                *v = rule.momentum * *v + decayed(g, *w);
                *w -= rule.lr * *v;
            }
        }
        None => weight.iter_mut().zip(grad).for_each(|(w, &g)| *w -= rule.lr * decayed(g, *w)),
    }
}

/// Returns WGSL's `sign`, which is 0 at 0; Rust's `signum` is 1 there.
#[inline(always)]
fn sign(w: f32) -> f32 {
    f32::from(w > 0.0) - f32::from(w < 0.0)
}

/// Returns the factor that limits the norm of a column to `max_norm`. `squares` is the column's sum
/// of squares.
pub(crate) fn shrink(squares: f32, max_norm: f32) -> f32 {
    let norm = squares.sqrt();
    if norm > max_norm { max_norm / norm } else { 1.0 }
}
