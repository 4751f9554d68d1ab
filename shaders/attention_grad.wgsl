// attention_grad: the gradient of one factor of attention, with all weights computed anew.
//
//     P = exp(factor Q K' + A - logsumexp)     for the keys that a query meets, else 0
//     delta[q] = sum over d of dO[q, d] O[q, d]
//     dP = M * s * (dO V')        dS = P * (dP - delta)
//     TARGET query: dQ = factor dS K      key: dK = factor dS' Q      value: dV = (M * s * P)' dO
//
// Shapes: query, output, grad_output [sequences * rows, heads * width]; key, value [sequences *
// cols, key heads * width]; logsumexp [sequences * rows, heads]; bias as in attention.wgsl; result
// as the target.
// A query that meets no key adds nothing. `DROPPED`: see attention.wgsl.
// Order: every sum is an ascending chain, those of dK and dV over the heads of a group and then
// over queries.
// Threads: a workgroup has 64 queries, or 64 keys, of a head, and 64 columns of the result from
// `first` on; it takes tiles of 64 keys, or of 64 queries, in turn. See attention_tile.wgsl.
// Source: Dao et al., "FlashAttention", NeurIPS (2022), algorithm 4, here in passes for each target
// so that no sum needs an atomic operation.
// CPU twin: src/cpu/reference/attention_grad.rs.

// join attention_tile
// width scalar vec4
// choice TARGET query key value
// choice DROPPED weights scores
// choice BIAS no yes
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
@group(0) @binding(2) var<storage, read> grad_output: array<Element>;
@group(0) @binding(3) var<storage, read> logsumexp: array<u32>;
@group(0) @binding(4) var<storage, read_write> result: array<Element>;
// if TARGET query key
@group(0) @binding(5) var<storage, read> value: array<Element>;
@group(0) @binding(6) var<storage, read> output: array<Element>;
// end
// if BIAS yes
@group(0) @binding(7) var<storage, read> bias: array<f32>;
// end

// loader load_query query
// loader load_key key
// loader load_grad grad_output
// if TARGET query key
// loader load_value value
// loader load_output output
// end
// storer store_result result

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

// Returns four numbers of the output's gradient, or 0 past the head's.
fn grad_quad(row: u32, head: u32, d: u32) -> vec4<f32> {
    let at = p.c_start + row * p.c_stride + head * p.own.width + d;
    return select(vec4<f32>(0.0), load_grad(at, left_of(d)), d < p.own.width);
}

// if TARGET query key
// Returns four numbers of a value, or 0 past the head's.
fn value_quad(row: u32, head: u32, d: u32) -> vec4<f32> {
    let at = p.f_start + row * p.f_stride + head * p.own.width + d;
    return select(vec4<f32>(0.0), load_value(at, left_of(d)), d < p.own.width);
}

// Returns four numbers of the output, or 0 past the head's.
fn output_quad(row: u32, head: u32, d: u32) -> vec4<f32> {
    let at = p.g_start + row * p.g_stride + head * p.own.width + d;
    return select(vec4<f32>(0.0), load_output(at, left_of(d)), d < p.own.width);
}
// end

// The tile at hand.
struct At {
    sequence: u32,
    head: u32,
    key_head: u32,
    query: u32,  // first query
    col: u32,    // first column of the keys
}

fn query_at(at: At, row: u32) -> u32 {
    return at.sequence * p.rows + min(at.query + row, p.rows - 1u);
}

fn key_at(at: At, col: u32) -> u32 {
    let k = clamp(i32(at.col + col) - i32(p.col_lane), 0, i32(p.cols) - 1);
    return at.sequence * p.cols + u32(k);
}

