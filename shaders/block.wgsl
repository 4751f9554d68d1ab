// block: maps threads to the elements of a matrix without a division, for dropout and copy.
//
// Dropout's other forms use it too. On an adapter that runs on a CPU, a thread takes ROWS rows of
// GROUPS strips of eight columns: four rows of one strip if the rows can share work (see
// rows.wgsl), else one row of two strips. On a real GPU it takes one strip. If `SPREAD` is set, the
// two quads of that strip lie 2^`across_log2` quads apart, so that neighbouring threads access
// neighbouring quads: the order in which a GPU's memory is fastest.
// Of a workgroup's 64 threads, 2^`across_log2` lie side by side along the columns and the others below
// them; the host chooses what suits the shape best. workgroup.x counts blocks of columns,
// workgroup.y blocks of rows.
// The kernel, or rows.wgsl, defines `strip(row, col)`, which processes eight columns of ROWS rows:
// `col` and the next three, `col + APART` and the next three.

// Columns from a strip's first quad to its second.
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
