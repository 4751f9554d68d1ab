// patches_grad: backward pass of patches: the image's gradient from that of its patches (col2im).
//
//     dx[b, h, w, c] = sum over u, v of dy[(b, h + P - u, w + P - v), (u, v, c)]
//     with the flag THROUGH: dx * s if x > 0, else 0
//
// The sum is over the patches that exist. THROUGH continues the backward pass through the layer
// before, whose ReLU and dropout of scale s gave x.
// Shapes: x, dx [B, H, W, C], dy [B * I * J, S * S * C] as in patches.wgsl.
// Parameters: `rows` is B, `scale` is s.
// Order: the terms are added in ascending order of (u, v).
// Threads: one takes one element of dx.
// Source: as patches.wgsl.
// CPU twin: src/cpu/reference/patches_grad.rs.

struct Own {
    channels: u32,    // C
    height: u32,      // H, rows of an image
    width: u32,       // W, columns of an image
    out_height: u32,  // I, rows of windows
    out_width: u32,   // J, columns of windows
    side: u32,        // S
    area: u32,        // S * S
    padding: u32,     // P
    flags: u32,       // THROUGH
}

@group(0) @binding(0) var<storage, read> grad_y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let pixel = index / p.own.channels;
    let line = pixel / p.own.width;
    let image = line / p.own.height;
    if image >= p.rows {
        return;
    }
    var sum = 0.0;
    for (var place = 0u; place < p.own.area; place++) {
        // The index of a patch before the first wraps around to one past the last.
        let out_row = line % p.own.height + p.own.padding - place / p.own.side;
        let out_col = pixel % p.own.width + p.own.padding - place % p.own.side;
        if out_row < p.own.out_height && out_col < p.own.out_width {
            let row = (image * p.own.out_height + out_row) * p.own.out_width + out_col;
            sum += grad_y[p.a_start + (row * p.own.area + place) * p.own.channels + index % p.own.channels];
        }
    }
    if (p.own.flags & THROUGH) != 0u {
        sum = select(sum * p.scale, 0.0, x[p.b_start + index] <= 0.0);
    }
    grad_x[p.c_start + index] = sum;
}

fn begin_own(zero: u32) {
    p.own.area += zero;
    p.own.flags += zero;
}
