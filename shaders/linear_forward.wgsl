// linear_forward: Y = M * s * relu(X W + b) while training; with M all ones and s = a it is the predict form Y = a * relu(X W + b).
//
// Shapes: X [rows, inner], W [inner, cols], b [cols], Y [rows, cols]. ReLU and bias are optional (flags). The sum runs over `inner`
// in ascending order in one chain, whatever the tile; a dispatch may hold a part of it, and then takes up the partial sums that the
// one before left in Y. The tile file that this is joined with maps threads to elements and calls a_block, b_block and finish.
// Source: the fused epilogue is this crate's own. CPU twin: src/cpu/reference/linear_forward.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> weight: array<Element>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;

// loader load_x x
// loader load_weight weight
// loader load_y y
// storer store_y y

const FIRST: u32 = 1u;  // flag: the sum starts in this dispatch
const LAST: u32 = 2u;   // flag: the sum ends in this dispatch
const RELU: u32 = 4u;
const BIAS: u32 = 8u;

fn x_quad(m: u32, k: u32) -> vec4<f32> {
    return load_x(p.a_start + min(m, p.rows - 1u) * p.a_stride + k, p.inner - k);
}

fn weight_quad(k: u32, n: u32) -> vec4<f32> {
    return load_weight(p.b_start + k * p.b_stride + n, select(0u, p.cols - min(n, p.cols), k < p.inner));
}

// Element [r][k] is X[m + r, k + k].
fn a_block(m: u32, k: u32) -> mat4x4<f32> {
    if k >= p.inner {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(x_quad(m, k), x_quad(m + 1u, k), x_quad(m + 2u, k), x_quad(m + 3u, k));
}

// Element [k][c] is W[k + k, n + c].
fn b_block(k: u32, n: u32) -> mat4x4<f32> {
    if k >= p.inner {
        return mat4x4<f32>();
    }
    return mat4x4<f32>(weight_quad(k, n), weight_quad(k + 1u, n), weight_quad(k + 2u, n), weight_quad(k + 3u, n));
}

fn start(m: u32, n: u32) -> vec4<f32> {
    if (p.flags & FIRST) != 0u || m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    return load_y(p.d_start + m * p.d_stride + n, p.cols - n);
}

fn activate(sum: vec4<f32>, n: u32) -> vec4<f32> {
    var z = sum;
    if (p.flags & BIAS) != 0u {
        let last = p.cols - 1u;
        z += vec4<f32>(
            bias[p.c_start + min(n, last)],
            bias[p.c_start + min(n + 1u, last)],
            bias[p.c_start + min(n + 2u, last)],
            bias[p.c_start + min(n + 3u, last)],
        );
    }
    if (p.flags & RELU) != 0u {
        // A comparison instead of max(): relu(NaN) is NaN.
        z = select(z, vec4<f32>(0.0), z <= vec4<f32>(0.0));
    }
    return z;
}

// Writes eight columns of a row.
fn finish(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>) {
    if m >= p.rows || n >= p.cols {
        return;
    }
    let at = p.d_start + m * p.d_stride + n;
    let left = p.cols - n;
    if (p.flags & LAST) == 0u {
        store_y(at, low, left);
        if left > 4u {
            store_y(at + 4u, high, left - 4u);
        }
        return;
    }
    let keep = keep8(m, n);
    store_y(at, drop4(activate(low, n), keep), left);
    if left > 4u {
        store_y(at + 4u, drop4(activate(high, n + 4u), keep >> 4u), left - 4u);
    }
}
