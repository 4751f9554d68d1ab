// pool: the largest element or the mean of each window of images; a window of the whole image makes it global.
//
//     y[b, i, j, c] = max or mean over u < U, v < V of x[b, i * U + u, j * V + v, c]
//
// Shapes: x [B, H, W, C], y [B, I, J, C] with I and J the whole parts of H / U and W / V: what is left over at the end of rows and columns is in no
// window. `rows` is B, `size_1`, `size_2` are H and W, `count` C, `inner` U * V, `col_0`, `col_1` U and V, `row_0`, `row_1` I and J, `rate` 1 / (U * V). A
// mean's terms are added in ascending order of (u, v); a NaN is the largest. One thread takes one element of y.
// Source: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998; global: Lin, Chen, Yan, "Network in
// network", ICLR 2014. CPU twin: src/cpu/reference/pool.rs.

// join window

struct Own {
    channels: u32,
    height: u32,         // sizes of an image
    width: u32,
    out_height: u32,     // sizes of what an image becomes
    out_width: u32,
    window_height: u32,  // sizes of a window
    window_width: u32,
    area: u32,
    inverse_area: f32,
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
    let first = p.a_start + (row * p.own.width + pixel % p.own.out_width * p.own.window_width) * p.own.channels + index % p.own.channels;
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
