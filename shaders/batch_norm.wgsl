// batch_norm: normalizes columns by given statistics, scales and shifts; optional ReLU, dropout.
//
//     n[r, c] = (x[r, c] - mean[c]) / sqrt(variance[c] + epsilon)
//     y[r, c] = M * s * relu(gamma[c] * n[r, c] + beta[c])
//
// Shapes: x, y [rows, cols]; statistics [2, cols], the means and variances of the mini-batch in
// training and the running ones in prediction; affine [2, cols], gamma and beta.
// M is the mask, `scale` is s.
// Threads: one takes eight columns of one row.
// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, algorithms 1 and 2.
// CPU twin: src/cpu/reference/batch_norm.rs.

// join relu
// takes state

struct Own {
    epsilon: f32,
    relu: u32,     // 1 if there is a ReLU
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read> affine: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let strips = (p.cols + 7u) / 8u;
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let row = index / strips;
    let first = (index % strips) * 8u;
    if row >= p.rows {
        return;
    }
    let keep = keep8(row, first);
    for (var j = 0u; j < 8u; j++) { // unroll
        let col = first + j;
        if col < p.cols {
            let inverse = 1.0 / sqrt(statistics[p.b_start + p.cols + col] + p.own.epsilon);
            let normal =
                (x[p.a_start + row * p.a_stride + col] - statistics[p.b_start + col]) * inverse;
            var v = affine[p.c_start + col] * normal + affine[p.c_start + p.cols + col];
            if p.own.relu != 0u {
                v = relu(vec4<f32>(v)).x;
            }
            y[p.d_start + row * p.d_stride + col] =
                select(0.0, v * p.scale, ((keep >> j) & 1u) != 0u);
        }
    }
}

fn begin_own(zero: u32) {
    p.own.relu += zero;
}
