// grad_weight_sgd: one SGD update of a layer with gradients that are never stored.
//
//     g = Xᵀ dZ + decay * W + l1 * sign(W)       v = momentum * v + g       W = W - rate * v
//
// and the same for b with g = sum over the batch of dZ, without the penalties.
// Shapes: X [inner, inputs], dZ [inner, cols], W and its v [inputs, cols], b and its v [cols].
// `inner` is the size of the batch. b and its v start at `count` and `c_stride` of their bindings.
// Order: a batch too large for a binding comes in parts, each of which adds its share. The host
// gives momentum and penalties to the first part alone and, if there is a velocity, the rate to the
// last part alone. The sum of a part runs over the batch in ascending order, in one chain.
// Threads: outer.wgsl loads the factors; the tile file maps threads to elements.
// Sources: grad_weight.wgsl and sgd.wgsl. grad_weight_sgd_momentum.wgsl or
// grad_weight_sgd_plain.wgsl defines `velocity` and `bias_velocity`.
// CPU twin: src/cpu/reference/grad_weight_sgd.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> gradient: array<Element>;
@group(0) @binding(2) var<storage, read_write> weight: array<Element>;
@group(0) @binding(3) var<storage, read_write> bias: array<f32>;

// loader load_x x
// loader load_gradient gradient
// loader load_weight weight
// storer store_weight weight

fn grad_of(row: u32, col: u32, left: u32) -> vec4<Number> {
    return load_gradient_stored(p.b_start + row * p.b_stride + col, left);
}

fn output_of(row: u32, col: u32, left: u32) -> vec4<Number> {
    return vec4<Number>();
}

fn gated(grad: vec4<f32>, y: vec4<f32>, row: u32, col: u32) -> vec4<f32> {
    return grad;
}

fn grad_z8(row: u32, col: u32, left: u32) -> Eight {
    return load_gradient8(p.b_start + row * p.b_stride + col, left);
}

fn load_partial_sum(m: u32, n: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn put(at: u32, sums: Eight, left: u32) {
    let w = load_weight8(p.d_start + at, left);
    var g = Eight(sums.low + p.decay * w.low, sums.high + p.decay * w.high);
    if p.l1 != 0.0 {
        g = Eight(g.low + p.l1 * sign(w.low), g.high + p.l1 * sign(w.high));
    }
    let v = velocity(at, g, left);
    store_weight8(p.d_start + at, Eight(w.low - p.rate * v.low, w.high - p.rate * v.high), left);
}

fn put_bias(col: u32, sum: f32) {
    bias[p.count + col] -= p.rate * bias_velocity(col, sum);
}
