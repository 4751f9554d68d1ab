// adamw: one update by Adam with decoupled weight decay, as PyTorch defines it.
//
//     m = b1 * m + (1 - b1) * g        v = b2 * v + (1 - b2) * g^2
//     W = W - rate * decay * W - rate / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + epsilon)
//
// Shapes: any, as `count` elements.
// Parameters: the host folds the bias corrections of step t into
// `rate = rate * sqrt(1 - b2^t) / (1 - b1^t)` and `epsilon = epsilon * sqrt(1 - b2^t)`, and the
// rate before that into `decay`.
// Threads: one takes four elements.
// Sources: Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2;
// torch.optim.AdamW.
// CPU twin: src/cpu/reference/adamw.rs.

// width scalar vec4

struct Own {
    count: u32,    // number of elements
    rate: f32,     // size of the step
    epsilon: f32,
    decay: f32,
    beta1: f32,
    beta2: f32,
}

@group(0) @binding(0) var<storage, read> grad: array<Element>;
@group(0) @binding(1) var<storage, read_write> weight: array<Element>;
@group(0) @binding(2) var<storage, read_write> first: array<Element>;
@group(0) @binding(3) var<storage, read_write> second: array<Element>;

// loader load_grad grad
// loader load_weight weight
// storer store_weight weight
// loader load_first first
// storer store_first first
// loader load_second second
// storer store_second second

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = ((workgroup.y * p.grid + workgroup.x) * 64u + lane) * 4u;
    if index >= p.own.count {
        return;
    }
    let left = p.own.count - index;
    let g = load_grad(p.a_start + index, left);
    let w = load_weight(p.b_start + index, left);
    let m = p.own.beta1 * load_first(p.c_start + index, left) + (1.0 - p.own.beta1) * g;
    let v = p.own.beta2 * load_second(p.d_start + index, left) + (1.0 - p.own.beta2) * (g * g);
    store_first(p.c_start + index, m, left);
    store_second(p.d_start + index, v, left);
    store_weight(p.b_start + index, w - p.own.decay * w - p.own.rate * (m / (sqrt(v) + p.own.epsilon)), left);
}
