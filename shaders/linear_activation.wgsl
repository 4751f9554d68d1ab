// linear_activation: Y = R + M * s * act(Z) with Z = X W + b, which is saved if asked for.
//
// Shapes: X [rows, inner], W [inner, cols], b [cols], R, Y, Z [rows, cols]. M is the mask, s its
// scale. The bias, R and saving Z are optional (flags); R may be what Y holds beforehand.
// Order: the sum runs over `inner` as in linear_forward.
// Threads: inner.wgsl loads the factors, activation.wgsl defines act, the tile file maps threads to
// elements.
// Source: the epilogue of a transformer's layer, fused; this crate's own.
// CPU twin: src/cpu/reference/linear_activation.rs.

// join product inner activation relu
// width scalar vec4 vec8
// choice PART no yes if DIVISION tile
// choice BOUND all few if DIVISION join
// takes state
// takes sums

struct Own {
    inner: u32,  // terms of each sum in this dispatch; for a join, the number of parts
    terms: u32,  // terms of each part of a sum, if parts lie side by side; else all
    flags: u32,  // FIRST, LAST, BIAS, the activation, SAVE, RESIDUAL, IN_PLACE
}

@group(0) @binding(0) var<storage, read> x: array<FirstElement>;
// if DIVISION tile
@group(0) @binding(1) var<storage, read> weight: array<Element>;
// end
@group(0) @binding(2) var<storage, read> bias: array<Number>;
@group(0) @binding(3) var<storage, read_write> y: array<Element>;
// if BOUND all
@group(0) @binding(4) var<storage, read> residual: array<Element>;
// end
@group(0) @binding(5) var<storage, read_write> z: array<Element>;

// loader load_x x
// if DIVISION tile
// loader load_weight weight
// end
// if BOUND all
// loader load_residual residual
// end
// loader load_y y
// storer store_y y
// storer store_z z

const SAVE: u32 = 128u;      // flag: Z is saved
const RESIDUAL: u32 = 256u;  // flag: there is an R
const IN_PLACE: u32 = 512u;  // flag: R is what Y holds beforehand

// Writes eight columns of a row of Y, and of Z.
fn epilogue_row(m: u32, n: u32, low: vec4<f32>, high: vec4<f32>, keep: u32) {
    if m >= p.rows || n >= p.cols {
        return;
    }
    let at = p.d_start + m * p.d_stride + n;
    let left = p.cols - n;
    var out = Eight(low, high);
    if !PART || (p.own.flags & LAST) != 0u {
        let sum = Eight(biased(low, bias_low), biased(high, bias_high));
        if (p.own.flags & SAVE) != 0u {
            store_z8(p.f_start + m * p.f_stride + n, sum, left);
        }
        out = Eight(drop4(activate(sum.low), keep), drop4(activate(sum.high), keep >> 4u));
        // if BOUND all
        if (p.own.flags & RESIDUAL) != 0u {
            let r = load_residual8(p.e_start + m * p.e_stride + n, left);
            out = Eight(out.low + r.low, out.high + r.high);
        }
        // end
        if (p.own.flags & IN_PLACE) != 0u {
            let r = load_y8(at, left);
            out = Eight(out.low + r.low, out.high + r.high);
        }
    }
    store_y8(at, out, left);
}

fn begin_own(zero: u32) {
    p.own.inner += zero;
    p.own.flags += zero;
}
