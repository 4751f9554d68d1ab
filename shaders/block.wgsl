// block: how dropout, its other forms and copy divide a matrix among threads, without a division.
//
// On an adapter that runs on a CPU a thread takes ROWS rows of GROUPS strips of eight columns: four rows of one strip where the rows have
// something to share, see rows.wgsl, or one row of two. On a real GPU it takes one strip, and where `SPREAD` is set the strip's two quads lie as far
// apart as neighbouring threads need to move neighbouring quads, the order in which such a device's memory is fastest.
// 2^`across_log2` threads of a workgroup lie side by side along the columns, the others below, as the host finds best for the shape; workgroup.x
// counts blocks of columns and workgroup.y blocks of rows. The kernel that this is joined with, or rows.wgsl, gives strip(), which does what is to be
// done with eight columns of ROWS rows, `col` and the three after it and `col + APART` and the three after that.

// How far the second quad of a strip lies from the first.
var<private> APART: u32 = 4u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * (64u >> p.own.across_log2) + (lane >> p.own.across_log2)) * ROWS;
    let first = workgroup.x << p.own.across_log2;
    let next = lane & ((1u << p.own.across_log2) - 1u);
    var col = (first + next) * (8u * GROUPS);
    if SPREAD {
        APART = 4u << p.own.across_log2;
        col = first * 8u + next * 4u;
    }
    for (var group = 0u; group < GROUPS; group++) { // unroll
        if row < p.rows && col + 8u * group < p.cols {
            strip(row, col + 8u * group);
        }
    }
}
