// sgd: one update of a weight matrix, or of a bias with rows = 1, as PyTorch defines it.
//
//     g = dW + decay * W + l1 * sign(W)        v = momentum * v + g        W = W - rate * v
//     then, with the flag MAX_NORM: W[:, j] = W[:, j] * c / |W[:, j]| if |W[:, j]| > c
//
// Without momentum v is g and needs no memory.
// Shapes: dW, W, v [rows, cols].
// Parameters: `max_norm` is c; the others have the names of the equation.
// Threads: one takes four elements. For max-norm it takes four columns, in two passes over their
// rows; the squares are summed in ascending order.
// Sources: torch.optim.SGD; max-norm from Srivastava et al., JMLR 15 (2014), section 5.1.
// CPU twin: src/cpu/reference/sgd.rs.

// width scalar vec4
// choice MOMENTUM no yes

struct Own {
    count: u32,     // number of elements
    flags: u32,     // MAX_NORM
    rate: f32,      // learning rate
    momentum: f32,
    decay: f32,
    l1: f32,
    max_norm: f32,
}

@group(0) @binding(0) var<storage, read> grad: array<Element>;
@group(0) @binding(1) var<storage, read_write> weight: array<Element>;
// if MOMENTUM yes
@group(0) @binding(2) var<storage, read_write> velocities: array<Element>;
// end

// loader load_grad grad
// loader load_weight weight
// storer store_weight weight
// if MOMENTUM yes
// loader load_velocities velocities
// storer store_velocities velocities
// end

const MAX_NORM: u32 = 1u;  // flag: columns longer than `max_norm` are scaled down to it

// if MOMENTUM yes
fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    let v = p.own.momentum * load_velocities(p.c_start + at, left) + g;
    store_velocities(p.c_start + at, v, left);
    return v;
}
// else
// Without momentum the velocity is the gradient and is not kept.
fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    return g;
}
// end

// Returns the new values of four elements from `at` on, of which the first `left` exist.
fn updated(at: u32, left: u32) -> vec4<f32> {
    let w = load_weight(p.b_start + at, left);
    var g = load_grad(p.a_start + at, left) + p.own.decay * w;
    if p.own.l1 != 0.0 {
        g += p.own.l1 * sign(w);
    }
    return w - p.own.rate * velocity(at, g, left);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = ((workgroup.y * p.grid + workgroup.x) * 64u + lane) * 4u;
    if (p.own.flags & MAX_NORM) == 0u {
        if index < p.own.count {
            store_weight(p.b_start + index, updated(index, p.own.count - index), p.own.count - index);
        }
        return;
    }
    if index >= p.cols {
        return;
    }
    let left = p.cols - index;
    var squares = vec4<f32>(0.0);
    for (var row = 0u; row < p.rows; row++) {
        let at = row * p.cols + index;
        let w = updated(at, left);
        store_weight(p.b_start + at, w, left);
        squares += w * w;
    }
    let norm = sqrt(squares);
    let long = norm > vec4<f32>(p.own.max_norm);
    if any(long) {
        let shrink = select(vec4<f32>(1.0), p.own.max_norm / norm, long);
        for (var row = 0u; row < p.rows; row++) {
            let at = p.b_start + row * p.cols + index;
            store_weight(at, load_weight(at, left) * shrink, left);
        }
    }
}

fn begin_own(zero: u32) {
    p.own.flags += zero;
}
