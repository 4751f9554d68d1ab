// attention_tile: tiles of 64 x 64 elements for attention.wgsl and attention_grad.wgsl.
//
//     sums[m, n] += sum over the 32 terms of a_tile[term, m] b_tile[term, n]
//
// Threads: 128. Thread (ty, tx), ty < 16 and tx < 8, has the rows 4 ty to 4 ty + 3 and the columns
// 8 tx to 8 tx + 7 of a tile. A tile of scores has queries as rows and keys as columns, so a thread
// has the draws of one call of Philox for each of its rows.
// A tile's columns are keys counted from a multiple of 8 of the whole, `shift` columns before the
// first key of the tensor, so that every strip of eight is a group of draws.
// The kernel defines the loads.

const THREADS: u32 = 128u;
const TERMS: u32 = 32u;
const SMALLEST: f32 = -3.4028234e38;
const MINUS_INFINITY: u32 = 0xff800000u;

// [term][quad]: four rows of A, or four columns of B, of a term.
var<workgroup> a_tile: array<vec4<f32>, 512>;
var<workgroup> b_tile: array<vec4<f32>, 512>;

// Eight columns of four rows: [2 row] and [2 row + 1].
alias Sums = array<vec4<f32>, 8>;

// Adds 32 terms to a thread's sums.
fn multiply(sums: ptr<function, Sums>, ty: u32, tx: u32) {
    for (var term = 0u; term < TERMS; term++) {
        let a = a_tile[term * 16u + ty];
        let low = b_tile[term * 16u + 2u * tx];
        let high = b_tile[term * 16u + 2u * tx + 1u];
        for (var r = 0u; r < 4u; r++) { // unroll
            (*sums)[2u * r] = fma(vec4<f32>(a[r]), low, (*sums)[2u * r]);
            (*sums)[2u * r + 1u] = fma(vec4<f32>(a[r]), high, (*sums)[2u * r + 1u]);
        }
    }
}

// Returns the numbers of a head from number d on.
fn left_of(d: u32) -> u32 {
    return p.own.width - min(d, p.own.width);
}

// Returns bits of the columns col .. col + 8: set for those from `range.x` to `range.y`, exclusive.
fn within(col: u32, range: vec2<u32>) -> u32 {
    let from_ = clamp(range.x, col, col + 8u) - col;
    let to = clamp(range.y, col, col + 8u) - col;
    return ((1u << to) - 1u) & ~((1u << from_) - 1u);
}

// Returns the first key that a query meets and the one after its last, counted in the tensor.
fn keys_of(query: u32) -> vec2<i32> {
    return clamp(
        vec2<i32>(i32(query)) + vec2<i32>(bitcast<i32>(p.own.lower), bitcast<i32>(p.own.upper)),
        vec2<i32>(0),
        vec2<i32>(i32(p.cols))
    );
}

// Returns the bits of a query's strip that starts at column `col`: those of the keys that it meets.
fn met(query: u32, col: u32) -> u32 {
    let keys = keys_of(query);
    let shift = i32(p.col_lane);
    let range = vec2<u32>(u32(keys.x + shift), u32(keys.y + shift));
    return select(0u, within(col, range), query < p.rows && keys.x < keys.y);
}

// Returns the bits that the mask keeps, eight for each of a thread's four rows.
fn kept(sequence: u32, head: u32, query: u32, col: u32) -> vec4<u32> {
    if p.threshold == KEEP_ALL {
        return vec4<u32>(0xffu);
    }
    let row = (sequence * p.own.mask_heads + head) * p.own.pitch + query;
    let words = draw_rows(row, p.col_group + col / 8u);
    var bits: vec4<u32>;
    for (var r = 0u; r < 4u; r++) { // unroll
        let low = select(vec4<u32>(0u), vec4<u32>(1u, 2u, 4u, 8u), kept_words(words[r].xy));
        let high = select(vec4<u32>(0u), vec4<u32>(16u, 32u, 64u, 128u), kept_words(words[r].zw));
        let both = low | high;
        bits[r] = both.x | both.y | both.z | both.w;
    }
    return bits;
}

// Sets one thread's columns of A to a tile of scores whose rows are to be summed over: term by
// column, of the half of the columns in which the thread's lie.
fn set_by_column(values: Sums, side: u32, ty: u32, tx: u32) {
    if tx / 4u == side {
        let first = 8u * (tx % 4u);
        for (var c = 0u; c < 4u; c++) { // unroll
            a_tile[(first + c) * 16u + ty] =
                vec4<f32>(values[0][c], values[2][c], values[4][c], values[6][c]);
            a_tile[(first + 4u + c) * 16u + ty] =
                vec4<f32>(values[1][c], values[3][c], values[5][c], values[7][c]);
        }
    }
}
