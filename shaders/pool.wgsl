// pool: the largest element or the mean of each window of images.
//
//     y[b, i, j, c] = max or mean over u < U, v < V of x[b, i * U + u, j * V + v, c]
//
// A window of the size of the image makes it global. A NaN counts as the largest element.
// Shapes: x [B, H, W, C], y [B, I, J, C] with I = floor(H / U) and J = floor(W / V). What remains
// at the end of rows and columns is in no window.
// Parameters: `rows` is B.
// Order: the terms of a mean are added in ascending order of (u, v).
// Threads: one takes one element of y.
// Sources: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
// recognition", 1998; global: Lin, Chen, Yan, "Network in network", ICLR 2014.
// CPU twin: src/cpu/reference/pool.rs.

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
    flags: u32,          // AVERAGE
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const AVERAGE: u32 = 1u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let pixel = index / p.own.channels;
    let line = pixel / p.own.out_width;
    let image = line / p.own.out_height;
    if image >= p.rows {
        return;
    }
    let row = image * p.own.height + line % p.own.out_height * p.own.window_height;
    let first = p.a_start + (row * p.own.width + pixel % p.own.out_width * p.own.window_width) * p.own.channels
        + index % p.own.channels;
    if (p.own.flags & AVERAGE) == 0u {
        y[p.b_start + index] = x[largest(first)];
        return;
    }
    var sum = 0.0;
    for (var place = 0u; place < p.own.area; place++) {
        sum += x[first + behind(place)];
    }
    y[p.b_start + index] = sum * p.own.inverse_area;
}

fn begin_own(zero: u32) {
    p.own.area += zero;
    p.own.flags += zero;
}
