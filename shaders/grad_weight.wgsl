// grad_weight: dW = Xᵀ dZ and db = sum over the batch of dZ, in one dispatch.
//
// dZ is made from dY and Y while loading (gradient.wgsl).
// Shapes: X [inner, inputs], dY, Y [inner, cols], dW [inputs, cols], db [cols]. `inner` is the size
// of the batch. db starts at element `count` of its binding.
// Order: the sum runs over the batch in ascending order, in one chain; under `PART` a dispatch may
// hold a part of it.
// Threads: outer.wgsl loads the factors; the tile file maps threads to elements.
// Source: the chain rule; CS231n notes, "backprop".
// CPU twin: src/cpu/reference/grad_weight.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> grad_output: array<Element>;
@group(0) @binding(2) var<storage, read> output: array<Element>;
@group(0) @binding(3) var<storage, read_write> grad_weight: array<Element>;
@group(0) @binding(4) var<storage, read_write> grad_bias: array<Number>;

// loader load_x x
// loader load_grad_output grad_output
// loader load_output output
// loader load_grad_weight grad_weight
// storer store_grad_weight grad_weight

// Returns the partial sums that the previous dispatch left in dW, or in db for the row of ones.
fn load_partial_sum(m: u32, n: u32) -> vec4<f32> {
    if m >= p.rows || n >= p.cols {
        return vec4<f32>(0.0);
    }
    if m == p.first {
        let at = min(vec4<u32>(n, n + 1u, n + 2u, n + 3u), vec4<u32>(p.cols - 1u))
            + vec4<u32>(p.count);
        return vec4<f32>(
            f32(grad_bias[at.x]), f32(grad_bias[at.y]), f32(grad_bias[at.z]), f32(grad_bias[at.w])
        );
    }
    return load_grad_weight(p.d_start + m * p.d_stride + n, p.cols - n);
}

fn put(at: u32, sums: Eight, left: u32) {
    store_grad_weight8(p.d_start + at, sums, left);
}

fn put_bias(col: u32, sum: f32) {
    grad_bias[p.count + col] = Number(sum);
}
