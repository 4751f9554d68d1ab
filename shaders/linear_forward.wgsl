// linear_forward: Y = M * s * relu(X W + b) in training; the predict form is Y = a * relu(X W + b).
//
// Shapes: X [rows, inner], W [inner, cols], b [cols], Y [rows, cols]. M is the mask, s its scale;
// the predict form has M all ones and s = a. ReLU and bias are optional (flags).
// Order: the sum runs over `inner` in ascending order, in one chain, whatever the tile. Under
// `PART` a dispatch may hold a part of it, and continues from the partial sums that the previous
// one left in Y.
// Threads: inner.wgsl loads the factors; the tile file maps threads to elements.
// Source: the fused epilogue is this crate's own.
// CPU twin: src/cpu/reference/linear_forward.rs.

// join product inner relu
// width scalar vec4 vec8
// choice PART no yes if DIVISION tile
// takes state
// takes f16
// takes sums

struct Own {
    inner: u32,  // terms of each sum in this dispatch; for a join, the number of parts
    terms: u32,  // terms of each part of a sum, if parts lie side by side; else all
    flags: u32,  // FIRST, LAST, RELU, BIAS
}

@group(0) @binding(0) var<storage, read> x: array<FirstElement>;
// if DIVISION tile
@group(0) @binding(1) var<storage, read> weight: array<Element>;
// end
@group(0) @binding(2) var<storage, read> bias: array<Number>;
@group(0) @binding(3) var<storage, read_write> y: array<OutputElement>;

// loader load_x x
// if DIVISION tile
// loader load_weight weight
// end
// loader load_y y
// storer store_y y OutputElement

const RELU: u32 = 4u;

fn activate(sum: vec4<f32>, bias_: vec4<f32>) -> vec4<f32> {
    let z = biased(sum, bias_);
    if (p.own.flags & RELU) != 0u {
        return relu(z);
    }
    return z;
}

// Writes eight columns of a row of Y: results, or partial sums.
fn epilogue_row(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m >= p.rows || n >= p.cols {
        return;
    }
    let at = p.d_start + m * p.d_stride + n;
    let left = p.cols - n;
    var y_low = low;
    var y_high = high;
    if !PART || (p.own.flags & LAST) != 0u {
        y_low = drop4(activate(low, bias_low), keep);
        y_high = drop4(activate(high, bias_high), keep >> 4u);
    }
    store_y8(at, Eight(y_low, y_high), left);
}

fn begin_own(zero: u32) {
    p.own.inner += zero;
    p.own.flags += zero;
}
