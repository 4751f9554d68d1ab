// grad_weight: dW = Xᵀ dZ and db = sum over the batch of dZ, in one dispatch.
//
// dZ is made from dY and Y while loading (gradient.wgsl).
// Shapes: X [inner, inputs], dY, Y [inner, cols], dW [inputs, cols], db [cols]. `inner` is the size
// of the batch.
// Order: the sum runs over the batch in ascending order, in one chain; under `PART` a dispatch may
// hold a part of it.
// Threads: outer.wgsl loads the factors; the tile file maps threads to elements.
// Source: the chain rule; CS231n notes, "backprop".
// CPU twin: src/cpu/reference/grad_weight.rs.

// join product gradient outer
// width scalar vec4 vec8
// choice GATE none relu mask
// choice PART no yes
// choice BOUND all few if GATE relu WIDTH scalar
// takes state
// takes f16 if PART no BOUND all

struct Own {
    inner: u32,     // terms of each sum in this dispatch; for a join, the number of parts
    terms: u32,     // terms of each part of a sum, if parts lie side by side; else all
    flags: u32,     // FIRST
    bias_row: u32,  // local row of the product that is db
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> grad_output: array<Element>;
// if GATE relu
@group(0) @binding(2) var<storage, read> output: array<Element>;
// end
@group(0) @binding(3) var<storage, read_write> grad_weight: array<Element>;
// With few bindings, db lies where dW does: all numbers are loaded one by one there.
// if BOUND all
@group(0) @binding(4) var<storage, read_write> grad_bias: array<Number>;
// end

// loader load_x x
// loader load_grad_output grad_output
// if GATE relu
// loader load_output output
// end
// loader load_grad_weight grad_weight
// storer store_grad_weight grad_weight

// Returns the partial sums that the previous dispatch left in dW, or in db for the row of ones.
fn load_partial_sum(m: u32, n: u32) -> vec4<f32> {
    if m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    if m == p.own.bias_row {
        let at = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(p.cols - 1u));
        return vec4<f32>(
            f32(bias_sum(at.x)), f32(bias_sum(at.y)), f32(bias_sum(at.z)), f32(bias_sum(at.w))
        );
    }
    return load_grad_weight(p.d_start + m * p.d_stride + n, p.cols - n);
}

fn put(at: u32, sums: Eight, left: u32) {
    store_grad_weight8(p.d_start + at, sums, left);
}

// if BOUND all
fn bias_sum(col: u32) -> Number {
    return grad_bias[p.e_start + col];
}

fn put_bias(col: u32, sum: f32) {
    grad_bias[p.e_start + col] = Number(sum);
}
// else
fn bias_sum(col: u32) -> Number {
    return grad_weight[p.e_start + col];
}

fn put_bias(col: u32, sum: f32) {
    grad_weight[p.e_start + col] = sum;
}
// end

fn begin_own(zero: u32) {
    p.own.inner += zero;
    p.own.flags += zero;
}
