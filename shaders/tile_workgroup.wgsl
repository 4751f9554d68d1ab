// tile_workgroup: the loop of a matrix product for real GPUs; src/gpu/group.rs has the sizes.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// Threads: a workgroup of GROUP_ROWS x GROUP_COLS threads makes a tile of C, each thread
// TILE_ROWS x 8 sums. LANES threads lie along the columns, then all rows, then the next LANES
// columns. So 32 threads, a subgroup of most devices, have a nearly square tile of their own
// (32 x 64 with LANES = 8) and read few different values. Column tiles run fastest over the grid.
// All threads load a slab of 16 terms into workgroup memory together, a few 4 x 4 blocks each. A is
// transposed, so that both factors are read as vec4. While a slab is multiplied, the next one is
// being loaded into registers. If BUFFERS is 2, it then goes to a second buffer in workgroup
// memory, and threads need one barrier a slab instead of two.
// The kernel defines `a_fetch`, `a_lines`, `b_fetch`, `b_lines`, `A_BY_TERM`, `B_BY_TERM` and
// `load_partial_sum`, and the epilogue of a thread's rows: `epilogue_begin`, `epilogue_row` and
// `epilogue_end`.
// Source: siboehm/SGEMM_CUDA, kernels 6 (vec4 loads, A transposed), 10 (warp tiles) and 12 (two
// buffers).

const THREADS: u32 = GROUP_ROWS * GROUP_COLS;
const M_QUADS: u32 = GROUP_ROWS * TILE_ROWS / 4u;  // quads of rows in the tile
const N_QUADS: u32 = GROUP_COLS * 2u;              // quads of columns in the tile
const A_BLOCKS: u32 = M_QUADS * 4u;
const BLOCKS: u32 = A_BLOCKS + N_QUADS * 4u;
const ROW_QUADS: u32 = TILE_ROWS / 4u;
const HALVES: u32 = TILE_ROWS * 2u;
const STEP: u32 = 16u;

// [buffer][term / 4][term % 4][place of the quad]. Nested, so that the check of an index that is
// constant in a loop can be moved out of the loop.
var<workgroup> a_tile: array<array<array<array<vec4<f32>, M_QUADS>, 4>, 4>, BUFFERS>;
var<workgroup> b_tile: array<array<array<array<vec4<f32>, N_QUADS>, 4>, 4>, BUFFERS>;

// Returns where a quad of rows or columns lies in workgroup memory. Even quads come before odd
// ones, so that eight threads that read every second quad read 128 consecutive bytes. The exclusive
// or keeps eight threads that store four quads of two terms out of each other's banks.
fn place(quad: u32, quads: u32, terms: u32) -> u32 {
    let half = quads / 2u;
    let apart = (quad % 2u * 2u) ^ (terms % 2u * 4u);
    return (quad / 2u + quad % 2u * half) ^ select(0u, apart, half >= 4u);
}

// Returns which four terms a block holds: neighbouring threads take both halves of 32 bytes along
// the terms, then the next rows or columns.
fn terms_of(block: u32, quads: u32) -> u32 {
    return block % 2u + block / (2u * quads) * 2u;
}

fn quad_of(block: u32, quads: u32) -> u32 {
    return block / 2u % quads;
}

// Returns true if the thread's block of a load belongs to A. If that holds for all threads or for
// none, a compiler sees it and drops the other branch.
fn is_of_a(load: u32, block: u32) -> bool {
    return (load + 1u) * THREADS <= A_BLOCKS || (load * THREADS < A_BLOCKS && block < A_BLOCKS);
}

// Returns true if the thread has a block in a load: the last load may be for some threads only.
fn is_there(load: u32, block: u32) -> bool {
    return (load + 1u) * THREADS <= BLOCKS || block < BLOCKS;
}

// Loads a block of the slab that starts at term k.
fn fetch(load: u32, lane: u32, k: u32, tile_row: u32, tile_col: u32) -> Fetched {
    let block = load * THREADS + lane;
    if is_of_a(load, block) {
        return a_fetch(tile_row + 4u * quad_of(block, M_QUADS), k + 4u * terms_of(block, M_QUADS));
    } else if is_there(load, block) {
        return b_fetch(
            k + 4u * terms_of(block - A_BLOCKS, N_QUADS),
            tile_col + 4u * quad_of(block - A_BLOCKS, N_QUADS)
        );
    }
    return Fetched();
}

