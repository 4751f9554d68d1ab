// grad_weight_sgd: one SGD update of a layer with gradients that are never stored.
//
//     g = Xᵀ dZ + decay * W + l1 * sign(W)       v = momentum * v + g       W = W - rate * v
//
// and the same for b with g = sum over the batch of dZ, without the penalties.
// Shapes: X [inner, inputs], dZ [inner, cols], W and its v [inputs, cols], b and its v [cols].
// `inner` is the size of the batch.
// Order: a batch too large for a binding comes in parts, each of which adds its share. The host
// gives momentum and penalties to the first part alone and, if there is a velocity, the rate to the
// last part alone. The sum of a part runs over the batch in ascending order, in one chain.
// Threads: outer.wgsl loads the factors; the tile file maps threads to elements.
// Sources: grad_weight.wgsl and sgd.wgsl.
// CPU twin: src/cpu/reference/grad_weight_sgd.rs.

// join product outer
// width scalar vec4 vec8
// choice MOMENTUM no yes
// choice PART no
// choice BOUND all few if MOMENTUM yes WIDTH scalar

struct Own {
    inner: u32,     // terms of each sum in this dispatch; for a join, the number of parts
    terms: u32,     // terms of each part of a sum, if parts lie side by side; else all
    bias_row: u32,  // local row of the product that is db
    rate: f32,
    momentum: f32,
    decay: f32,
    l1: f32,
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> gradient: array<Element>;
// With few bindings, b lies where W does, and its v where W's does: all numbers are loaded one by
// one there.
// if BOUND all
@group(0) @binding(2) var<storage, read_write> bias: array<f32>;
// end
@group(0) @binding(3) var<storage, read_write> weight: array<Element>;
// if MOMENTUM yes
@group(0) @binding(4) var<storage, read_write> weight_velocities: array<Element>;
// if BOUND all
@group(0) @binding(5) var<storage, read_write> bias_velocities: array<f32>;
// end
// end

// loader load_x x
// loader load_gradient gradient
// loader load_weight weight
// storer store_weight weight
// if MOMENTUM yes
// loader load_velocities weight_velocities
// storer store_velocities weight_velocities
// end

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
    var g = Eight(sums.low + p.own.decay * w.low, sums.high + p.own.decay * w.high);
    if p.own.l1 != 0.0 {
        g = Eight(g.low + p.own.l1 * sign(w.low), g.high + p.own.l1 * sign(w.high));
    }
    let v = velocity(at, g, left);
    store_weight8(p.d_start + at, Eight(w.low - p.own.rate * v.low, w.high - p.own.rate * v.high), left);
}

fn put_bias(col: u32, sum: f32) {
    // if BOUND all
    bias[p.c_start + col] -= p.own.rate * bias_velocity(col, sum);
    // else
    weight[p.c_start + col] -= p.own.rate * bias_velocity(col, sum);
    // end
}

// if MOMENTUM yes
fn velocity(at: u32, g: Eight, left: u32) -> Eight {
    let before = load_velocities8(p.e_start + at, left);
    let m = p.own.momentum;
    let v = Eight(m * before.low + g.low, m * before.high + g.high);
    store_velocities8(p.e_start + at, v, left);
    return v;
}

// if BOUND all
fn bias_velocity(col: u32, g: f32) -> f32 {
    let v = p.own.momentum * bias_velocities[p.f_start + col] + g;
    bias_velocities[p.f_start + col] = v;
    return v;
}
// else
fn bias_velocity(col: u32, g: f32) -> f32 {
    let v = p.own.momentum * weight_velocities[p.f_start + col] + g;
    weight_velocities[p.f_start + col] = v;
    return v;
}
// end
// else
// Without momentum the velocity is the gradient and is not kept.
fn velocity(at: u32, g: Eight, left: u32) -> Eight {
    return g;
}

fn bias_velocity(col: u32, g: f32) -> f32 {
    return g;
}
// end

fn begin_own(zero: u32) {
    p.own.inner += zero;
}
