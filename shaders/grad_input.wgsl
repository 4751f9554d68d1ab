// grad_input: dX = dZ Wᵀ, with dZ made from dY and Y while loading (gradient.wgsl).
//
// With the flag THROUGH, X is the output of a layer before, and what is written is that layer's dZ: dX * rate where X > 0, else 0.
// Shapes: dY, Y [rows, inner], W [cols, inner], X, dX [rows, cols], X from `first` on with rows `count` apart: `inner` counts the layer's outputs, `cols` its inputs. The sum runs
// over the outputs in ascending order in one chain. The tile file maps threads to elements.
// Source: the chain rule; CS231n notes, "backprop". CPU twin: src/cpu/reference/grad_input.rs.

@group(0) @binding(0) var<storage, read> weight: array<FirstElement>;
@group(0) @binding(1) var<storage, read> grad_output: array<Element>;
@group(0) @binding(2) var<storage, read> output: array<Element>;
@group(0) @binding(3) var<storage, read> x: array<Element>;
@group(0) @binding(4) var<storage, read_write> grad_input: array<OutputElement>;

// loader load_weight weight
// loader load_grad_output grad_output
// loader load_output output
// loader load_x x
// loader load_grad_input grad_input
// storer store_grad_input grad_input OutputElement

const FIRST: u32 = 1u;    // flag: the sum starts in this dispatch
const THROUGH: u32 = 2u;  // flag: of dispatches that end a sum

fn weight_quad(n: u32, k: u32) -> vec4<f32> {
    return load_weight(p.a_start + min(n, p.cols - 1u) * p.a_stride + k, p.inner - k);
}

const A_BY_TERM: bool = false;

fn a_quad(m: u32, k: u32) -> vec4<f32> {
    return grad_z(min(m, p.rows - 1u), k, p.inner - k);
}

// Element [r][k] is dZ[m + r, k + k].
fn a_block(m: u32, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(a_quad(m, k), a_quad(m + 1u, k), a_quad(m + 2u, k), a_quad(m + 3u, k));
}

// Element [k][c] is W[n + c, k + k].
fn b_block(k: u32, n: u32) -> mat4x4<f32> {
    return transpose(mat4x4<f32>(weight_quad(n, k), weight_quad(n + 1u, k), weight_quad(n + 2u, k), weight_quad(n + 3u, k)));
}

// The partial sum that the dispatch before left, where there was one.
fn start(m: u32, n: u32) -> vec4<f32> {
    if (p.flags & FIRST) != 0u || m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    return load_grad_input(p.d_start + m * p.d_stride + n, p.cols - n);
}

// Four sums of a part; see join.wgsl.
fn part_quad(at: u32, left: u32) -> vec4<f32> {
    return load_weight(at, left);
}

fn open(m: u32, n: u32, rows: u32) -> array<vec4<u32>, 2> {
    return array<vec4<u32>, 2>();
}

// dX, or the dZ of the layer before; a NaN in X lets the gradient pass.
fn passed(m: u32, n: u32, grad: vec4<f32>) -> vec4<f32> {
    if (p.flags & THROUGH) == 0u {
        return grad;
    }
    return select(grad * p.rate, vec4<f32>(0.0), load_x(p.first + m * p.count + n, p.cols - n) <= vec4<f32>(0.0));
}

// Writes eight columns of a row.
fn finish(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m >= p.rows || n >= p.cols {
        return;
    }
    let at = p.d_start + m * p.d_stride + n;
    let left = p.cols - n;
    store_grad_input(at, passed(m, n, low), left);
    if left > 4u {
        store_grad_input(at + 4u, passed(m, n + 4u, high), left - 4u);
    }
}

fn close(n: u32) {
}