// Loads 32 terms of the scores' factors, or with `of_grads` of dO and V.
fn load_terms(at: At, d: u32, lane: u32, of_grads: bool) {
    let quad = lane % 16u;
    let from_ = d + 4u * (lane / 16u);
    var a: mat4x4<f32>;
    var b: mat4x4<f32>;
    for (var r = 0u; r < 4u; r++) { // unroll
        // if TARGET query key
        if of_grads {
            a[r] = grad_quad(query_at(at, 4u * quad + r), at.head, from_);
            b[r] = value_quad(key_at(at, 4u * quad + r), at.key_head, from_);
        } else {
            a[r] = query_quad(query_at(at, 4u * quad + r), at.head, from_);
            b[r] = key_quad(key_at(at, 4u * quad + r), at.key_head, from_);
        }
        // else
        a[r] = query_quad(query_at(at, 4u * quad + r), at.head, from_);
        b[r] = key_quad(key_at(at, 4u * quad + r), at.key_head, from_);
        // end
    }
    a = transpose(a);
    b = transpose(b);
    for (var term = 0u; term < 4u; term++) { // unroll
        a_tile[(4u * (lane / 16u) + term) * 16u + quad] = a[term];
        b_tile[(4u * (lane / 16u) + term) * 16u + quad] = b[term];
    }
}

