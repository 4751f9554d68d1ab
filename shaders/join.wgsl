// join: adds the parts of a product's sums, which a dispatch before left one below the other, and finishes them as that product does.
//
//     C[m, n] = sum over parts of P[part, m, n], parts in ascending order from 0
//
// Shapes: P [parts, rows, cols], where the product has its first tensor; `inner` counts the parts. It takes the place of a tile file.
// One thread takes eight columns of one row; threads run along the columns first.
// The kernel that this is joined with gives part_quad, and open, finish and close. Source: split-K as in NVIDIA's CUTLASS, with an
// order that is fixed.

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
    let keep = open(m, n, 1u);
    finish(m, n, low, high, keep[0][0]);
    close(n);
}
