// block: how dropout and copy divide a matrix among threads, without a division.
//
// A thread takes ROWS rows of two groups of eight columns: independent work, which hides the latency of a chain of Philox, and of which a
// compiler finds the products that the rows share. 2^`first` threads of a workgroup lie side by side along the columns, the others below,
// as the host finds best for the shape; workgroup.x counts blocks of columns and workgroup.y blocks of rows. The kernel that this is joined
// with gives strip(), which does what is to be done with eight columns of a row.

const GROUPS: u32 = 2u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * (64u >> p.first) + (lane >> p.first)) * ROWS;
    let col = ((workgroup.x << p.first) + (lane & ((1u << p.first) - 1u))) * (8u * GROUPS);
    for (var r = 0u; r < ROWS; r++) { // unroll
        for (var group = 0u; group < GROUPS; group++) { // unroll
            if row + r < p.rows && col + 8u * group < p.cols {
                strip(row + r, col + 8u * group);
            }
        }
    }
}
