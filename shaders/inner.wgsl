// inner: the factors of X W and the epilogue shared by linear_forward and linear_activation.
//
// The kernel declares x, weight, bias and y, and defines `epilogue_row`, which takes eight columns
// of a row of Y.

const LAST: u32 = 2u;   // flag: the sum ends in this dispatch
const BIAS: u32 = 8u;   // flag: there is a bias

const A_BY_TERM: bool = false;  // a line of A holds four terms
const B_BY_TERM: bool = true;   // a line of B holds four columns

fn x_quad(m: u32, k: u32) -> vec4<Number> {
    return load_x_stored(p.a_start + min(m, p.rows - 1u) * p.a_stride + k, p.own.inner - k);
}

fn a_quad(m: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(x_quad(m, k));
}

// if DIVISION tile
fn weight_quad(k: u32, n: u32) -> vec4<Number> {
    return load_weight_stored(
        p.b_start + k * p.b_stride + n, select(0u, p.cols - min(n, p.cols), k < p.own.inner)
    );
}

// Loads W[k, n .. n + 8].
fn b_eight(k: u32, n: u32) -> Eight {
    return load_weight8(
        p.b_start + k * p.b_stride + n, select(0u, p.cols - min(n, p.cols), k < p.own.inner)
    );
}

fn a_fetch(m: u32, k: u32) -> Fetched {
    return Fetched(
        mat4x4<Number>(x_quad(m, k), x_quad(m + 1u, k), x_quad(m + 2u, k), x_quad(m + 3u, k)),
        mat4x4<Number>()
    );
}

// Line [r] is X[m + r, k .. k + 4].
fn a_lines(fetched: Fetched, m: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(fetched.values);
}

fn b_fetch(k: u32, n: u32) -> Fetched {
    return Fetched(
        mat4x4<Number>(
            weight_quad(k, n), weight_quad(k + 1u, n),
            weight_quad(k + 2u, n), weight_quad(k + 3u, n)
        ),
        mat4x4<Number>()
    );
}

// Line [t] is W[k + t, n .. n + 4].
fn b_lines(fetched: Fetched, k: u32, n: u32) -> mat4x4<f32> {
    return mat4x4<f32>(fetched.values);
}

// Element [t] is W[k + t, n .. n + 8].
fn b_strip(k: u32, n: u32) -> array<Eight, 4> {
    return array<Eight, 4>(
        b_eight(k, n), b_eight(k + 1u, n), b_eight(k + 2u, n), b_eight(k + 3u, n)
    );
}
// end

// Returns the partial sums that the previous dispatch left in Y.
fn load_partial_sum(m: u32, n: u32) -> vec4<f32> {
    if m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    return load_y(p.d_start + m * p.d_stride + n, p.cols - n);
}

// Returns four sums of one part of a split-K product; see join.wgsl.
fn part_quad(at: u32, left: u32) -> vec4<f32> {
    return load_x(at, left);
}

// The bias of the thread's eight columns.
var<private> bias_low: vec4<f32>;
var<private> bias_high: vec4<f32>;

fn bias_quad(n: u32) -> vec4<f32> {
    let at = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(p.cols - 1u))
        + vec4<u32>(p.c_start);
    return vec4<f32>(f32(bias[at.x]), f32(bias[at.y]), f32(bias[at.z]), f32(bias[at.w]));
}

// Loads the bias and draws the mask of the thread's rows; returns the bits that tell which elements
// are kept.
fn epilogue_begin(m: u32, n: u32, rows: u32) -> array<vec4<u32>, 2> {
    if (p.own.flags & BIAS) != 0u {
        bias_low = bias_quad(n);
        bias_high = bias_quad(n + 4u);
    }
    return keep_rows(m, n, rows);
}

fn biased(sum: vec4<f32>, bias_: vec4<f32>) -> vec4<f32> {
    if (p.own.flags & BIAS) != 0u {
        return sum + bias_;
    }
    return sum;
}

fn epilogue_end(n: u32) {
}