// Returns a quad of a row that the result sums over.
fn term_quad(at: At, term: u32, d: u32, there: bool) -> vec4<f32> {
    // if TARGET query
    let v = key_quad(key_at(at, term), at.key_head, d);
    // end
    // if TARGET key
    let v = query_quad(query_at(at, term), at.head, d);
    // end
    // if TARGET value
    let v = grad_quad(query_at(at, term), at.head, d);
    // end
    return select(vec4<f32>(0.0), v, there);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    // From `params` and not from the copy, so that compilers see uniform control flow at the
    // barriers.
    let rows = params.rows + workgroup.z;  // plus 0, as in begin()
    let cols = params.cols;
    let shift = params.col_lane;
    let depth = params.own.width + workgroup.z;
    let lower = bitcast<i32>(params.own.lower);
    let upper = bitcast<i32>(params.own.upper);
    let index = workgroup.y * params.grid + workgroup.x;
    // if TARGET query
    let tiles = (rows + 63u) / 64u;
    let owners = params.own.heads;
    // else
    let tiles = (cols + shift + 63u) / 64u;
    let owners = params.own.heads / params.own.group;
    // end
    let sequence = index / (tiles * owners);
    if sequence >= params.own.sequences {
        return;
    }
    let owner = index / tiles % owners;
    let own_first = index % tiles * 64u;
    // The tiles that meet the workgroup's: from `from_` on, up to `to`, for each head of a group.
    // if TARGET query
    let last_query = min(own_first + 63u, rows - 1u);
    let from_ = u32(clamp(i32(own_first) + lower, 0, i32(cols))) + shift;
    let to = u32(clamp(i32(last_query) + upper, 0, i32(cols))) + shift;
    let heads = 1u;
    // else
    let first_key = max(i32(own_first) - i32(shift), 0);
    let end_key = min(i32(own_first + 64u) - i32(shift), i32(cols));
    let from_ = u32(clamp(first_key - upper + 1, 0, i32(rows)));
    let to = u32(clamp(end_key - lower, 0, i32(rows)));
    let heads = params.own.group;
    // end
    let ty = lane / 8u;
    let tx = lane % 8u;

    var sums: Sums;
    for (var member = 0u; member < heads; member++) {
        for (var other = from_ / 64u * 64u; other < to; other += 64u) {
            // if TARGET query
            let at = At(sequence, owner, owner / params.own.group, own_first, other);
            // else
            let at = At(sequence, owner * params.own.group + member, owner, other, own_first);
            // end
            var scores: Sums;
            for (var d = 0u; d < depth; d += TERMS) {
                load_terms(at, d, lane, false);
                workgroupBarrier();
                multiply(&scores, ty, tx);
                workgroupBarrier();
            }
            // if TARGET query key
            var grads: Sums;
            for (var d = 0u; d < depth; d += TERMS) {
                load_terms(at, d, lane, true);
                workgroupBarrier();
                multiply(&grads, ty, tx);
                workgroupBarrier();
            }
            var part = vec4<f32>(0.0);
            for (var d = 4u * tx; d < depth; d += 32u) {
                for (var r = 0u; r < 4u; r++) { // unroll
                    let row = query_at(at, 4u * ty + r);
                    part[r] += dot(grad_quad(row, at.head, d), output_quad(row, at.head, d));
                }
            }
            a_tile[lane] = part;
            workgroupBarrier();
            var delta = vec4<f32>(0.0);
            for (var i = 0u; i < 8u; i++) { // unroll
                delta += a_tile[8u * ty + i];
            }
            workgroupBarrier();
            // end
            let strip = at.col + 8u * tx;
            let query_row = at.query + 4u * ty;
            let keep = kept(at.sequence, at.head, query_row, strip);
            for (var r = 0u; r < 4u; r++) { // unroll
                let row = query_at(at, 4u * ty + r);
                let word = logsumexp[p.d_start + row * p.d_stride + at.head];
                let none = word == MINUS_INFINITY;
                // if DROPPED scores
                let taken = select(met(query_row + r, strip) & keep[r], 0u, none);
                let scale = 1.0;
                // else
                let taken = select(met(query_row + r, strip), 0u, none);
                let scale = p.scale;
                // end
                let minus = -bitcast<f32>(select(word, 0u, none));
                var low = scores[2u * r] * p.own.factor + minus;
                var high = scores[2u * r + 1u] * p.own.factor + minus;
                // if BIAS yes
                let bias_row = at.sequence * p.own.bias_step + at.head * p.own.bias_rows
                    + min(query_row + r, p.rows - 1u);
                for (var j = 0u; j < 4u; j++) { // unroll
                    let k = vec2<i32>(i32(strip + j), i32(strip + 4u + j)) - i32(shift);
                    let place = clamp(k, vec2<i32>(0), vec2<i32>(i32(cols) - 1));
                    low[j] += bias[p.h_start + bias_row * p.h_stride + u32(place.x)];
                    high[j] += bias[p.h_start + bias_row * p.h_stride + u32(place.y)];
                }
                // end
                low = select(vec4<f32>(0.0), exp(low), kept4(taken));
                high = select(vec4<f32>(0.0), exp(high), kept4(taken >> 4u));
                // if TARGET value
                scores[2u * r] = select(vec4<f32>(0.0), low * scale, kept4(keep[r]));
                scores[2u * r + 1u] = select(vec4<f32>(0.0), high * scale, kept4(keep[r] >> 4u));
                // else
                let grad_low = select(vec4<f32>(0.0), grads[2u * r] * scale, kept4(keep[r]));
                let grad_high =
                    select(vec4<f32>(0.0), grads[2u * r + 1u] * scale, kept4(keep[r] >> 4u));
                // By selection: of a key that is not met, the gradient may be infinite.
                let nothing = vec4<f32>(0.0);
                let ds_low = low * (grad_low - delta[r]) * p.own.factor;
                let ds_high = high * (grad_high - delta[r]) * p.own.factor;
                scores[2u * r] = select(ds_low, nothing, low == nothing);
                scores[2u * r + 1u] = select(ds_high, nothing, high == nothing);
                // end
            }
            for (var side = 0u; side < 2u; side++) {
                // if TARGET query
                set_by_column(scores, side, ty, tx);
                // else
                if ty / 8u == side {
                    for (var r = 0u; r < 4u; r++) { // unroll
                        let term = 4u * (ty % 8u) + r;
                        a_tile[term * 16u + 2u * tx] = scores[2u * r];
                        a_tile[term * 16u + 2u * tx + 1u] = scores[2u * r + 1u];
                    }
                }
                // end
                for (var i = 0u; i < 4u; i++) { // unroll
                    let place = lane + THREADS * i;
                    let term = 32u * side + place / 16u;
                    b_tile[place] = term_quad(
                        at, term, params.own.first + 4u * (place % 16u),
                        other + term >= from_ && other + term < to
                    );
                }
                workgroupBarrier();
                multiply(&sums, ty, tx);
                workgroupBarrier();
            }
        }
    }
    let d = p.own.first + 8u * tx;
    for (var r = 0u; r < 4u; r++) { // unroll
        // if TARGET query
        let local = i32(own_first + 4u * ty + r);
        let size = p.rows;
        // else
        let local = i32(own_first + 4u * ty + r) - i32(p.col_lane);
        let size = p.cols;
        // end
        if local >= 0 && u32(local) < size && d < p.own.width {
            let row = sequence * size + u32(local);
            let to = p.e_start + row * p.e_stride + owner * p.own.width + d;
            store_result8(to, Eight(sums[2u * r], sums[2u * r + 1u]), p.own.width - d);
        }
    }
}
