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

// join window

struct Own {
    channels: u32,       // C
    height: u32,         // H, rows of an image
    width: u32,          // W, columns of an image
    out_height: u32,     // I, rows of windows
    out_width: u32,      // J, columns of windows
    window_height: u32,  // U
    window_width: u32,   // V
    area: u32,           // U * V
    inverse_area: f32,   // 1 / (U * V)
    flags: u32,          // AVERAGE, THROUGH
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> grad_y: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

const AVERAGE: u32 = 1u;  // flag
const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let across = (p.own.width + p.own.window_width - 1u) / p.own.window_width;
    let down = (p.own.height + p.own.window_height - 1u) / p.own.window_height;
    let channel = index % p.own.channels;
    let col = index / p.own.channels % across;
    let line = index / p.own.channels / across;
    let image = line / down;
    let row = line % down;
    if image >= p.rows {
        return;
    }
    let corner = ((image * p.own.height + row * p.own.window_height) * p.own.width + col * p.own.window_width) * p.own.channels
        + channel;
    let whole = row < p.own.out_height && col < p.own.out_width;
    let average = (p.own.flags & AVERAGE) != 0u;
    var grad = 0.0;
    var chosen = p.a_start + corner;
    if whole {
        grad = grad_y[p.b_start + ((image * p.own.out_height + row) * p.own.out_width + col) * p.own.channels + channel];
        if average {
            grad *= p.own.inverse_area;
        } else {
            chosen = largest(p.a_start + corner);
        }
    }
    for (var place = 0u; place < p.own.area; place++) {
        if row * p.own.window_height + place / p.own.window_width < p.own.height
            && col * p.own.window_width + place % p.own.window_width < p.own.width {
            let at = corner + behind(place);
            var g = select(0.0, grad, average || p.a_start + at == chosen);
            if (p.own.flags & THROUGH) != 0u {
                g = select(g * p.scale, 0.0, x[p.a_start + at] <= 0.0);
            }
            grad_x[p.c_start + at] = g;
        }
    }
}

fn begin_own(zero: u32) {
    p.own.area += zero;
    p.own.flags += zero;
}
