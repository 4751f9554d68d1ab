//! Twin of `shaders/moments.wgsl`.

/// Overwrites the logits `z [S·R, C]` with class probabilities, and joins mean and squares of the S networks, and the mean of their entropies, to
/// `moments [R, 2·C + 1]`. `weights` are those of the S networks, `before` is the weight of all networks so far; at 0 what `moments` holds is
/// not looked at.
pub fn moments(z: &mut [f32], weights: &[f32], before: f32, moments: &mut [f32], classes: usize) {
    let rows = moments.len() / (2 * classes + 1);
    for (row, moments) in moments.chunks_exact_mut(2 * classes + 1).enumerate() {
        let place = |s: usize| (s * rows + row) * classes;
        let (mut weight, mut entropy) = (0.0, 0.0);
        for (s, &w) in weights.iter().enumerate() {
            let h = softmax(&mut z[place(s)..][..classes]);
            if w > 0.0 {
                weight += w;
                entropy += (h - entropy) * (w / weight);
            }
        }
        if before == 0.0 {
            moments.fill(0.0);
        }
        if weight <= 0.0 {
            continue;
        }
        // The share of the new ones in all, by which a mean moves; returns what the squares gain.
        let join = |old: &mut f32, mean: f32| {
            if before == 0.0 {
                *old = mean;
                return 0.0;
            }
            let (share, off) = (weight / (before + weight), mean - *old);
            *old += off * share;
            off * off * share * before
        };
        for c in 0..classes {
            let (mut so_far, mut mean, mut squares) = (0.0, 0.0, 0.0);
            for (s, &w) in weights.iter().enumerate().filter(|&(_, &w)| w > 0.0) {
                let off = z[place(s) + c] - mean;
                let step = off * (w / (so_far + w));
                squares += so_far * off * step;
                mean += step;
                so_far += w;
            }
            moments[classes + c] += squares + join(&mut moments[c], mean);
        }
        join(&mut moments[2 * classes], entropy);
    }
}

/// Softmax of a row in place, the largest logit taken off first; its entropy in nats.
fn softmax(row: &mut [f32]) -> f32 {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
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
