// attention_slopes: turns blocks of attention scores and of dO V' into the factors of the
// gradients, in place.
//
//     P = exp(factor * scores + bias - logsumexp)         for the keys that a query meets, else 0
//     dP = M * s * grads        delta[q] = sum over k of P[q, k] * dP[q, k]
//     scores = tau * P * (dP - delta)        grads = M * s * P
//
// Shapes: scores, grads [rows, cols], a block of queries of one head by the keys that some of them
// meet; logsumexp [rows], one number every `c_stride`; bias [rows, cols].
// delta equals the sum of dO * O over a head's numbers, since O holds M and s.
// Which keys a query meets, and `DROPPED`: see attention_weights.wgsl.
// Order: eight partial sums, of the keys 0, 1, ... 7 modulo 8, are added at the end.
// Threads: one takes one row, twice. In between, the sign of P tells whether a key is kept.
// Source: Dao et al., "FlashAttention", NeurIPS (2022), appendix B.
// CPU twin: src/cpu/reference/attention_grad.rs.

// width scalar vec4 vec8
// choice DROPPED weights scores
// choice BIAS no yes
// takes state

struct Own {
    query: u32,   // first query of the block, counted in its sequence
    lower: u32,   // distance from a query to its first key, two's complement
    upper: u32,   // distance from a query to the key after its last
    factor: f32,  // factor of the scores, and tau
}

@group(0) @binding(0) var<storage, read_write> scores: array<Element>;
@group(0) @binding(1) var<storage, read_write> grads: array<Element>;
@group(0) @binding(2) var<storage, read> logsumexp: array<u32>;
// if BIAS yes
@group(0) @binding(3) var<storage, read> bias: array<f32>;
// end

// loader load_scores scores
// storer store_scores scores
// loader load_grads grads
// storer store_grads grads

// Returns bits of the keys col .. col + 8: set for those from `range.x` to `range.y`, exclusive.
fn within(col: u32, range: vec2<u32>) -> u32 {
    let from_ = clamp(range.x, col, col + 8u) - col;
    let to = clamp(range.y, col, col + 8u) - col;
    return ((1u << to) - 1u) & ~((1u << from_) - 1u);
}

// Returns the weights of four keys, negative for those that are dropped.
fn signed_weights(x: vec4<f32>, minus: f32, met: u32, keep: u32) -> vec4<f32> {
    let weight = select(vec4<f32>(0.0), exp(x + minus), kept4(met));
    return select(-weight, weight, kept4(keep));
}

fn scaled(v: vec4<f32>, keep: u32) -> vec4<f32> {
    // if DROPPED scores
    return select(vec4<f32>(0.0), v, kept4(keep));
    // else
    return drop4(v, keep);
    // end
}

// Returns bits of the keys of which a weight is not dropped.
fn signs(v: vec4<f32>) -> u32 {
    let positive = (bitcast<vec4<u32>>(v) >> vec4<u32>(31u)) == vec4<u32>(0u);
    let bits = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), positive);
    return bits.x | bits.y | bits.z | bits.w;
}

fn slope(weight: vec4<f32>, grad: vec4<f32>, keep: u32, delta: f32) -> vec4<f32> {
    // By selection: of a key that is not met, the gradient may be infinite.
    let dp = scaled(grad, keep);
    let ds = abs(weight) * (dp - vec4<f32>(delta)) * p.own.factor;
    // if DROPPED scores
    return select(ds, vec4<f32>(0.0), (weight == vec4<f32>(0.0)) | !kept4(keep));
    // else
    return select(ds, vec4<f32>(0.0), weight == vec4<f32>(0.0));
    // end
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
    var range = vec2<u32>(
        u32(clamp(query + bitcast<i32>(p.own.lower), 0, last)),
        u32(clamp(query + bitcast<i32>(p.own.upper), 0, last))
    );
    let word = logsumexp[p.c_start + row * p.c_stride];
    // A query that meets no key: minus infinity.
    let none = word == 0xff800000u;
    range = select(range, vec2<u32>(0u), vec2<bool>(none));
    let minus = -bitcast<f32>(select(word, 0u, none));
    var sums = Eight(vec4<f32>(0.0), vec4<f32>(0.0));
    for (var col = 0u; col < p.cols; col += 8u) {
        let left = p.cols - col;
        let at = p.a_start + row * p.a_stride + col;
        let v = load_scores8(at, left);
        var x = Eight(v.low * p.own.factor, v.high * p.own.factor);
        // if BIAS yes
        let bias_at = p.d_start + row * p.d_stride;
        for (var j = 0u; j < 4u; j++) { // unroll
            x.low[j] += bias[bias_at + min(col + j, p.cols - 1u)];
            x.high[j] += bias[bias_at + min(col + 4u + j, p.cols - 1u)];
        }
        // end
        let met = within(col, range);
        let keep = keep8(row, col);
        let low = signed_weights(x.low, minus, met, keep);
        let high = signed_weights(x.high, minus, met >> 4u, keep >> 4u);
        let grad = load_grads8(p.b_start + row * p.b_stride + col, left);
        // A gradient of weight 0 adds nothing, be it infinite.
        let nothing = vec4<f32>(0.0);
        sums = Eight(
            sums.low + select(low * scaled(grad.low, keep), nothing, low == nothing),
            sums.high + select(high * scaled(grad.high, keep >> 4u), nothing, high == nothing)
        );
        store_scores8(at, Eight(low, high), left);
    }
    let delta = sums.low.x + sums.low.y + sums.low.z + sums.low.w
        + sums.high.x + sums.high.y + sums.high.z + sums.high.w;
    for (var col = 0u; col < p.cols; col += 8u) {
        let left = p.cols - col;
        let at = p.a_start + row * p.a_stride + col;
        let grads_at = p.b_start + row * p.b_stride + col;
        let weight = load_scores8(at, left);
        let grad = load_grads8(grads_at, left);
        let keep = signs(weight.low) | (signs(weight.high) << 4u);
        let low = slope(weight.low, grad.low, keep, delta);
        let high = slope(weight.high, grad.high, keep >> 4u, delta);
        store_scores8(at, Eight(low, high), left);
        store_grads8(
            grads_at, Eight(scaled(weight.low, keep), scaled(weight.high, keep >> 4u)), left
        );
    }
}

fn begin_own(zero: u32) {
    p.own.query += zero;
}
