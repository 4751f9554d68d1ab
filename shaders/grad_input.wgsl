// grad_input: dX = dZ Wᵀ, with dZ made from dY and Y while loading (gradient.wgsl).
//
// Shapes: dY, Y [rows, inner], W [cols, inner], X, dX [rows, cols]. `inner` is the number of the
// layer's outputs, `cols` of its inputs.
// With the flag THROUGH, X is the output of the layer before, and the result is the gradient before
// that layer's activation: dX * through_scale if X > 0, else 0.
// Order: the sum runs over the outputs in ascending order, in one chain.
// Threads: the tile file maps them to elements.
// Source: the chain rule; CS231n notes, "backprop".
// CPU twin: src/cpu/reference/grad_input.rs.

// join product gradient
// width scalar vec4
// choice GATE none relu mask if DIVISION tile
// choice PART no yes if DIVISION tile
// choice BOUND all few if GATE relu
// takes state
// takes f16 if BOUND all
// takes sums

struct Own {
    inner: u32,          // terms of each sum in this dispatch; for a join, the number of parts
    terms: u32,          // terms of each part of a sum, if parts lie side by side; else all
    flags: u32,          // FIRST, THROUGH
    through_scale: f32,  // scale of the dropout that X is the output of
}

@group(0) @binding(0) var<storage, read> weight: array<FirstElement>;
// if DIVISION tile
@group(0) @binding(1) var<storage, read> grad_output: array<Element>;
// end
// if GATE relu
@group(0) @binding(2) var<storage, read> output: array<Element>;
// end
@group(0) @binding(3) var<storage, read_write> grad_input: array<OutputElement>;
// if BOUND all
@group(0) @binding(4) var<storage, read> x: array<Element>;
// end

// loader load_weight weight
// if DIVISION tile
// loader load_grad_output grad_output
// end
// if GATE relu
// loader load_output output
// end
// if BOUND all
// loader load_x x
// end
// loader load_grad_input grad_input
// storer store_grad_input grad_input OutputElement

const THROUGH: u32 = 2u;  // flag, only of dispatches that end a sum

// if DIVISION tile
fn weight_quad(n: u32, k: u32) -> vec4<Number> {
    return load_weight_stored(p.a_start + min(n, p.cols - 1u) * p.a_stride + k, p.own.inner - k);
}

const A_BY_TERM: bool = false;  // a line of A holds four terms
const B_BY_TERM: bool = false;  // a line of B holds four terms

fn a_quad(m: u32, k: u32) -> vec4<f32> {
    return grad_z(min(m, p.rows - 1u), k, p.own.inner - k);
}

fn a_fetch(m: u32, k: u32) -> Fetched {
    var fetched: Fetched;
    for (var r = 0u; r < 4u; r++) { // unroll
        fetched.values[r] = grad_of(min(m + r, p.rows - 1u), k, p.own.inner - k);
        fetched.output[r] = output_of(min(m + r, p.rows - 1u), k, p.own.inner - k);
    }
    return fetched;
}

// Line [r] is dZ[m + r, k .. k + 4].
fn a_lines(fetched: Fetched, m: u32, k: u32) -> mat4x4<f32> {
    var lines: mat4x4<f32>;
    for (var r = 0u; r < 4u; r++) { // unroll
        lines[r] = gated(
            vec4<f32>(fetched.values[r]), vec4<f32>(fetched.output[r]), min(m + r, p.rows - 1u), k
        );
    }
    return lines;
}

fn b_fetch(k: u32, n: u32) -> Fetched {
    return Fetched(
        mat4x4<Number>(
            weight_quad(n, k), weight_quad(n + 1u, k),
            weight_quad(n + 2u, k), weight_quad(n + 3u, k)
        ),
        mat4x4<Number>()
    );
}

// Line [c] is W[n + c, k .. k + 4].
fn b_lines(fetched: Fetched, k: u32, n: u32) -> mat4x4<f32> {
    return mat4x4<f32>(fetched.values);
}

fn b_strip(k: u32, n: u32) -> array<Eight, 4> {
    let low = transpose(b_lines(b_fetch(k, n), k, n));
    let high = transpose(b_lines(b_fetch(k, n + 4u), k, n + 4u));
    return array<Eight, 4>(
        Eight(low[0], high[0]), Eight(low[1], high[1]),
        Eight(low[2], high[2]), Eight(low[3], high[3])
    );
}

// Returns W[n .. n + 8, k].
fn b_eight(k: u32, n: u32) -> Eight {
    return Eight(weight_column(n, k), weight_column(n + 4u, k));
}

fn weight_column(n: u32, k: u32) -> vec4<f32> {
    let term = k % 4u;
    let from_ = k - term;
    return vec4<f32>(vec4<Number>(
        weight_quad(n, from_)[term], weight_quad(n + 1u, from_)[term],
        weight_quad(n + 2u, from_)[term], weight_quad(n + 3u, from_)[term]
    ));
}
// end

// Returns the partial sums that the previous dispatch left in dX.
fn load_partial_sum(m: u32, n: u32) -> vec4<f32> {
    if m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    return load_grad_input(p.d_start + m * p.d_stride + n, p.cols - n);
}

// Returns four sums of one part of a split-K product; see join.wgsl.
fn part_quad(at: u32, left: u32) -> vec4<f32> {
    return load_weight(at, left);
}

fn epilogue_begin(m: u32, n: u32, rows: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>();
}

// Writes eight columns of a row of dX, or of the dZ of the layer before. A NaN in X lets the
// gradient pass.
fn epilogue_row(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m >= p.rows || n >= p.cols {
        return;
    }
    let left = p.cols - n;
    var grad = Eight(low, high);
    // if BOUND all
    if (p.own.flags & THROUGH) != 0u {
        let x = load_x8(p.e_start + m * p.e_stride + n, left);
        let scale = p.own.through_scale;
        grad.low = select(low * scale, vec4<f32>(0.0), x.low <= vec4<f32>(0.0));
        grad.high = select(high * scale, vec4<f32>(0.0), x.high <= vec4<f32>(0.0));
    }
    // end
    store_grad_input8(p.d_start + m * p.d_stride + n, grad, left);
}

fn epilogue_end(n: u32) {
}

fn begin_own(zero: u32) {
    p.own.inner += zero;
    p.own.flags += zero;
}
