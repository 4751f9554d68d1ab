// tile_register: the loop of a matrix product for adapters that run on a CPU (lavapipe, SwiftShader, WARP).
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// One thread holds TILE_ROWS x 8 sums in registers and shares nothing: barriers and workgroup memory cost more than they save
// there, and loads are dear. Eight threads of a workgroup lie along the columns, so that a load of A is the same for all of them;
// row blocks run fastest over the grid. The kernel that this is joined with gives a_fetch, a_lines, b_strip, start, and
// open, finish and close for the rows of a thread.

const HALVES: u32 = TILE_ROWS * 2u;
const BLOCKS: u32 = TILE_ROWS / 4u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let inner = params.own.inner + workgroup.z;  // as in begin(), and uniform to a compiler's eye
    let index = workgroup.y * p.grid + workgroup.x;
    let row_tiles = (p.rows + TILE_ROWS - 1u) / TILE_ROWS;
    let part = part_of(index, row_tiles * ((p.cols + 63u) / 64u), inner);
    let m = (part.x % row_tiles) * TILE_ROWS;
    let n = ((part.x / row_tiles) * 8u + lane) * 8u;
    // Indexed by constants alone, so that the sums stay in registers. Before and after the loop over terms a row is chosen by comparisons with
    // constants: unrolled, what happens to a row would be most of what there is to compile.
    var sums: array<vec4<f32>, HALVES>;
    for (var row = 0u; row < select(0u, TILE_ROWS, begun()); row++) {
        let low = start(m + row, n);
        let high = start(m + row, n + 4u);
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
                let terms = a[row];  // a vector of its own: DXC dies of an element of a matrix made a vector
                for (var term = 0u; term < 4u; term++) { // unroll
                    sums[8u * block + 2u * row] = fma(vec4<f32>(terms[term]), b[term].low, sums[8u * block + 2u * row]);
                    sums[8u * block + 2u * row + 1u] = fma(vec4<f32>(terms[term]), b[term].high, sums[8u * block + 2u * row + 1u]);
                }
            }
        }
    }
    let keep = open(m, n, min(TILE_ROWS, p.rows - m));
    for (var row = 0u; row < TILE_ROWS; row++) {
        var low: vec4<f32>;
        var high: vec4<f32>;
        for (var place = 0u; place < TILE_ROWS; place++) { // unroll
            low = select(low, sums[2u * place], row == place);
            high = select(high, sums[2u * place + 1u], row == place);
        }
        finish(m + row, n, low, high, keep[row / 16u][row / 4u % 4u] >> (8u * (row % 4u)));
    }
    close(n);
}
