//! Twin of `shaders/batch_statistics.wgsl`.

/// Computes the mean and the biased variance of each column of `x [B, cols]` and updates the
/// running ones, whose variance is unbiased. `statistics` and `running` are `[2, cols]`: means,
/// then variances.
pub fn batch_statistics(
    x: &[f32],
    statistics: &mut [f32],
    running: &mut [f32],
    cols: usize,
    momentum: f32,
) {
    let rows = x.len() / cols.max(1);
    let share = (1.0 / rows as f64) as f32;
    let unbiased = (rows as f64 / (rows.max(2) - 1) as f64) as f32;
    let (means, variances) = statistics.split_at_mut(cols);
    means.fill(0.0);
    variances.fill(0.0);
    for row in x.chunks(cols.max(1)) {
        means.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    means.iter_mut().for_each(|mean| *mean *= share);
    for row in x.chunks(cols.max(1)) {
        for ((squares, x), mean) in variances.iter_mut().zip(row).zip(&*means) {
            let off = x - mean;
            *squares += off * off;
        }
    }
    variances.iter_mut().for_each(|variance| *variance *= share);
    let (running_means, running_variances) = running.split_at_mut(cols);
    running_means
        .iter_mut()
        .zip(means)
        .for_each(|(running, mean)| *running += momentum * (*mean - *running));
    let pairs = running_variances.iter_mut().zip(variances);
    pairs.for_each(|(running, variance)| *running += momentum * (*variance * unbiased - *running));
}
