// tile_narrow: the loop of a matrix product of few columns, for CPUs with subgroups of eight.
//
//     C[m, n] = sum over k of A[m, k] B[k, n]
//
// For adapters that run on a CPU: tile_shuffle with the roles of rows and columns exchanged.
// Threads: the eight threads of a workgroup lie along the rows, and each holds TILE_ROWS (4) by 16
// sums. They all need the same values of B, so each loads an eighth of those of four terms and
// shares them by shuffles. Ten classes then take 10 of 16 columns, instead of 10 of 64.
// The kernel defines `a_fetch`, `a_lines`, `A_BY_TERM`, `b_eight` and `load_partial_sum`, and the
// epilogue of a thread's rows: `epilogue_begin`, `epilogue_row` and `epilogue_end`.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    begin(workgroup);
    // From `params`, so that compilers see uniform control flow at the shuffles, as in
    // tile_shuffle.wgsl.
    let inner = params.own.inner + workgroup.z;
    let index = workgroup.y * params.grid + workgroup.x;
    let row_tiles = (params.rows + workgroup.z + 8u * TILE_ROWS - 1u) / (8u * TILE_ROWS);
    let col_tiles = (params.cols + workgroup.z + 15u) / 16u;
    let part = part_of(index, row_tiles * col_tiles, inner);
    let m = ((part.x % row_tiles) * 8u + lane) * TILE_ROWS;
    let n = (part.x / row_tiles) * 16u;
    // Indexed by constants alone; a row is chosen by comparisons, see tile_shuffle.wgsl.
    var sums: array<vec4<f32>, 16>;
    for (var row = 0u; row < select(0u, 4u, begun()); row++) {
        for (var quad = 0u; quad < 4u; quad++) { // unroll
            let sum = load_partial_sum(m + row, n + 4u * quad);
            for (var place = 0u; place < 4u; place++) { // unroll
                sums[4u * place + quad] = select(sums[4u * place + quad], sum, row == place);
            }
        }
    }
    for (var k = part.y; k < part.z; k += 4u) {
        // Two threads load a term, eight columns each.
        let b = b_eight(k + lane / 2u, n + lane % 2u * 8u);
        var a = a_lines(a_fetch(m, k), m, k);
        if A_BY_TERM {
            a = transpose(a);
        }
        for (var term = 0u; term < 4u; term++) { // unroll
            for (var half = 0u; half < 2u; half++) { // unroll
                let low = subgroupShuffle(b.low, 2u * term + half);
                let high = subgroupShuffle(b.high, 2u * term + half);
                for (var row = 0u; row < 4u; row++) { // unroll
                    let terms = a[row];  // see tile_register.wgsl
                    sums[4u * row + 2u * half] =
                        fma(vec4<f32>(terms[term]), low, sums[4u * row + 2u * half]);
                    sums[4u * row + 2u * half + 1u] =
                        fma(vec4<f32>(terms[term]), high, sums[4u * row + 2u * half + 1u]);
                }
            }
        }
    }
    for (var part = 0u; part < 2u; part++) {
        let keep = epilogue_begin(m, n + 8u * part, min(TILE_ROWS, p.rows - min(m, p.rows)));
        for (var at = 0u; at < 4u; at++) {
            var low = sums[0];
            var high = sums[1];
            for (var row = 0u; row < 4u; row++) { // unroll
                for (var half = 0u; half < 2u; half++) { // unroll
                    low = select(low, sums[4u * row + 2u * half], at == row && part == half);
                    high = select(high, sums[4u * row + 2u * half + 1u], at == row && part == half);
                }
            }
            epilogue_row(m + at, n + 8u * part, low, high, keep[0].x >> (8u * at));
        }
        epilogue_end(n + 8u * part);
    }
}
