// tile_workgroup: the loop of a matrix product for real GPUs.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// A workgroup of 8 x 8 threads makes a 64 x 64 tile of C, each thread 8 x 8 of it, from slabs of 16 terms that all threads load into
// workgroup memory together, one 4 x 4 block of A and one of B each. Column tiles run fastest over the grid.
// The kernel that this is joined with gives a_block, b_block, start, and open, finish
// and close for the rows of a thread.
// Source: the shape of kernel 5 in siboehm/SGEMM_CUDA, a 2-D register tile over a shared tile.

const TILE: u32 = 64u;
const STEP: u32 = 16u;

var<workgroup> a_tile: array<vec4<f32>, 256>;  // [term][row / 4]
var<workgroup> b_tile: array<vec4<f32>, 256>;  // [term][column / 4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    // Barriers stand in control flow that is uniform to a compiler's eye too: it rests on `params`, not on a copy.
    let inner = params.inner + workgroup.z;  // as in begin(), and uniform to a compiler's eye
    let index = workgroup.y * params.grid + workgroup.x;
    let col_tiles = (params.cols + TILE - 1u) / TILE;
    let tile_row = (index / col_tiles) * TILE;
    let tile_col = (index % col_tiles) * TILE;
    if tile_row >= params.rows {
        return;
    }
    let m = tile_row + (lane / 8u) * 8u;
    let n = tile_col + (lane % 8u) * 8u;
    let a_quad = (lane / 8u) * 2u;
    let b_quad = (lane % 8u) * 2u;

    var sums: array<vec4<f32>, 16>;
    if PART {
        for (var row = 0u; row < 8u; row++) { // unroll
            sums[2u * row] = start(m + row, n);
            sums[2u * row + 1u] = start(m + row, n + 4u);
        }
    }
    for (var k = 0u; k < inner; k += STEP) {
        // Blocks of one row of A lie side by side for neighbouring threads, as blocks of one row of B do.
        // A slab may go past the last term, with zeros.
        let a_term = k + (lane % 4u) * 4u;
        let b_term = k + (lane / 16u) * 4u;
        var a = mat4x4<f32>();
        var b = mat4x4<f32>();
        if a_term < p.inner {
            a = transpose(a_block(tile_row + (lane / 4u) * 4u, a_term));
        }
        if b_term < p.inner {
            b = b_block(b_term, tile_col + (lane % 16u) * 4u);
        }
        for (var term = 0u; term < 4u; term++) { // unroll
            a_tile[((lane % 4u) * 4u + term) * 16u + lane / 4u] = a[term];
            b_tile[((lane / 16u) * 4u + term) * 16u + lane % 16u] = b[term];
        }
        workgroupBarrier();
        for (var term = 0u; term < STEP; term++) {
            let above = a_tile[term * 16u + a_quad];
            let below = a_tile[term * 16u + a_quad + 1u];
            let low = b_tile[term * 16u + b_quad];
            let high = b_tile[term * 16u + b_quad + 1u];
            for (var row = 0u; row < 4u; row++) { // unroll
                sums[2u * row] = fma(vec4<f32>(above[row]), low, sums[2u * row]);
                sums[2u * row + 1u] = fma(vec4<f32>(above[row]), high, sums[2u * row + 1u]);
                sums[2u * row + 8u] = fma(vec4<f32>(below[row]), low, sums[2u * row + 8u]);
                sums[2u * row + 9u] = fma(vec4<f32>(below[row]), high, sums[2u * row + 9u]);
            }
        }
        workgroupBarrier();
    }
    let keep = open(m, n, 8u);
    for (var row = 0u; row < 8u; row++) { // unroll
        finish(m + row, n, sums[2u * row], sums[2u * row + 1u], keep[0][row / 4u] >> (8u * (row % 4u)));
    }
    close(n);
}
