// grad_weight: dW = Xᵀ dZ and db = sum over the batch of dZ, in one dispatch, with dZ made while loading (gradient.wgsl).
//
// Shapes: X [inner, inputs], dY, Y [inner, cols], dW [inputs, cols], db [cols]: `inner` counts the batch. X is seen with one more
// column of ones, whose row of the product is db; `rows` counts the rows of this dispatch, that one included, and `first` is the
// local row of the ones (past the end where another dispatch has it), `count` the start of db in its binding. The sum runs over the batch in ascending order in one chain;
// a dispatch may hold a part of it (`PART`). The tile file maps threads to elements.
// Source: the chain rule; CS231n notes, "backprop". CPU twin: src/cpu/reference/grad_weight.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> grad_output: array<Element>;
@group(0) @binding(2) var<storage, read> output: array<Element>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<Element>;
@group(0) @binding(4) var<storage, read_write> grad_bias: array<Number>;

// loader load_x x
// loader load_grad_output grad_output
// loader load_output output
// loader load_grad_weight grad_weight
// storer store_grad_weight grad_weight

const FIRST: u32 = 1u;  // flag: the sum starts in this dispatch

const A_BY_TERM: bool = true;  // a_quad holds four rows of A, not four terms

// X[k, m .. m + 4], with the column of ones; 0 past the batch.
fn a_quad(m: u32, k: u32) -> vec4<f32> {
    let ones = vec4<u32>(m, m + 1u, m + 2u, m + 3u) == vec4<u32>(p.first);
    let values = select(load_x(p.a_start + k * p.a_stride + m, p.first - min(m, p.first)), vec4<f32>(1.0), ones);
    return select(vec4<f32>(0.0), values, k < p.inner);
}

fn grad_quad(k: u32, n: u32) -> vec4<f32> {
    let grad = grad_z(min(k, p.inner - 1u), n, p.cols - min(n, p.cols));
    return select(vec4<f32>(0.0), grad, k < p.inner);
}

// Element [r][k] is X[k + k, m + r].
fn a_block(m: u32, k: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(a_quad(m, k), a_quad(m, k + 1u), a_quad(m, k + 2u), a_quad(m, k + 3u)));
}

// Element [k][c] is dZ[k + k, n + c].
fn b_block(k: u32, n: u32) -> mat4x4<f32> {
    return mat4x4<f32>(grad_quad(k, n), grad_quad(k + 1u, n), grad_quad(k + 2u, n), grad_quad(k + 3u, n));
}

// The partial sum that the dispatch before left, where there was one.
fn start(m: u32, n: u32) -> vec4<f32> {
    if (p.flags & FIRST) != 0u || m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    if m == p.first {
        let at = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(p.cols - 1u)) + vec4<u32>(p.count);
        return vec4<f32>(f32(grad_bias[at.x]), f32(grad_bias[at.y]), f32(grad_bias[at.z]), f32(grad_bias[at.w]));
    }
    return load_grad_weight(p.d_start + m * p.d_stride + n, p.cols - n);
}

// The row of ones, if it is among the thread's.
var<private> has_bias: bool;
var<private> bias_low: vec4<f32>;
var<private> bias_high: vec4<f32>;

fn open(m: u32, n: u32, rows: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>();
}

// Writes eight columns of a row of dW, or holds them back for close() where they are db.
fn finish(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m == p.first {
        has_bias = true;
        bias_low = low;
        bias_high = high;
        return;
    }
    if m >= p.rows || n >= p.cols {
        return;
    }
    let at = p.d_start + m * p.d_stride + n;
    let left = p.cols - n;
    store_grad_weight(at, low, left);
    if left > 4u {
        store_grad_weight(at + 4u, high, left - 4u);
    }
}

fn close(n: u32) {
    if !has_bias {
        return;
    }
    for (var j = 0u; j < 4u; j++) { // unroll
        if n + j < p.cols {
            grad_bias[p.count + n + j] = Number(bias_low[j]);
        }
        if n + 4u + j < p.cols {
            grad_bias[p.count + n + 4u + j] = Number(bias_high[j]);
        }
    }
}
