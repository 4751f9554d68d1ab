// tile_matrix: the loop of a matrix product of f16 on a GPU's matrix units, summed in f32.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// Order: the device's own.
// Threads: a workgroup makes a tile of 128 rows by COL_BLOCKS * 64 columns. Each of its subgroups
// of 32 threads makes a 64 x 64 block of it, as sixteen cooperative matrices, from slabs of 32
// terms.
// All threads load a slab together, four lines of four elements at a time, as they lie in memory;
// the loads of the matrices sort out rows and columns. While a slab is multiplied, the next is
// being loaded into registers. Values past the last term are set to 0 by selection: behind a
// branch, a compiler would issue the load only there.
// A finished matrix goes through workgroup memory, since only the device knows which thread has
// which of its elements; from there a thread takes eight columns of a row. The address of a matrix
// in workgroup memory is its subgroup's block, which does not change, plus a literal, so that no
// index is checked in the loop.
// The kernel defines `a_fetch`, `a_lines`, `b_fetch`, `b_lines`, `A_BY_TERM`, `B_BY_TERM` and
// `load_partial_sum`, and the epilogue of a thread's rows: `epilogue_begin`, `epilogue_row` and
// `epilogue_end`.
// Sources: NVIDIA's CUTLASS (the hierarchy of tiles); SPV_KHR_cooperative_matrix.

const STEP: u32 = 32u;
const BLOCK: u32 = 64u;         // rows and columns of a subgroup's block
const ROW_BLOCKS: u32 = 2u;
const SUBGROUPS: u32 = ROW_BLOCKS * COL_BLOCKS;
const THREADS: u32 = SUBGROUPS * 32u;
const LOADERS: u32 = 128u;      // threads that load a block of a slab
const A_LOADS: u32 = ROW_BLOCKS * LOADERS / THREADS;
const B_LOADS: u32 = COL_BLOCKS * LOADERS / THREADS;
// Matrices of a subgroup that go through workgroup memory at once, side by side.
const STAGED: u32 = 16u / SUBGROUPS;
// Quads from one line of 32 terms to the next: two more than a line has, so that neighbouring lines
// lie in different banks.
const LINE_TERMS: u32 = 10u;
// The same for a line of 64 rows or columns.
const LINE_BLOCK: u32 = 18u;
const A_APART: u32 = select(LINE_TERMS, LINE_BLOCK, A_BY_TERM);
const B_APART: u32 = select(LINE_TERMS, LINE_BLOCK, B_BY_TERM);
// Quads from one matrix of a block to the next along rows or columns, and along terms.
const A_NEXT: u32 = select(16u * LINE_TERMS, 4u, A_BY_TERM);
const A_TERMS: u32 = select(4u, 16u * LINE_BLOCK, A_BY_TERM);
const B_NEXT: u32 = select(16u * LINE_TERMS, 4u, B_BY_TERM);
const B_TERMS: u32 = select(4u, 16u * LINE_BLOCK, B_BY_TERM);

// [block][quad], of all lines of a slab that cross the block.
var<workgroup> a_tile: array<array<vec4<f16>, 640>, ROW_BLOCKS>;
var<workgroup> b_tile: array<array<vec4<f16>, 640>, COL_BLOCKS>;
var<workgroup> stage: array<array<vec4<f32>, 64u * STAGED>, SUBGROUPS>;

// Returns where a thread's four lines of four start in a block of a slab: the row or column, and
// the term.
fn lines_of(thread: u32, by_term: bool) -> vec2<u32> {
    let loader = thread % LOADERS;
    return select(
        vec2<u32>(loader / 8u, loader % 8u), vec2<u32>(loader % 16u, loader / 16u), by_term
    ) * 4u;
}

// Stores a thread's lines in a block from quad `at` on, as 0 past the last term.
fn store_a(block: u32, at: u32, fetched: Fetched, m: u32, k: u32, end: u32) {
    let lines = a_lines(fetched, m, k);
    for (var line = 0u; line < 4u; line++) { // unroll
        a_tile[block][at + line * A_APART] = select(vec4<f16>(), vec4<f16>(lines[line]), k < end);
    }
}

fn store_b(block: u32, at: u32, fetched: Fetched, k: u32, n: u32, end: u32) {
    let lines = b_lines(fetched, k, n);
    for (var line = 0u; line < 4u; line++) { // unroll
        b_tile[block][at + line * B_APART] = select(vec4<f16>(), vec4<f16>(lines[line]), k < end);
    }
}

