// dropout_broadcast: y = M * s * x with a mask M that elements share; dx = M * s * dy.
//
// It is its own derivative.
// Shapes: x, y of any rank, viewed as a matrix [rows, cols]. A run is a series of neighbouring axes
// along which the mask's row and column advance as along a single axis. The matrix's columns are
// the last run; its rows are the runs before, at most three. Row r, counted over all dispatches, is
// r = (i0 * size_1 + i1) * size_2 + i2, and its place in the mask is
//
//     row = i0 * row_0 + i1 * row_1 + i2 * row_2        col = i0 * col_0 + i1 * col_1 + i2 * col_2
//
// Compiled in, as `ALIGNED` is in rows.wgsl: if `ONE_DRAW` is set, the elements of a row share the
// draw at (row, col); otherwise they take those of col, col + 1, …. If `GROUPED` is set, one call
// of Philox draws for all columns of a strip. If `FREE` is set, the matrix's columns are not the
// last run, because its rows have gaps: each element finds its place by its number, which counts
// from `first_col` of row `first`, with `run` columns to a row of the map's matrix.
// Threads: block.wgsl maps them to elements, and does not draw.
// Source: the mask contract; crates/contract/src/axes.rs names the source of each broadcast.
// CPU twin: src/cpu/reference/dropout_broadcast.rs.

// join block
// width scalar vec4 vec8
// choice GROUPED no yes
// choice ONE_DRAW no yes if GROUPED no
// choice FREE no yes if GROUPED no
// takes state

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
    first: u32,        // row that this dispatch starts at
    size_1: u32,       // sizes of the second and third run of axes
    size_2: u32,
    row_0: u32,        // steps of the row along each run
    row_1: u32,
    row_2: u32,
    col_0: u32,        // steps of the column along each run
    col_1: u32,
    col_2: u32,
    run: u32,          // columns of the last run
    first_col: u32,    // column of the last run that this dispatch starts at
}

// if IN_PLACE no
@group(0) @binding(0) var<storage, read> x: array<Element>;
// end
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

// if IN_PLACE yes
// loader load_x y
// else
// loader load_x x
// end
// storer store_y y

// Returns eight equal bits: set if local element (row, col) of the mask is kept.
fn keep_one(row: u32, col: u32) -> u32 {
    if p.threshold == KEEP_ALL {
        return 0xffu;
    }
    let at = col + p.col_lane;
    let bits = keep_group(row, p.col_group + at / 8u);
    return select(0u, 0xffu, ((bits >> (at % 8u)) & 1u) != 0u);
}

// if FREE yes
// Returns eight bits: set for the elements of a strip that are kept, each at its own place.
fn keep_free(row: u32, col: u32) -> u32 {
    var keep = 0u;
    for (var j = 0u; j < 8u; j++) {
        let number = p.own.first_col + row * p.cols + col + j;
        let r = p.own.first + number / p.own.run;
        let upper = r / p.own.size_2;
        let i0 = upper / p.own.size_1;
        let i1 = upper - i0 * p.own.size_1;
        let i2 = r - upper * p.own.size_2;
        let mask_row = i0 * p.own.row_0 + i1 * p.own.row_1 + i2 * p.own.row_2;
        var mask_col = i0 * p.own.col_0 + i1 * p.own.col_1 + i2 * p.own.col_2;
        if !ONE_DRAW {
            mask_col += number % p.own.run;
        }
        keep |= keep_one(mask_row, mask_col) & (1u << j);
    }
    return keep;
}

fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    let keep = keep_free(row, col);
    var v = load_x8(p.a_start + row * p.a_stride + col, left);
    v = Eight(drop4(v.low, keep), drop4(v.high, keep >> 4u));
    store_y8(p.b_start + row * p.b_stride + col, v, left);
}
// else
fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    let upper = (p.own.first + row) / p.own.size_2;
    let i0 = upper / p.own.size_1;
    let i1 = upper - i0 * p.own.size_1;
    let i2 = p.own.first + row - upper * p.own.size_2;
    let mask_row = i0 * p.own.row_0 + i1 * p.own.row_1 + i2 * p.own.row_2;
    let mask_col = i0 * p.own.col_0 + i1 * p.own.col_1 + i2 * p.own.col_2;
    var v = load_x8(p.a_start + row * p.a_stride + col, left);
    if GROUPED {
        let words = draw_group(mask_row, p.col_group + (mask_col + col) / 8u);
        v = Eight(drop_words(v.low, words.xy), drop_words(v.high, words.zw));
    } else if ONE_DRAW {
        let keep = keep_one(mask_row, mask_col);
        v = Eight(drop4(v.low, keep), drop4(v.high, keep));
    } else {
        let keep = keep8(mask_row, mask_col + col);
        v = Eight(drop4(v.low, keep), drop4(v.high, keep >> 4u));
    }
    store_y8(p.b_start + row * p.b_stride + col, v, left);
}
// end
