// batch_norm_grad: the way back through batch_norm with the mini-batch's own statistics, without its ReLU and dropout.
//
//     n = (x - mean) / sqrt(variance + epsilon)      dgamma[c] = sum over r of dy * n      dbeta[c] = sum over r of dy
//     dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / B - n * dgamma / B)
//     through: dx * s where x > 0, else 0, where x is what ReLU and dropout of the scale s gave
//
// Shapes: x, dy, dx [rows, cols]; statistics, affine and its gradient [2, cols]: means and variances, gamma and beta. `shift` is epsilon, `rate` is
// 1/B. The sums are in ascending order. One thread takes one column.
// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3. CPU twin: src/cpu/reference/batch_norm_grad.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>;
@group(0) @binding(2) var<storage, read> affine: array<f32>;
@group(0) @binding(3) var<storage, read> grad_y: array<f32>;
@group(0) @binding(4) var<storage, read_write> grad_affine: array<f32>;
@group(0) @binding(5) var<storage, read_write> grad_x: array<f32>;

const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let col = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if col >= p.cols {
        return;
    }
    let mean = statistics[p.b_start + col];
    let inverse = 1.0 / sqrt(statistics[p.b_start + p.cols + col] + p.shift);
    var gamma = 0.0;
    var beta = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let g = grad_y[p.d_start + row * p.d_stride + col];
        gamma += g * ((x[p.a_start + row * p.a_stride + col] - mean) * inverse);
        beta += g;
    }
    grad_affine[p.e_start + col] = gamma;
    grad_affine[p.e_start + p.cols + col] = beta;
    let slope = affine[p.c_start + col] * inverse;
    gamma *= p.rate;
    beta *= p.rate;
    for (var row = 0u; row < p.rows; row++) {
        let value = x[p.a_start + row * p.a_stride + col];
        var g = slope * (grad_y[p.d_start + row * p.d_stride + col] - beta - (value - mean) * inverse * gamma);
        if (p.flags & THROUGH) != 0u {
            g = select(g * p.scale, 0.0, value <= 0.0);
        }
        grad_x[p.f_start + row * p.f_stride + col] = g;
    }
}
