// batch_norm_grad: backward pass of batch_norm in training, without its ReLU and dropout.
//
//     n = (x - mean) / sqrt(variance + epsilon)
//     dgamma[c] = sum over r of dy * n           dbeta[c] = sum over r of dy
//     dx = gamma / sqrt(variance + epsilon) * (dy - dbeta / B - n * dgamma / B)
//     with the flag THROUGH: dx * s if x > 0, else 0
//
// mean and variance are the mini-batch's own. THROUGH continues the backward pass through the layer
// before, whose ReLU and dropout of scale s gave x.
// Shapes: x, dy, dx [rows, cols]; statistics, affine and its gradient [2, cols]: means and
// variances, gamma and beta; slopes [5, cols]: mean, 1/sqrt, gamma/sqrt, dgamma/B and dbeta/B,
// where sqrt is that of variance + epsilon.
// Parameters: `scale` is s.
// Order: the sums are in ascending order of rows.
// Threads: three dispatches, told apart by a flag, so that none binds more than four tensors:
//
//              a        b               c            d, written      one thread takes
//     SUMS     x        dy              statistics   dgamma, dbeta   a column
//     SLOPES   affine   dgamma, dbeta   statistics   slopes          a column
//     (none)   x        dy              slopes       dx              eight columns of a row
//
// Source: Ioffe, Szegedy, "Batch normalization", ICML 2015, section 3.
// CPU twin: src/cpu/reference/batch_norm_grad.rs.

struct Own {
    epsilon: f32,
    inverse_rows: f32,  // 1/B
    flags: u32,         // SUMS, SLOPES, THROUGH
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> c: array<f32>;
@group(0) @binding(3) var<storage, read_write> d: array<f32>;

const THROUGH: u32 = 2u;  // flag
const SUMS: u32 = 4u;     // flag
const SLOPES: u32 = 8u;   // flag

fn inverse_deviation(col: u32) -> f32 {
    return 1.0 / sqrt(c[p.c_start + p.cols + col] + p.own.epsilon);
}

fn sums(col: u32) {
    let mean = c[p.c_start + col];
    let inverse = inverse_deviation(col);
    var gamma = 0.0;
    var beta = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let g = b[p.b_start + row * p.b_stride + col];
        gamma += g * ((a[p.a_start + row * p.a_stride + col] - mean) * inverse);
        beta += g;
    }
    d[p.d_start + col] = gamma;
    d[p.d_start + p.cols + col] = beta;
}

fn slopes(col: u32) {
    let inverse = inverse_deviation(col);
    d[p.d_start + col] = c[p.c_start + col];
    d[p.d_start + p.cols + col] = inverse;
    d[p.d_start + 2u * p.cols + col] = a[p.a_start + col] * inverse;
    d[p.d_start + 3u * p.cols + col] = b[p.b_start + col] * p.own.inverse_rows;
    d[p.d_start + 4u * p.cols + col] = b[p.b_start + p.cols + col] * p.own.inverse_rows;
}

fn grad_x(row: u32, col: u32) {
    let at = p.c_start + col;
    let value = a[p.a_start + row * p.a_stride + col];
    let normal = (value - c[at]) * c[at + p.cols];
    var g = b[p.b_start + row * p.b_stride + col];
    g = c[at + 2u * p.cols] * (g - c[at + 4u * p.cols] - normal * c[at + 3u * p.cols]);
    if (p.own.flags & THROUGH) != 0u {
        g = select(g * p.scale, 0.0, value <= 0.0);
    }
    d[p.d_start + row * p.d_stride + col] = g;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if (p.own.flags & (SUMS | SLOPES)) != 0u {
        if index < p.cols && (p.own.flags & SUMS) != 0u {
            sums(index);
        } else if index < p.cols {
            slopes(index);
        }
        return;
    }
    let strips = (p.cols + 7u) / 8u;
    let row = index / strips;
    let first = (index % strips) * 8u;
    if row >= p.rows {
        return;
    }
    for (var col = first; col < min(first + 8u, p.cols); col++) {
        grad_x(row, col);
    }
}

fn begin_own(zero: u32) {
    p.own.flags += zero;
}
