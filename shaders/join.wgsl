// join: adds the parts of a split-K product's sums and applies the product's epilogue.
//
//     C[m, n] = sum over parts of P[part, m, n], parts in ascending order from 0
//
// Shapes: P [parts, rows, cols], one part below the other as an earlier dispatch left them, bound
// in place of the product's first tensor; `inner` is the number of parts.
// Threads: one takes eight columns of one row; threads run along the columns first.
// This file takes the place of a tile file. The kernel defines `part_quad` and the epilogue:
// `epilogue_begin`, `epilogue_row` and `epilogue_end`.
// Source: split-K as in NVIDIA's CUTLASS, with a fixed order.

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let strips = (p.cols + 7u) / 8u;
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let m = index / strips;
    let n = index % strips * 8u;
    if m >= p.rows {
        return;
    }
    let left = p.cols - n;
    var low = vec4<f32>(0.0);
    var high = vec4<f32>(0.0);
    for (var part = 0u; part < p.own.inner; part++) {
        let at = p.a_start + (part * p.rows + m) * p.a_stride + n;
        low += part_quad(at, left);
        high += part_quad(at + 4u, max(left, 4u) - 4u);
    }
    let keep = epilogue_begin(m, n, 1u);
    epilogue_row(m, n, low, high, keep[0][0]);
    epilogue_end(n);
}
