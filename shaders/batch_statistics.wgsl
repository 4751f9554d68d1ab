// batch_statistics: mean and variance of each column of a mini-batch, and their running averages.
//
//     mean[c] = 1/B * sum over r of x[r, c]
//     variance[c] = 1/B * sum over r of (x[r, c] - mean[c])^2
//     running mean = running mean + m * (mean - running mean)
//     running variance = running variance + m * (B / (B - 1) * variance - running variance)
//
// Prediction uses the running averages.
// Shapes: x [rows, cols]; statistics and running [2, cols], the means, then the variances.
// Parameters: `scale` is 1/B; `shift` is B / (B - 1), or 1 if B is 1; `rate` is m.
// Order: two passes, so that no square of a large mean cancels, each in ascending order of rows.
// Threads: one takes one column.
// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithm 1.
// CPU twin: src/cpu/reference/batch_statistics.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> running: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let col = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if col >= p.cols {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        sum += x[p.a_start + row * p.a_stride + col];
    }
    let mean = sum * p.scale;
    var squares = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let off = x[p.a_start + row * p.a_stride + col] - mean;
        squares += off * off;
    }
    let variance = squares * p.scale;
    statistics[p.b_start + col] = mean;
    statistics[p.b_start + p.cols + col] = variance;
    let means = p.c_start + col;
    let variances = means + p.cols;
    running[means] += p.rate * (mean - running[means]);
    running[variances] += p.rate * (variance * p.shift - running[variances]);
}
