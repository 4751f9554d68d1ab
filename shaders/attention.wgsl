// attention: softmax(factor Q K' + A), dropped, times V, in one pass over the keys.
//
//     x[q, k] = factor * sum over d of Q[q, d] K[k, d] + A[q, k]    for the keys that q meets
//     logsumexp[q] = log(sum over k of exp(x[q, k]))
//     output[q, d] = s * sum over k of M[q, k] exp(x[q, k] - logsumexp[q]) V[k, d]
//
// Shapes: query, output [sequences * rows, heads * width]; key, value [sequences * cols, key heads
// * width]; logsumexp [sequences * rows, heads]; bias [heads * rows, cols], one for all sequences or
// one for each.
// A query that meets no key has the output 0 and the logsumexp minus infinity. Under
// `DROPPED scores` a dropped score counts as one that is not met, and s is 1.
// Order: a score is one ascending chain over d. Keys come in tiles of 64; sums over keys are
// ascending chains, scaled when a tile raises the largest score. The weights of the keys 8 tx + j
// of all tiles are a partial sum of the logsumexp; the eight are added in ascending order.
// Threads: a workgroup has 64 queries of a head, and 64 columns of the output from `first` on; see
// attention_tile.wgsl.
// Sources: Milakov, Gimelshein, "Online normalizer calculation for softmax" (2018); Dao et al.,
// "FlashAttention", NeurIPS (2022), algorithm 1.
// CPU twin: src/cpu/reference/attention.rs.

// join attention_tile
// width scalar vec4
// choice DROPPED weights scores
// choice BIAS no yes
// choice LOGSUMEXP no yes
// takes state

struct Own {
    heads: u32,       // query heads of the tensors
    group: u32,       // query heads that share a key head
    sequences: u32,
    width: u32,       // numbers of a head
    first: u32,       // first column of a head that is written
    lower: u32,       // distance from a query to its first key, two's complement
    upper: u32,       // distance from a query to the key after its last
    factor: f32,      // factor of the scores
    mask_heads: u32,  // query heads of the whole
    pitch: u32,       // rows of the mask for each head
    bias_rows: u32,   // rows of the bias for each head
    bias_step: u32,   // rows of the bias for each sequence, 0 if all share them
}

@group(0) @binding(0) var<storage, read> query: array<Element>;
@group(0) @binding(1) var<storage, read> key: array<Element>;
@group(0) @binding(2) var<storage, read> value: array<Element>;
@group(0) @binding(3) var<storage, read_write> output: array<Element>;
// if LOGSUMEXP yes
@group(0) @binding(4) var<storage, read_write> logsumexp: array<u32>;
// end
// if BIAS yes
@group(0) @binding(5) var<storage, read> bias: array<f32>;
// end

// loader load_query query
// loader load_key key
// loader load_value value
// storer store_output output

// Returns four numbers of a query, or 0 past the head's.
fn query_quad(row: u32, head: u32, d: u32) -> vec4<f32> {
    let at = p.a_start + row * p.a_stride + head * p.own.width + d;
    return select(vec4<f32>(0.0), load_query(at, left_of(d)), d < p.own.width);
}

// Returns four numbers of a key, or 0 past the head's.
fn key_quad(row: u32, head: u32, d: u32) -> vec4<f32> {
    let at = p.b_start + row * p.b_stride + head * p.own.width + d;
    return select(vec4<f32>(0.0), load_key(at, left_of(d)), d < p.own.width);
}

