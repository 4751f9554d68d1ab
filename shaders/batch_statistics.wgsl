// batch_statistics: mean and variance of each column of a mini-batch, and their running averages.
//
//     mean[c] = 1/B * sum over r of x[r, c]
//     variance[c] = 1/B * sum over r of (x[r, c] - mean[c])^2
//     running mean = running mean + m * (mean - running mean)
//     running variance = running variance + m * (B / (B - 1) * variance - running variance)
//
// Prediction uses the running averages.
// Shapes: x [rows, cols]; statistics and running [2, cols], the means, then the variances.
// Order: two passes, so that no square of a large mean cancels, each in ascending order of rows.
// Threads: one takes one column.
// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithm 1.
// CPU twin: src/cpu/reference/batch_statistics.rs.

struct Own {
    inverse_rows: f32,  // 1/B
    unbiased: f32,      // B / (B - 1), or 1 if B is 1
    momentum: f32,      // m
}

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
    let mean = sum * p.own.inverse_rows;
    var squares = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let off = x[p.a_start + row * p.a_stride + col] - mean;
        squares += off * off;
    }
    let variance = squares * p.own.inverse_rows;
    statistics[p.b_start + col] = mean;
    statistics[p.b_start + p.cols + col] = variance;
    let means = p.c_start + col;
    let variances = means + p.cols;
    running[means] += p.own.momentum * (mean - running[means]);
    running[variances] += p.own.momentum * (variance * p.own.unbiased - running[variances]);
}
