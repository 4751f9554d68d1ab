// sgd: one update of a weight matrix W [rows, cols] or, with rows = 1, of a bias, as PyTorch defines it.
//
//     g = dW + decay * W        v = momentum * v + g        W = W - rate * v
//     then, with max-norm:      W[:, j] = W[:, j] * c / |W[:, j]|  where  |W[:, j]| > c
//
// Without momentum v is g and needs no memory. One thread takes one element or, for max-norm, one column in two
// passes over its rows, its squares summed in ascending order. Sources: torch.optim.SGD; max-norm from Srivastava et
// al., JMLR 15 (2014), section 5.1. CPU twin: src/cpu/reference/sgd.rs. `velocity` comes from sgd_momentum.wgsl or sgd_plain.wgsl.

@group(0) @binding(0) var<storage, read> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> weight: array<f32>;

const MAX_NORM: u32 = 1u;  // flag: columns longer than max_norm are shortened to it

fn updated(element: u32) -> f32 {
    let w = weight[p.b_start + element];
    let g = grad[p.a_start + element] + p.decay * w;
    return w - p.rate * velocity(element, g);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if (p.flags & MAX_NORM) == 0u {
        if index < p.count {
            weight[p.b_start + index] = updated(index);
        }
        return;
    }
    if index >= p.cols {
        return;
    }
    var squares = 0.0;
    for (var row = 0u; row < p.rows; row++) {
        let w = updated(row * p.cols + index);
        weight[p.b_start + row * p.cols + index] = w;
        squares += w * w;
    }
    let norm = sqrt(squares);
    if norm > p.max_norm {
        let shrink = p.max_norm / norm;
        for (var row = 0u; row < p.rows; row++) {
            weight[p.b_start + row * p.cols + index] *= shrink;
        }
    }
}
