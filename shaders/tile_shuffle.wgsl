// tile_shuffle: the loop of a matrix product for CPU adapters with subgroups of eight.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// An example of such an adapter is lavapipe with AVX2.
// Threads: as in tile_register, but a workgroup is one subgroup. Its eight threads all need the
// same values of A, so each loads an eighth of them and shares them by shuffles: such an adapter
// loads lane by lane even if all lanes load the same value, while a shuffle by a constant is one
// instruction. That leaves room for more rows a thread, so that the loads of B serve more sums,
// too.
// The kernel defines `a_quad`, `A_BY_TERM`, `b_strip` and `load_partial_sum`, and the epilogue of a
// thread's rows: `epilogue_begin`, `epilogue_row` and `epilogue_end`.

const HALVES: u32 = TILE_ROWS * 2u;
const OCTETS: u32 = TILE_ROWS / 8u;
const BLOCKS: u32 = TILE_ROWS / 4u;

// Returns A[row, term] of a block of four rows and four terms. The four threads from `first` on
// hold a row each, or a term each.
fn a_element(quad: vec4<f32>, first: u32, row: u32, term: u32) -> vec4<f32> {
    if A_BY_TERM {
        return vec4<f32>(subgroupShuffle(quad[row], first + term));
    }
    return vec4<f32>(subgroupShuffle(quad[term], first + row));
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    begin(workgroup);
    // From `params` and not from the copy, so that compilers see uniform control flow at the
    // shuffles.
    let inner = params.own.inner + workgroup.z;  // plus 0, as in begin()
    let index = workgroup.y * params.grid + workgroup.x;
    let row_tiles = (params.rows + workgroup.z + TILE_ROWS - 1u) / TILE_ROWS;
    let col_tiles = (params.cols + workgroup.z + 63u) / 64u;
    let part = part_of(index, row_tiles * col_tiles, inner);
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
    // The part of each eight rows, which are two blocks, that the thread loads.
    let a_row = m + select(lane, lane / 4u * 4u, A_BY_TERM);
    let a_term = select(0u, lane % 4u, A_BY_TERM);
    var quads: array<vec4<f32>, OCTETS>;
    for (var k = part.y; k < part.z; k += 4u) {
        let b = b_strip(k, n);
        for (var octet = 0u; octet < OCTETS; octet++) { // unroll
            quads[octet] = a_quad(a_row + 8u * octet, k + a_term);
        }
        for (var block = 0u; block < BLOCKS; block++) { // unroll
            for (var row = 0u; row < 4u; row++) { // unroll
                for (var term = 0u; term < 4u; term++) { // unroll
                    let a = a_element(quads[block / 2u], block % 2u * 4u, row, term);
                    sums[8u * block + 2u * row] = fma(a, b[term].low, sums[8u * block + 2u * row]);
                    sums[8u * block + 2u * row + 1u] =
                        fma(a, b[term].high, sums[8u * block + 2u * row + 1u]);
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
