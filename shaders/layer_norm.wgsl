// layer_norm: normalizes each row by its own mean and variance, scales and shifts its columns.
//
//     mean[r] = 1/C * sum over c of x[r, c]
//     inverse[r] = 1 / sqrt(1/C * sum over c of (x[r, c] - mean[r])^2 + epsilon)
//     y[r, c] = gamma[c] * (x[r, c] - mean[r]) * inverse[r] + beta[c]
//
// Shapes: x, y [rows, cols]; affine [2, cols], gamma and beta; statistics [rows, 2], the mean and
// the inverse of each row, which the backward pass needs.
// Order: two passes for the sums, so that no square of a large mean cancels, each in ascending order
// of columns.
// Threads: one takes one row.
// Source: Ba, Kiros, Hinton, "Layer normalization" (2016), equation 4.
// CPU twin: src/cpu/reference/layer_norm.rs.

struct Own {
    epsilon: f32,
    inverse_cols: f32,  // 1/C
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> affine: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    let from_ = p.a_start + row * p.a_stride;
    var sum = 0.0;
    for (var col = 0u; col < p.cols; col++) {
        sum += x[from_ + col];
    }
    let mean = sum * p.own.inverse_cols;
    var squares = 0.0;
    for (var col = 0u; col < p.cols; col++) {
        let off = x[from_ + col] - mean;
        squares += off * off;
    }
    let inverse = 1.0 / sqrt(squares * p.own.inverse_cols + p.own.epsilon);
    for (var col = 0u; col < p.cols; col++) {
        let normal = (x[from_ + col] - mean) * inverse;
        y[p.c_start + row * p.c_stride + col] =
            affine[p.b_start + col] * normal + affine[p.b_start + p.cols + col];
    }
    statistics[p.d_start + 2u * row] = mean;
    statistics[p.d_start + 2u * row + 1u] = inverse;
}