// Returns four numbers of a value; 0 if `there` is false, be the value infinite.
fn value_quad(row: u32, head: u32, d: u32, there: bool) -> vec4<f32> {
    let at = p.c_start + row * p.c_stride + head * p.own.width + d;
    let v = load_value(at, left_of(d));
    return select(vec4<f32>(0.0), v, there && d < p.own.width);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    // From `params` and not from the copy, so that compilers see uniform control flow at the
    // barriers.
    let rows = params.rows + workgroup.z;  // plus 0, as in begin()
    let cols = i32(params.cols);
    let tiles = (rows + 63u) / 64u;
    let index = workgroup.y * params.grid + workgroup.x;
    let sequence = index / (tiles * params.own.heads);
    if sequence >= params.own.sequences {
        return;
    }
    let head = index / tiles % params.own.heads;
    let key_head = head / params.own.group;
    let first_query = index % tiles * 64u;
    let shift = params.col_lane;
    let depth = params.own.width + workgroup.z;
    // Columns of the keys that some of the queries meet.
    let last_query = min(first_query + 63u, rows - 1u);
    let from_ = u32(clamp(i32(first_query) + bitcast<i32>(params.own.lower), 0, cols)) + shift;
    let to = u32(clamp(i32(last_query) + bitcast<i32>(params.own.upper), 0, cols)) + shift;
    let ty = lane / 8u;
    let tx = lane % 8u;
    let query_row = first_query + 4u * ty;
    let key_from = sequence * params.cols;

    var largest = vec4<f32>(SMALLEST);
    var weights = vec4<f32>(0.0);  // this thread's part of the sum of each row
    var sums: Sums;
    for (var col = from_ / 64u * 64u; col < to; col += 64u) {
        var scores: Sums;
        for (var d = 0u; d < depth; d += TERMS) {
            // A block of four rows by four numbers of each factor.
            let quad = lane % 16u;
            let at = d + 4u * (lane / 16u);
            var a: mat4x4<f32>;
            var b: mat4x4<f32>;
            for (var r = 0u; r < 4u; r++) { // unroll
                let q = sequence * rows + min(first_query + 4u * quad + r, rows - 1u);
                let k = clamp(i32(col + 4u * quad + r) - i32(shift), 0, cols - 1);
                a[r] = query_quad(q, head, at);
                b[r] = key_quad(key_from + u32(k), key_head, at);
            }
            a = transpose(a);
            b = transpose(b);
            for (var term = 0u; term < 4u; term++) { // unroll
                a_tile[(4u * (lane / 16u) + term) * 16u + quad] = a[term];
                b_tile[(4u * (lane / 16u) + term) * 16u + quad] = b[term];
            }
            workgroupBarrier();
            multiply(&scores, ty, tx);
            workgroupBarrier();
        }
        let strip = col + 8u * tx;
        let keep = kept(sequence, head, query_row, strip);
        var taken: vec4<u32>;
        var most: vec4<f32>;
        for (var r = 0u; r < 4u; r++) { // unroll
            // if DROPPED scores
            taken[r] = met(query_row + r, strip) & keep[r];
            // else
            taken[r] = met(query_row + r, strip);
            // end
            var low = scores[2u * r] * p.own.factor;
            var high = scores[2u * r + 1u] * p.own.factor;
            // if BIAS yes
            let bias_row = sequence * p.own.bias_step + head * p.own.bias_rows
                + min(query_row + r, p.rows - 1u);
            for (var j = 0u; j < 4u; j++) { // unroll
                let k = vec2<i32>(i32(strip + j), i32(strip + 4u + j)) - i32(shift);
                let at = clamp(k, vec2<i32>(0), vec2<i32>(cols - 1));
                low[j] += bias[p.f_start + bias_row * p.f_stride + u32(at.x)];
                high[j] += bias[p.f_start + bias_row * p.f_stride + u32(at.y)];
            }
            // end
            scores[2u * r] = low;
            scores[2u * r + 1u] = high;
            // By comparison, so that a score that is NaN raises nothing and stays NaN.
            var shown = vec4<f32>(SMALLEST);
            shown = select(shown, low, kept4(taken[r]) & (low > shown));
            shown = select(shown, high, kept4(taken[r] >> 4u) & (high > shown));
            most[r] = max(max(shown.x, shown.y), max(shown.z, shown.w));
        }
        a_tile[lane] = most;
        workgroupBarrier();
        var raised = largest;
        for (var i = 0u; i < 8u; i++) { // unroll
            raised = max(raised, a_tile[8u * ty + i]);
        }
        workgroupBarrier();
        let shrink = exp(largest - raised);
        largest = raised;
        weights *= shrink;
        for (var r = 0u; r < 4u; r++) { // unroll
            let most_ = vec4<f32>(largest[r]);
            let low = select(vec4<f32>(0.0), exp(scores[2u * r] - most_), kept4(taken[r]));
            let high =
                select(vec4<f32>(0.0), exp(scores[2u * r + 1u] - most_), kept4(taken[r] >> 4u));
            let both = low + high;
            weights[r] += both.x + both.y + both.z + both.w;
            scores[2u * r] = select(vec4<f32>(0.0), low, kept4(keep[r]));
            scores[2u * r + 1u] = select(vec4<f32>(0.0), high, kept4(keep[r] >> 4u));
            sums[2u * r] *= shrink[r];
            sums[2u * r + 1u] *= shrink[r];
        }
        for (var side = 0u; side < 2u; side++) {
            set_by_column(scores, side, ty, tx);
            for (var i = 0u; i < 4u; i++) { // unroll
                let place = lane + THREADS * i;
                let term = col + 32u * side + place / 16u;
                let k = clamp(i32(term) - i32(shift), 0, cols - 1);
                b_tile[place] = value_quad(
                    key_from + u32(k), key_head, params.own.first + 4u * (place % 16u),
                    term >= from_ && term < to
                );
            }
            workgroupBarrier();
            multiply(&sums, ty, tx);
            workgroupBarrier();
        }
    }
    a_tile[lane] = weights;
    workgroupBarrier();
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i++) { // unroll
        total += a_tile[8u * ty + i];
    }
    let d = p.own.first + 8u * tx;
    for (var r = 0u; r < 4u; r++) { // unroll
        if query_row + r < p.rows {
            let row = sequence * p.rows + query_row + r;
            let none = total[r] == 0.0;
            // if DROPPED scores
            let factor = 1.0 / total[r];
            // else
            let factor = p.scale / total[r];
            // end
            if d < p.own.width {
                let at = p.d_start + row * p.d_stride + head * p.own.width + d;
                let result = Eight(
                    select(sums[2u * r] * factor, vec4<f32>(0.0), none),
                    select(sums[2u * r + 1u] * factor, vec4<f32>(0.0), none)
                );
                store_output8(at, result, p.own.width - d);
            }
            // if LOGSUMEXP yes
            if tx == 0u {
                logsumexp[p.e_start + row * p.e_stride + head] =
                    select(bitcast<u32>(largest[r] + log(total[r])), MINUS_INFINITY, none);
            }
            // end
        }
    }
}