// Stores a block in a buffer, as rows of four. Values past the last term are set to 0 by selection:
// behind a branch, a compiler would issue the load only there.
fn store(
    buffer: u32, load: u32, lane: u32, fetched: Fetched, k: u32, tile_row: u32, tile_col: u32
) {
    let block = load * THREADS + lane;
    if is_of_a(load, block) {
        let terms = terms_of(block, M_QUADS);
        let quad = quad_of(block, M_QUADS);
        let at = place(quad, M_QUADS, terms);
        var values = a_lines(fetched, tile_row + 4u * quad, k + 4u * terms);
        if !A_BY_TERM {
            values = transpose(values);
        }
        for (var term = 0u; term < 4u; term++) { // unroll
            a_tile[buffer][terms][term][at] =
                select(vec4<f32>(0.0), values[term], k + 4u * terms < p.own.inner);
        }
    } else if is_there(load, block) {
        let terms = terms_of(block - A_BLOCKS, N_QUADS);
        let quad = quad_of(block - A_BLOCKS, N_QUADS);
        let at = place(quad, N_QUADS, terms);
        var values = b_lines(fetched, k + 4u * terms, tile_col + 4u * quad);
        if !B_BY_TERM {
            values = transpose(values);
        }
        for (var term = 0u; term < 4u; term++) { // unroll
            b_tile[buffer][terms][term][at] =
                select(vec4<f32>(0.0), values[term], k + 4u * terms < p.own.inner);
        }
    }
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    // From `params` and not from the copy, so that compilers see uniform control flow at the
    // barriers.
    let inner = params.own.inner + workgroup.z;  // plus 0, as in begin()
    let index = workgroup.y * params.grid + workgroup.x;
    let col_tiles = (params.cols + 8u * GROUP_COLS - 1u) / (8u * GROUP_COLS);
    let row_tiles = (params.rows + TILE_ROWS * GROUP_ROWS - 1u) / (TILE_ROWS * GROUP_ROWS);
    let part = part_of(index, row_tiles * col_tiles, inner);
    let tile_row = (part.x / col_tiles) * (TILE_ROWS * GROUP_ROWS);
    let tile_col = (part.x % col_tiles) * (8u * GROUP_COLS);
    if tile_row >= params.rows {
        return;
    }
    let thread_row = lane / LANES % GROUP_ROWS;
    let thread_col = lane / (LANES * GROUP_ROWS) * LANES + lane % LANES;
    let m = tile_row + thread_row * TILE_ROWS;
    let n = tile_col + thread_col * 8u;

    // Indexed by constants alone, so that the sums stay in registers.
    var sums: array<vec4<f32>, HALVES>;
    if begun() {
        for (var row = 0u; row < TILE_ROWS; row++) { // unroll
            sums[2u * row] = load_partial_sum(m + row, n);
            sums[2u * row + 1u] = load_partial_sum(m + row, n + 4u);
        }
    }
    var next: array<Fetched, LOADS>;
    for (var load = 0u; load < LOADS; load++) { // unroll
        next[load] = fetch(load, lane, part.y, tile_row, tile_col);
        store(0u, load, lane, next[load], part.y, tile_row, tile_col);
    }
    workgroupBarrier();
    var buffer = 0u;
    for (var k = part.y; k < part.z; k += STEP) {
        // After the last slab this loads the last one again, which is not used.
        let next_k = select(k, k + STEP, k + STEP < part.z);
        for (var load = 0u; load < LOADS; load++) { // unroll
            next[load] = fetch(load, lane, next_k, tile_row, tile_col);
        }
        for (var terms = 0u; terms < 4u; terms++) { // unroll
            let low_at = place(2u * thread_col, N_QUADS, terms);
            let high_at = place(2u * thread_col + 1u, N_QUADS, terms);
            for (var term = 0u; term < 4u; term++) { // unroll
                let low = b_tile[buffer][terms][term][low_at];
                let high = b_tile[buffer][terms][term][high_at];
                for (var quad = 0u; quad < ROW_QUADS; quad++) { // unroll
                    let a = a_tile[buffer][terms][term][
                        place(thread_row * ROW_QUADS + quad, M_QUADS, terms)
                    ];
                    for (var row = 0u; row < 4u; row++) { // unroll
                        sums[8u * quad + 2u * row] =
                            fma(vec4<f32>(a[row]), low, sums[8u * quad + 2u * row]);
                        sums[8u * quad + 2u * row + 1u] =
                            fma(vec4<f32>(a[row]), high, sums[8u * quad + 2u * row + 1u]);
                    }
                }
            }
        }
        if BUFFERS == 1u {
            workgroupBarrier();
        }
        buffer = (buffer + 1u) % BUFFERS;
        for (var load = 0u; load < LOADS; load++) { // unroll
            store(buffer, load, lane, next[load], next_k, tile_row, tile_col);
        }
        workgroupBarrier();
    }
    let keep = epilogue_begin(m, n, TILE_ROWS);
    for (var row = 0u; row < TILE_ROWS; row++) { // unroll
        epilogue_row(
            m + row, n, sums[2u * row], sums[2u * row + 1u], keep[0][row / 4u] >> (8u * (row % 4u))
        );
    }
    epilogue_end(n);
}
