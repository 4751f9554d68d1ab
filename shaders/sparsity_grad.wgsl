// sparsity_grad: adds the gradient of a penalty on units whose mean activity is not rho.
//
//     penalty = lambda * sum over c of k[c]
//     k[c] = rho * log(rho / mean[c]) + (1 - rho) * log((1 - rho) / (1 - mean[c]))
//     dY[r, c] = dY[r, c] + lambda / B * ((1 - rho) / (1 - mean[c]) - rho / mean[c])
//
// Shapes: dY [rows, cols]; statistics [2, cols], of which the first row, the means, is read.
// Means are clamped to LEAST and 1 - LEAST, so
// that the push on a unit that is off or on in all rows is strong but bounded.
// Threads: one takes one column.
// Sources: Ng, "Sparse autoencoder", CS294A lecture notes (2011); the penalty "L2 and KL" of
// Srivastava et al. (2014), table 9.
// CPU twin: src/cpu/reference/sparsity_grad.rs.

struct Own {
    rho: f32,     // mean activation aimed at
    weight: f32,  // lambda / B
}

@group(0) @binding(0) var<storage, read> statistics: array<f32>;
@group(0) @binding(1) var<storage, read_write> grad_y: array<f32>;

const LEAST: f32 = 1e-6;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let col = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if col >= p.cols {
        return;
    }
    let mean = clamp(statistics[p.a_start + col], LEAST, 1.0 - LEAST);
    let push = p.own.weight * ((1.0 - p.own.rho) / (1.0 - mean) - p.own.rho / mean);
    for (var row = 0u; row < p.rows; row++) {
        grad_y[p.b_start + row * p.b_stride + col] += push;
    }
}
