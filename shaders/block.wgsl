// block: how dropout, its other forms and copy divide a matrix among threads, without a division.
//
// A thread takes ROWS rows of two groups of eight columns: independent work, which hides the latency of a chain of Philox, and of which two
// rows share products. 2^`first` threads of a workgroup lie side by side along the columns, the others below, as the host finds best for the
// shape; workgroup.x counts blocks of columns and workgroup.y blocks of rows. The kernel that this is joined with gives strip(), which does
// what is to be done with eight columns of a row. `ALIGNED`, set by the host where the shard's column offset is a multiple of 8 and something is
// dropped, says that the columns of a strip are the draws of one call of Philox, which strip() is then given. It is compiled in, since adapters
// that run on a CPU execute both sides of a branch.

const GROUPS: u32 = 2u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * (64u >> p.first) + (lane >> p.first)) * ROWS;
    let col = ((workgroup.x << p.first) + (lane & ((1u << p.first) - 1u))) * (8u * GROUPS);
    var draws: array<vec4<u32>, 4>;
    if ALIGNED && ROWS == 2u {
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
