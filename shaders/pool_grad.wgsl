// pool_grad: backward pass of pool: equal shares of a mean's gradient, all of a maximum's to one.
//
//     mean:    dx = dy / (U * V)
//     maximum: dx = dy at the first of the largest elements of the window, else 0
//     outside every window: 0
//     with the flag THROUGH: dx * s if x > 0, else 0
//
// THROUGH continues the backward pass through the layer before, whose ReLU and dropout of scale s
// gave x.
// Shapes and parameters: as in pool.wgsl; dx [B, H, W, C]; `scale` is s.
// Threads: one takes one window, including those that the end of the image cuts off.
// Source: as pool.wgsl.
// CPU twin: src/cpu/reference/pool_grad.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> grad_y: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

const AVERAGE: u32 = 1u;  // flag
const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let across = (p.size_2 + p.col_1 - 1u) / p.col_1;
    let down = (p.size_1 + p.col_0 - 1u) / p.col_0;
    let channel = index % p.count;
    let col = index / p.count % across;
    let line = index / p.count / across;
    let image = line / down;
    let row = line % down;
    if image >= p.rows {
        return;
    }
    let corner = ((image * p.size_1 + row * p.col_0) * p.size_2 + col * p.col_1) * p.count
        + channel;
    let whole = row < p.row_0 && col < p.row_1;
    let average = (p.flags & AVERAGE) != 0u;
    var grad = 0.0;
    var chosen = p.a_start + corner;
    if whole {
        grad = grad_y[p.b_start + ((image * p.row_0 + row) * p.row_1 + col) * p.count + channel];
        if average {
            grad *= p.rate;
        } else {
            chosen = largest(p.a_start + corner);
        }
    }
    for (var place = 0u; place < p.inner; place++) {
        if row * p.col_0 + place / p.col_1 < p.size_1
            && col * p.col_1 + place % p.col_1 < p.size_2 {
            let at = corner + behind(place);
            var g = select(0.0, grad, average || p.a_start + at == chosen);
            if (p.flags & THROUGH) != 0u {
                g = select(g * p.scale, 0.0, x[p.a_start + at] <= 0.0);
            }
            grad_x[p.c_start + at] = g;
        }
    }
}
