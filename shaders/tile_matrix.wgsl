// tile_matrix: the loop of a matrix product of f16 on the matrix units of a GPU, summed in f32 in an order that is the device's own.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// A workgroup of eight subgroups of 32 threads makes a tile of 128 x 128, each subgroup 64 x 32 of it as eight cooperative matrices, from slabs of
// 32 terms that all threads load together, a 4 x 4 block of each factor a thread. Both factors lie in workgroup memory with the terms of a row or a
// column side by side, as f16, eight more than there are apart so that the rows of a matrix come from different banks, in two buffers. A finished
// matrix goes through workgroup memory too, since none but the device knows which thread has which of its elements; there a thread takes
// eight columns of a row.
// The kernel that this is joined with gives a_fetch, a_block, b_fetch, b_block, start, and open, finish and close for the rows of a thread.
// Sources: NVIDIA's CUTLASS (the hierarchy of tiles); SPV_KHR_cooperative_matrix.

const STEP: u32 = 32u;
const APART_TERMS: u32 = 10u;  // quads of terms from one row to the next
const EDGE: u32 = 128u;        // rows and columns of the tile

var<workgroup> a_tile: array<array<vec4<f16>, 1280>, 2>;
var<workgroup> b_tile: array<array<vec4<f16>, 1280>, 2>;
var<workgroup> stage: array<array<vec4<f32>, 64>, 8>;

// Stores a block of a slab in a buffer, row by row, 0 from the term `end` on.
fn store_a(buffer: u32, at: u32, fetched: Fetched, m: u32, k: u32, end: u32) {
    var values: mat4x4<f32>;
    if k < end {
        values = a_block(fetched, m, k);
    }
    for (var r = 0u; r < 4u; r++) { // unroll
        a_tile[buffer][at + r * APART_TERMS] = vec4<f16>(values[r]);
    }
}

// As store_a, column by column.
fn store_b(buffer: u32, at: u32, fetched: Fetched, k: u32, n: u32, end: u32) {
    var values: mat4x4<f32>;
    if k < end {
        values = transpose(b_block(fetched, k, n));
    }
    for (var r = 0u; r < 4u; r++) { // unroll
        b_tile[buffer][at + r * APART_TERMS] = vec4<f16>(values[r]);
    }
}

// Finishes what a subgroup has of eight columns of 16 rows from (m, n) on, from its place in workgroup memory.
fn finish_matrix(subgroup: u32, lane: u32, m: u32, n: u32) {
    workgroupBarrier();
    let row = m + lane / 2u;
    let col = n + lane % 2u * 8u;
    var low = stage[subgroup][lane * 2u];
    var high = stage[subgroup][lane * 2u + 1u];
    if PART {
        low += start(row, col);
        high += start(row, col + 4u);
    }
    let keep = open(row, col, 1u);
    finish(row, col, low, high, keep[0][0]);
    close(col);
    workgroupBarrier();
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    begin(workgroup);
    // As in tile_workgroup.wgsl: uniform to a compiler's eye too.
    let inner = params.inner + workgroup.z;
    let index = workgroup.y * params.grid + workgroup.x;
    let col_tiles = (params.cols + EDGE - 1u) / EDGE;
    let row_tiles = (params.rows + EDGE - 1u) / EDGE;
    let part = part_of(index, row_tiles * col_tiles, inner);
    let tile_row = (part.x / col_tiles) * EDGE;
    let tile_col = (part.x % col_tiles) * EDGE;
    // No return here where a folded grid has no tile: matrices ask for control flow that naga too sees is uniform. Nothing is stored then.
    // The thread's block of each factor in a slab.
    let term = thread % 8u * 4u;
    let m = tile_row + thread / 8u * 4u;
    let n = tile_col + thread / 8u * 4u;
    let at = thread / 8u * 4u * APART_TERMS + thread % 8u;
    let subgroup = thread / 32u;
    let first_row = subgroup / 4u * 64u;
    let first_col = subgroup % 4u * 32u;

    // One by one: not every driver keeps an array of matrices in registers.
    var sums_00: coop_mat16x16<f32, C>;
    var sums_01: coop_mat16x16<f32, C>;
    var sums_10: coop_mat16x16<f32, C>;
    var sums_11: coop_mat16x16<f32, C>;
    var sums_20: coop_mat16x16<f32, C>;
    var sums_21: coop_mat16x16<f32, C>;
    var sums_30: coop_mat16x16<f32, C>;
    var sums_31: coop_mat16x16<f32, C>;
    var next_a = a_fetch(m, part.y + term);
    var next_b = b_fetch(part.y + term, n);
    store_a(0u, at, next_a, m, part.y + term, part.z);
    store_b(0u, at, next_b, part.y + term, n, part.z);
    workgroupBarrier();
    var buffer = 0u;
    for (var k = part.y; k < part.z; k += STEP) {
        // After the last slab comes the last again, which is not used.
        let next_k = select(k, k + STEP, k + STEP < part.z) + term;
        next_a = a_fetch(m, next_k);
        next_b = b_fetch(next_k, n);
        for (var half = 0u; half < 2u; half++) { // unroll
            let a_at = first_row * APART_TERMS + half * 4u;
            let b_at = first_col * APART_TERMS + half * 4u;
            let b_0 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[buffer][b_at], APART_TERMS);
            let b_1 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[buffer][b_at + 16u * APART_TERMS], APART_TERMS);
            let a_0 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[buffer][a_at], APART_TERMS);
            let a_1 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[buffer][a_at + 16u * APART_TERMS], APART_TERMS);
            let a_2 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[buffer][a_at + 32u * APART_TERMS], APART_TERMS);
            let a_3 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[buffer][a_at + 48u * APART_TERMS], APART_TERMS);
            sums_00 = coopMultiplyAdd(a_0, b_0, sums_00);
            sums_01 = coopMultiplyAdd(a_0, b_1, sums_01);
            sums_10 = coopMultiplyAdd(a_1, b_0, sums_10);
            sums_11 = coopMultiplyAdd(a_1, b_1, sums_11);
            sums_20 = coopMultiplyAdd(a_2, b_0, sums_20);
            sums_21 = coopMultiplyAdd(a_2, b_1, sums_21);
            sums_30 = coopMultiplyAdd(a_3, b_0, sums_30);
            sums_31 = coopMultiplyAdd(a_3, b_1, sums_31);
        }
        buffer = 1u - buffer;
        store_a(buffer, at, next_a, m, next_k, part.z);
        store_b(buffer, at, next_b, next_k, n, part.z);
        workgroupBarrier();
    }
    let lane = thread % 32u;
    let row = tile_row + first_row;
    let col = tile_col + first_col;
    let done_00 = sums_00;
    coopStoreT(done_00, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row, col);
    let done_01 = sums_01;
    coopStoreT(done_01, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row, col + 16u);
    let done_10 = sums_10;
    coopStoreT(done_10, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 16u, col);
    let done_11 = sums_11;
    coopStoreT(done_11, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 16u, col + 16u);
    let done_20 = sums_20;
    coopStoreT(done_20, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 32u, col);
    let done_21 = sums_21;
    coopStoreT(done_21, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 32u, col + 16u);
    let done_30 = sums_30;
    coopStoreT(done_30, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 48u, col);
    let done_31 = sums_31;
    coopStoreT(done_31, &stage[subgroup][0], 4u);
    finish_matrix(subgroup, lane, row + 48u, col + 16u);
}
