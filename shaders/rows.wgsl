// rows: strips of ROWS rows, for kernels that read x and write y; each defines `map_strip`.
//
// `map_strip` returns the results for eight columns of a row.
// First all rows are drawn, then all are loaded, then all are stored. The Philox chains of four
// rows share products and hide each other's latency. And an adapter that runs on a CPU need not
// wait at a load to learn whether it reads what was just stored.
// The host sets `ALIGNED` if the shard's column offset is a multiple of 8 and something is dropped;
// then `map_strip` is given the strip's draws, two a word. It is a constant, since adapters that
// run on a CPU execute both sides of a branch. If the strip's quads lie apart, each group is drawn
// by two threads, of which each uses half; that costs nothing beside the memory of a real GPU.

// Draws for the quad that starts at a column.
fn draw_quad(row: u32, col: u32) -> vec2<u32> {
    let words = draw_group(row, p.col_group + col / 8u);
    return select(words.xy, words.zw, (col & 4u) != 0u);
}

fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    var draws: array<vec4<u32>, 4>;
    if ALIGNED && SPREAD {
        draws[0] = vec4<u32>(draw_quad(row, col), draw_quad(row, col + APART));
    } else if ALIGNED && ROWS == 4u {
        draws = draw_rows(row, p.col_group + col / 8u);
    } else if ALIGNED {
        draws[0] = draw_group(row, p.col_group + col / 8u);
    }
    var values: array<Eight, 4>;
    for (var r = 0u; r < ROWS; r++) { // unroll
        // Without a branch: past the end this loads the thread's own last row again, which is not
        // stored.
        values[r] = load_x8(p.a_start + min(row + r, p.rows - 1u) * p.a_stride + col, left);
    }
    for (var r = 0u; r < ROWS; r++) { // unroll
        if row + r < p.rows {
            store_y8(
                p.b_start + (row + r) * p.b_stride + col,
                map_strip(row + r, col, values[r], draws[r]),
                left
            );
        }
    }
}
