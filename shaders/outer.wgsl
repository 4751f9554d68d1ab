// outer: the factors of Xᵀ dZ and the rows of the result, for grad_weight and grad_weight_sgd.
//
// X [inner, inputs] is treated as having one more column, of ones, whose row of the product is db.
// `rows` is the number of rows in this dispatch, that one included. `bias_row` is the local row of the
// ones; it lies past the end if another dispatch has it.
// The kernel declares x; it or gradient.wgsl defines `grad_of`, `output_of`, `gated` and `grad_z8`.
// The kernel also defines `put`, which takes eight columns of a row of dW, and `put_bias`, which
// takes one column of db.

const A_BY_TERM: bool = true;  // a line of A holds four rows
const B_BY_TERM: bool = true;  // a line of B holds four columns

fn x_quad(m: u32, k: u32) -> vec4<Number> {
    return load_x_stored(p.a_start + k * p.a_stride + m, p.own.bias_row - min(m, p.own.bias_row));
}

// Returns X[k, m .. m + 4] with the column of ones; 0 past the batch.
fn with_ones(values: vec4<Number>, m: u32, k: u32) -> vec4<f32> {
    let ones = vec4<u32>(m, m + 1u, m + 2u, m + 3u) == vec4<u32>(p.own.bias_row);
    return select(vec4<f32>(0.0), select(vec4<f32>(values), vec4<f32>(1.0), ones), k < p.own.inner);
}

fn a_quad(m: u32, k: u32) -> vec4<f32> {
    return with_ones(x_quad(m, k), m, k);
}

fn a_fetch(m: u32, k: u32) -> Fetched {
    return Fetched(
        mat4x4<Number>(x_quad(m, k), x_quad(m, k + 1u), x_quad(m, k + 2u), x_quad(m, k + 3u)),
        mat4x4<Number>()
    );
}

// Line [t] is X[k + t, m .. m + 4].
fn a_lines(fetched: Fetched, m: u32, k: u32) -> mat4x4<f32> {
    let x = fetched.values;
    return mat4x4<f32>(
        with_ones(x[0], m, k), with_ones(x[1], m, k + 1u),
        with_ones(x[2], m, k + 2u), with_ones(x[3], m, k + 3u)
    );
}

fn b_fetch(k: u32, n: u32) -> Fetched {
    var fetched: Fetched;
    let left = p.cols - min(n, p.cols);
    for (var r = 0u; r < 4u; r++) { // unroll
        fetched.values[r] = grad_of(min(k + r, p.own.inner - 1u), n, left);
        fetched.output[r] = output_of(min(k + r, p.own.inner - 1u), n, left);
    }
    return fetched;
}

// Line [t] is dZ[k + t, n .. n + 4].
fn b_lines(fetched: Fetched, k: u32, n: u32) -> mat4x4<f32> {
    var lines: mat4x4<f32>;
    for (var t = 0u; t < 4u; t++) { // unroll
        let grad = gated(
            vec4<f32>(fetched.values[t]), vec4<f32>(fetched.output[t]), min(k + t, p.own.inner - 1u), n
        );
        lines[t] = select(vec4<f32>(0.0), grad, k + t < p.own.inner);
    }
    return lines;
}

// Returns dZ[k, n .. n + 8].
fn b_eight(k: u32, n: u32) -> Eight {
    let grad = grad_z8(min(k, p.own.inner - 1u), n, p.cols - min(n, p.cols));
    let zero = vec4<f32>(0.0);
    return Eight(select(zero, grad.low, k < p.own.inner), select(zero, grad.high, k < p.own.inner));
}

// Element [t] is dZ[k + t, n .. n + 8].
fn b_strip(k: u32, n: u32) -> array<Eight, 4> {
    return array<Eight, 4>(
        b_eight(k, n), b_eight(k + 1u, n), b_eight(k + 2u, n), b_eight(k + 3u, n)
    );
}

fn epilogue_begin(m: u32, n: u32, rows: u32) -> array<vec4<u32>, 2> {
    has_bias = false;
    return array<vec4<u32>, 2>();
}

// The sums of the row of ones, if it is among the thread's rows.
var<private> has_bias: bool;
var<private> bias_low: vec4<f32>;
var<private> bias_high: vec4<f32>;

// Passes eight columns of a row of dW on to `put`, or holds them back for `epilogue_end` if they
// are db.
fn epilogue_row(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m == p.own.bias_row {
        has_bias = true;
        bias_low = low;
        bias_high = high;
        return;
    }
    if m >= p.rows || n >= p.cols {
        return;
    }
    put(m * p.d_stride + n, Eight(low, high), p.cols - n);
}

fn epilogue_end(n: u32) {
    if !has_bias {
        return;
    }
    for (var j = 0u; j < min(8u, p.cols - min(n, p.cols)); j++) {
        let quad = select(bias_high, bias_low, j < 4u);
        let pair = select(quad.zw, quad.xy, j % 4u < 2u);
        put_bias(n + j, select(pair.y, pair.x, j % 2u == 0u));
    }
}
