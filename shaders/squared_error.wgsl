// squared_error: each row's loss of a regression or a reconstruction, and its gradient.
//
//     y = logistic(z) = 1 / (1 + exp(-z))   or   y = z
//     loss[r] = 1/2 * sum over c of (y[r, c] - t[r, c])^2
//     dz[r, c] = (y - t) * y * (1 - y) * s   or   (y - t) * s        s = 1 / batch
//
// Shapes: z, targets t, grad_z dz [rows, cols]; losses [rows, 2]: the loss and 0, since no
// prediction is right or wrong.
// Order: the terms are added in ascending order. The exponential is that of -|z|, so that a large z
// does not overflow.
// Threads: one takes one row.
// Source: Hinton, Salakhutdinov, "Reducing the dimensionality of data with neural networks",
// Science 313 (2006).
// CPU twin: src/cpu/reference/squared_error.rs.

struct Own {
    inverse_batch: f32,  // s, a row's share of the mean
    logistic: u32,       // 1 if y is the logistic function of z
}

@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_z: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    let a = p.a_start + row * p.a_stride;
    let b = p.b_start + row * p.b_stride;
    let c = p.c_start + row * p.c_stride;
    var sum = 0.0;
    for (var col = 0u; col < p.cols; col++) {
        var y = z[a + col];
        var slope = 1.0;
        if p.own.logistic != 0u {
            let e = exp(-abs(y));
            y = select(e, 1.0, y >= 0.0) / (1.0 + e);
            slope = y * (1.0 - y);
        }
        let difference = y - targets[b + col];
        sum += difference * difference;
        grad_z[c + col] = difference * slope * p.own.inverse_batch;
    }
    losses[p.d_start + 2u * row] = 0.5 * sum;
    losses[p.d_start + 2u * row + 1u] = 0.0;
}

fn begin_own(zero: u32) {
    p.own.logistic += zero;
}
