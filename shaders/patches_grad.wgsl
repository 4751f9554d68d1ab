// patches_grad: backward pass of patches: the image's gradient from that of its patches (col2im).
//
//     dx[b, h, w, c] = sum over u, v of dy[(b, h + P - u, w + P - v), (u, v, c)]
//     with the flag THROUGH: dx * s if x > 0, else 0
//
// The sum is over the patches that exist. THROUGH continues the backward pass through the layer
// before, whose ReLU and dropout of scale s gave x.
// Shapes: x, dx [B, H, W, C], dy [B * I * J, S * S * C] as in patches.wgsl.
// Parameters: `rows` is B, `size_1`, `size_2` are H and W, `row_0`, `row_1` are I and J, `count` is
// C, `first` is P, `inner` is S * S, `col_0` is S, `scale` is s.
// Order: the terms are added in ascending order of (u, v).
// Threads: one takes one element of dx.
// Source: as patches.wgsl.
// CPU twin: src/cpu/reference/patches_grad.rs.

@group(0) @binding(0) var<storage, read> grad_y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let pixel = index / p.count;
    let line = pixel / p.size_2;
    let image = line / p.size_1;
    if image >= p.rows {
        return;
    }
    var sum = 0.0;
    for (var place = 0u; place < p.inner; place++) {
        // The index of a patch before the first wraps around to one past the last.
        let out_row = line % p.size_1 + p.first - place / p.col_0;
        let out_col = pixel % p.size_2 + p.first - place % p.col_0;
        if out_row < p.row_0 && out_col < p.row_1 {
            let row = (image * p.row_0 + out_row) * p.row_1 + out_col;
            sum += grad_y[p.a_start + (row * p.inner + place) * p.count + index % p.count];
        }
    }
    if (p.flags & THROUGH) != 0u {
        sum = select(sum * p.scale, 0.0, x[p.b_start + index] <= 0.0);
    }
    grad_x[p.c_start + index] = sum;
}
