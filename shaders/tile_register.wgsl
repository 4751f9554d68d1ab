// tile_register: the loop of a matrix product for CPU adapters (lavapipe, SwiftShader, WARP).
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// Threads: one holds TILE_ROWS x 8 sums in registers and shares nothing: on a CPU, barriers and
// workgroup memory cost more than they save, and loads are expensive. Eight threads of a workgroup
// lie along the columns, so that a load of A is the same for all of them. Row blocks run fastest
// over the grid.
// The kernel defines `a_fetch`, `a_lines`, `A_BY_TERM`, `b_strip` and `load_partial_sum`, and the
// epilogue of a thread's rows: `epilogue_begin`, `epilogue_row` and `epilogue_end`.

const HALVES: u32 = TILE_ROWS * 2u;
const BLOCKS: u32 = TILE_ROWS / 4u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let inner = params.own.inner + workgroup.z;  // plus 0, as in begin()
    let index = workgroup.y * p.grid + workgroup.x;
    let row_tiles = (p.rows + TILE_ROWS - 1u) / TILE_ROWS;
    let part = part_of(index, row_tiles * ((p.cols + 63u) / 64u), inner);
    let m = (part.x % row_tiles) * TILE_ROWS;
    let n = ((part.x / row_tiles) * 8u + lane) * 8u;
    // Indexed by constants alone, so that the sums stay in registers. Before and after the loop
    // over terms, a row is chosen by comparisons with constants: if those loops were unrolled,
    // their copies would be most of the code to compile.
    var sums: array<vec4<f32>, HALVES>;
    for (var row = 0u; row < select(0u, TILE_ROWS, begun()); row++) {
        let low = load_partial_sum(m + row, n);
        let high = load_partial_sum(m + row, n + 4u);
        for (var place = 0u; place < TILE_ROWS; place++) { // unroll
            sums[2u * place] = select(sums[2u * place], low, row == place);
            sums[2u * place + 1u] = select(sums[2u * place + 1u], high, row == place);
        }
    }
    for (var k = part.y; k < part.z; k += 4u) {
        let b = b_strip(k, n);
        for (var block = 0u; block < BLOCKS; block++) { // unroll
            var a = a_lines(a_fetch(m + 4u * block, k), m + 4u * block, k);
            if A_BY_TERM {
                a = transpose(a);
            }
            for (var row = 0u; row < 4u; row++) { // unroll
                // A separate vector: DXC crashes on a matrix element that is made a vector.
                let terms = a[row];
                for (var term = 0u; term < 4u; term++) { // unroll
                    sums[8u * block + 2u * row] =
                        fma(vec4<f32>(terms[term]), b[term].low, sums[8u * block + 2u * row]);
                    sums[8u * block + 2u * row + 1u] =
                        fma(vec4<f32>(terms[term]), b[term].high, sums[8u * block + 2u * row + 1u]);
                }
            }
        }
    }
    let keep = epilogue_begin(m, n, min(TILE_ROWS, p.rows - m));
    for (var row = 0u; row < TILE_ROWS; row++) {
        var low: vec4<f32>;
        var high: vec4<f32>;
        for (var place = 0u; place < TILE_ROWS; place++) { // unroll
            low = select(low, sums[2u * place], row == place);
            high = select(high, sums[2u * place + 1u], row == place);
        }
        epilogue_row(m + row, n, low, high, keep[row / 16u][row / 4u % 4u] >> (8u * (row % 4u)));
    }
    epilogue_end(n);
}