// Applies the epilogue to 16 rows of a subgroup from (m, n) on, of which STAGED matrices lie side
// by side in workgroup memory.
fn epilogue_rows(subgroup: u32, lane: u32, m: u32, n: u32) {
    for (var part = 0u; part < STAGED; part++) {
        let strip = part * 32u + lane;
        let row = m + strip / (2u * STAGED);
        let col = n + strip % (2u * STAGED) * 8u;
        var low = stage[subgroup][strip * 2u];
        var high = stage[subgroup][strip * 2u + 1u];
        if begun() {
            low += load_partial_sum(row, col);
            high += load_partial_sum(row, col + 4u);
        }
        let keep = epilogue_begin(row, col, 1u);
        epilogue_row(row, col, low, high, keep[0][0]);
        epilogue_end(col);
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    begin(workgroup);
    // From `params`, so that compilers see uniform control flow, as in tile_workgroup.wgsl.
    let inner = params.own.inner + workgroup.z;
    let index = workgroup.y * params.grid + workgroup.x;
    let row_tiles = (params.rows + ROW_BLOCKS * BLOCK - 1u) / (ROW_BLOCKS * BLOCK);
    let col_tiles = (params.cols + COL_BLOCKS * BLOCK - 1u) / (COL_BLOCKS * BLOCK);
    let part = part_of(index, row_tiles * col_tiles, inner);
    let tile_row = (part.x / col_tiles) * (ROW_BLOCKS * BLOCK);
    let tile_col = (part.x % col_tiles) * (COL_BLOCKS * BLOCK);
    // No return here if a folded grid has no tile: matrices require control flow that naga, too,
    // can see is uniform. Nothing is stored in that case.
    let a_from = lines_of(thread, A_BY_TERM);
    let b_from = lines_of(thread, B_BY_TERM);
    let a_at =
        select(a_from.x * A_APART + a_from.y / 4u, a_from.y * A_APART + a_from.x / 4u, A_BY_TERM);
    let b_at =
        select(b_from.x * B_APART + b_from.y / 4u, b_from.y * B_APART + b_from.x / 4u, B_BY_TERM);
    // The first block that the thread loads, and the distance to the next one.
    let first = thread / LOADERS;
    let further = THREADS / LOADERS;
    let m = tile_row + first * BLOCK + a_from.x;
    let n = tile_col + first * BLOCK + b_from.x;
    let subgroup = thread / 32u;
    let row_block = subgroup / COL_BLOCKS;
    let col_block = subgroup % COL_BLOCKS;

    // Indexed by constants alone, so that the sums stay in registers.
    var sums: array<coop_mat16x16<f32, C>, 16>;
    var next_a: array<Fetched, A_LOADS>;
    var next_b: array<Fetched, B_LOADS>;
    for (var load = 0u; load < A_LOADS; load++) { // unroll
        next_a[load] = a_fetch(m + load * further * BLOCK, part.y + a_from.y);
        store_a(
            first + load * further, a_at, next_a[load],
            m + load * further * BLOCK, part.y + a_from.y, part.z
        );
    }
    for (var load = 0u; load < B_LOADS; load++) { // unroll
        next_b[load] = b_fetch(part.y + b_from.y, n + load * further * BLOCK);
        store_b(
            first + load * further, b_at, next_b[load],
            part.y + b_from.y, n + load * further * BLOCK, part.z
        );
    }
    workgroupBarrier();
    for (var k = part.y; k < part.z; k += STEP) {
        // After the last slab this loads the last one again, which is not used.
        let next_k = select(k, k + STEP, k + STEP < part.z);
        for (var load = 0u; load < A_LOADS; load++) { // unroll
            next_a[load] = a_fetch(m + load * further * BLOCK, next_k + a_from.y);
        }
        for (var load = 0u; load < B_LOADS; load++) { // unroll
            next_b[load] = b_fetch(next_k + b_from.y, n + load * further * BLOCK);
        }
        for (var half = 0u; half < 2u; half++) { // unroll
            var b: array<coop_mat16x16<f16, B>, 4>;
            for (var j = 0u; j < 4u; j++) { // unroll
                if B_BY_TERM {
                    b[j] = coopLoadT<coop_mat16x16<f16, B>>(
                        &b_tile[col_block][half * B_TERMS + j * B_NEXT], B_APART
                    );
                } else {
                    b[j] = coopLoad<coop_mat16x16<f16, B>>(
                        &b_tile[col_block][half * B_TERMS + j * B_NEXT], B_APART
                    );
                }
            }
            for (var i = 0u; i < 4u; i++) { // unroll
                var a: coop_mat16x16<f16, A>;
                if A_BY_TERM {
                    a = coopLoad<coop_mat16x16<f16, A>>(
                        &a_tile[row_block][half * A_TERMS + i * A_NEXT], A_APART
                    );
                } else {
                    a = coopLoadT<coop_mat16x16<f16, A>>(
                        &a_tile[row_block][half * A_TERMS + i * A_NEXT], A_APART
                    );
                }
                for (var j = 0u; j < 4u; j++) { // unroll
                    sums[i * 4u + j] = coopMultiplyAdd(a, b[j], sums[i * 4u + j]);
                }
            }
        }
        workgroupBarrier();
        for (var load = 0u; load < A_LOADS; load++) { // unroll
            store_a(
                first + load * further, a_at, next_a[load],
                m + load * further * BLOCK, next_k + a_from.y, part.z
            );
        }
        for (var load = 0u; load < B_LOADS; load++) { // unroll
            store_b(
                first + load * further, b_at, next_b[load],
                next_k + b_from.y, n + load * further * BLOCK, part.z
            );
        }
        workgroupBarrier();
    }
    let row = tile_row + row_block * BLOCK;
    let col = tile_col + col_block * BLOCK;
    for (var i = 0u; i < 4u; i++) { // unroll
        for (var j = 0u; j < 4u; j++) { // unroll
            let done = sums[i * 4u + j];
            coopStoreT(done, &stage[subgroup][j % STAGED * 4u], 4u * STAGED);
            if j % STAGED == STAGED - 1u {
                workgroupBarrier();
                epilogue_rows(subgroup, thread % 32u, row + i * 16u, col + (j + 1u - STAGED) * 16u);
                workgroupBarrier();
            }
        }
    }
}
