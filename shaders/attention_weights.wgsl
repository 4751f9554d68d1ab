// attention_weights: turns a block of attention scores into dropped weights, in place.
//
//     x[q, k] = factor * scores[q, k] + bias[q, k]        for the keys k that query q meets
//     logsumexp[q] = log(sum over k of exp(x[q, k]))
//     scores[q, k] = M * s * exp(x[q, k] - logsumexp[q])  and 0 for all other keys
//
// Shapes: scores [rows, cols], a block of queries of one head by the keys that some of them meet;
// logsumexp [rows], one number every `b_stride`; bias [rows, cols].
// Query q, counted in its sequence from `query`, meets the keys from q + lower to q + upper,
// exclusive, counted from the block's first. If it meets none, its weights are 0 and its logsumexp
// is minus infinity. Under `DROPPED scores` a dropped score counts as one that is not met, and s is 1.
// Order: eight partial sums, of the keys 0, 1, ... 7 modulo 8, are added at the end.
// Threads: one takes one row: its largest score, its exponentials and their sum, its weights.
// Source: Vaswani et al., "Attention is all you need" (2017), equation 1 and section 5.4.
// CPU twin: src/cpu/reference/attention.rs.

// width scalar vec4 vec8
// choice DROPPED weights scores
// choice BIAS no yes
// takes state

struct Own {
    query: u32,   // first query of the block, counted in its sequence
    lower: u32,   // distance from a query to its first key, two's complement
    upper: u32,   // distance from a query to the key after its last
    factor: f32,  // factor of the scores
}

@group(0) @binding(0) var<storage, read_write> scores: array<Element>;
@group(0) @binding(1) var<storage, read_write> logsumexp: array<u32>;
// if BIAS yes
@group(0) @binding(2) var<storage, read> bias: array<f32>;
// end

// loader load_scores scores
// storer store_scores scores

const SMALLEST: f32 = -3.4028234e38;
const SCORES: u32 = 1u;  // value of DROPPED

// Returns bits of the keys col .. col + 8: set for those from `range.x` to `range.y`, exclusive.
fn within(col: u32, range: vec2<u32>) -> u32 {
    let from_ = clamp(range.x, col, col + 8u) - col;
    let to = clamp(range.y, col, col + 8u) - col;
    return ((1u << to) - 1u) & ~((1u << from_) - 1u);
}

// Returns the scores of eight keys with their factor and bias.
fn scores8(row: u32, col: u32) -> Eight {
    let left = p.cols - col;
    let v = load_scores8(p.a_start + row * p.a_stride + col, left);
    var x = Eight(v.low * p.own.factor, v.high * p.own.factor);
    // if BIAS yes
    let at = p.c_start + row * p.c_stride;
    for (var j = 0u; j < 4u; j++) { // unroll
        x.low[j] += bias[at + min(col + j, p.cols - 1u)];
        x.high[j] += bias[at + min(col + 4u + j, p.cols - 1u)];
    }
    // end
    return x;
}

// Returns bits of the keys col .. col + 8 whose scores the softmax takes.
fn taken(row: u32, col: u32, range: vec2<u32>) -> u32 {
    // if DROPPED scores
    return within(col, range) & keep8(row, col);
    // else
    return within(col, range);
    // end
}

fn larger(most: vec4<f32>, x: vec4<f32>, bits: u32) -> vec4<f32> {
    return select(most, x, kept4(bits) & (x > most));
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    let query = i32(p.own.query + row);
    let last = i32(p.cols);
    let range = vec2<u32>(
        u32(clamp(query + bitcast<i32>(p.own.lower), 0, last)),
        u32(clamp(query + bitcast<i32>(p.own.upper), 0, last))
    );
    var most = vec4<f32>(SMALLEST);
    for (var col = 0u; col < p.cols; col += 8u) {
        let x = scores8(row, col);
        let bits = taken(row, col, range);
        most = larger(larger(most, x.low, bits), x.high, bits >> 4u);
    }
    let largest = max(max(most.x, most.y), max(most.z, most.w));
    var sums = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
    for (var col = 0u; col < p.cols; col += 8u) {
        let left = p.cols - col;
        let x = scores8(row, col);
        let bits = taken(row, col, range);
        let low = select(vec4<f32>(0.0), exp(x.low - largest), kept4(bits));
        let high = select(vec4<f32>(0.0), exp(x.high - largest), kept4(bits >> 4u));
        sums = Eight(sums.low + low, sums.high + high);
        store_scores8(p.a_start + row * p.a_stride + col, Eight(low, high), left);
    }
    let sum = sums.low.x + sums.low.y + sums.low.z + sums.low.w
        + sums.high.x + sums.high.y + sums.high.z + sums.high.w;
    let none = sum == 0.0;
    logsumexp[p.b_start + row * p.b_stride] =
        select(bitcast<u32>(largest + log(sum)), 0xff800000u, none);
    // if DROPPED scores
    let factor = select(1.0 / sum, 0.0, none);
    // else
    let factor = select(p.scale / sum, 0.0, none);
    // end
    for (var col = 0u; col < p.cols; col += 8u) {
        let left = p.cols - col;
        let at = p.a_start + row * p.a_stride + col;
        let v = load_scores8(at, left);
        // if DROPPED scores
        let bits = 0xffu;
        // else
        let bits = keep8(row, col);
        // end
        let low = select(vec4<f32>(0.0), v.low * factor, kept4(bits));
        let high = select(vec4<f32>(0.0), v.high * factor, kept4(bits >> 4u));
        store_scores8(at, Eight(low, high), left);
    }
}

fn begin_own(zero: u32) {
    p.own.query += zero;
}
