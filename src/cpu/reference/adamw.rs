//! Twin of `shaders/adamw.wgsl`.

use crate::rules::AdamWRule;

/// Updates `weight` and its moments by [`AdamWRule`], after `step` earlier updates.
pub fn adamw(
    grad: &[f32],
    weight: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    rule: &AdamWRule,
    step: u32,
) {
    let ([size, epsilon], decay) = (rule.corrected(step), rule.lr * rule.weight_decay);
    for (((w, &g), m), v) in weight.iter_mut().zip(grad).zip(first).zip(second) {
        *m = rule.beta1 * *m + (1.0 - rule.beta1) * g;
        *v = rule.beta2 * *v + (1.0 - rule.beta2) * (g * g);
        *w = *w - decay * *w - size * (*m / (v.sqrt() + epsilon));
    }
}
