// pool: the largest element or the mean of each window of images.
//
//     y[b, i, j, c] = max or mean over u < U, v < V of x[b, i * U + u, j * V + v, c]
//
// A window of the size of the image makes it global. A NaN counts as the largest element.
// Shapes: x [B, H, W, C], y [B, I, J, C] with I = floor(H / U) and J = floor(W / V). What remains
// at the end of rows and columns is in no window.
// Parameters: `rows` is B, `size_1`, `size_2` are H and W, `row_0`, `row_1` are I and J, `col_0`,
// `col_1` are U and V, `count` is C, `inner` is U * V, `rate` is 1 / (U * V).
// Order: the terms of a mean are added in ascending order of (u, v).
// Threads: one takes one element of y.
// Sources: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
// recognition", 1998; global: Lin, Chen, Yan, "Network in network", ICLR 2014.
// CPU twin: src/cpu/reference/pool.rs.

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

const AVERAGE: u32 = 1u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let pixel = index / p.count;
    let line = pixel / p.row_1;
    let image = line / p.row_0;
    if image >= p.rows {
        return;
    }
    let row = image * p.size_1 + line % p.row_0 * p.col_0;
    let first = p.a_start + (row * p.size_2 + pixel % p.row_1 * p.col_1) * p.count
        + index % p.count;
    if (p.flags & AVERAGE) == 0u {
        y[p.b_start + index] = x[largest(first)];
        return;
    }
    var sum = 0.0;
    for (var place = 0u; place < p.inner; place++) {
        sum += x[first + behind(place)];
    }
    y[p.b_start + index] = sum * p.rate;
}
