// block: how dropout, its other forms and copy divide a matrix among threads, without a division.
//
// On an adapter that runs on a CPU a thread takes ROWS rows of two strips of eight columns: independent work, which hides the latency of a chain
// of Philox, and of which two rows share products. On a real GPU it takes one strip, and where `SPREAD` is set the strip's two quads lie as far
// apart as neighbouring threads need to move neighbouring quads, the order in which such a device's memory is fastest; half of what Philox
// gives is then drawn by two threads, which costs nothing beside that.
// 2^`first` threads of a workgroup lie side by side along the columns, the others below, as the host finds best for the shape; workgroup.x
// counts blocks of columns and workgroup.y blocks of rows. The kernel that this is joined with gives strip(), which does what is to be done
// with eight columns of a row, `col` and the three after it and `col + APART` and the three after that. `ALIGNED`, set by the host where the shard's
// column offset is a multiple of 8 and something is dropped, says that strip() is given their draws, two a word. It is compiled in, since
// adapters that run on a CPU execute both sides of a branch.

// How far the second quad of a strip lies from the first.
var<private> APART: u32 = 4u;

// The draws of the quad that starts at a column.
fn draw_quad(row: u32, col: u32) -> vec2<u32> {
    let words = draw_group(row, p.col_group + col / 8u);
    return select(words.xy, words.zw, (col & 4u) != 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * (64u >> p.first) + (lane >> p.first)) * ROWS;
    let first = workgroup.x << p.first;
    let next = lane & ((1u << p.first) - 1u);
    var col = (first + next) * (8u * GROUPS);
    if SPREAD {
        APART = 4u << p.first;
        col = first * 8u + next * 4u;
    }
    var draws: array<vec4<u32>, 4>;
    if ALIGNED && SPREAD {
        draws[0] = vec4<u32>(draw_quad(row, col), draw_quad(row, col + APART));
    } else if ALIGNED && ROWS == 2u {
        draws = draw_block(row, p.col_group + col / 8u);
    } else if ALIGNED {
        draws[0] = draw_group(row, p.col_group + col / 8u);
        draws[1] = draw_group(row, p.col_group + col / 8u + 1u);
    }
    for (var r = 0u; r < ROWS; r++) { // unroll
        for (var group = 0u; group < GROUPS; group++) { // unroll
            if row + r < p.rows && col + 8u * group < p.cols {
                strip(row + r, col + 8u * group, draws[r * GROUPS + group]);
            }
        }
    }
}
