// softmax_cross_entropy: each row's loss, its gradient, and whether the prediction is right.
//
//     loss[r] = log(sum over c of exp(z[r, c] - max)) - (z[r, label] - max)
//     dz[r, c] = (softmax(z[r])[c] - (c == label)) * s        s = 1 / batch
//
// Shapes: logits z, grad_logits dz [rows, cols]; labels [rows]; losses [rows, 2]: the loss, and 1
// if the row's largest logit is the label's, else 0.
// The largest logit is subtracted first, so that large logits do not overflow; of equal largest
// ones the first counts.
// Threads: one takes one row.
// Source: CS231n notes, "linear classification".
// CPU twin: src/cpu/reference/softmax_cross_entropy.rs.

struct Own {
    inverse_batch: f32,  // s, a row's share of the mean: the batch may have more rows than this dispatch
    unknown: f32,        // NaN, the loss for a label past the classes
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> grad_logits: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    let z = p.a_start + row * p.a_stride;
    let dz = p.c_start + row * p.c_stride;
    let label = labels[p.b_start + row];

    var largest = logits[z];
    var argmax = 0u;
    for (var c = 1u; c < p.cols; c++) {
        if logits[z + c] > largest {
            largest = logits[z + c];
            argmax = c;
        }
    }
    var sum = 0.0;
    for (var c = 0u; c < p.cols; c++) {
        let e = exp(logits[z + c] - largest);
        grad_logits[dz + c] = e;
        sum += e;
    }
    for (var c = 0u; c < p.cols; c++) {
        let probability = grad_logits[dz + c] / sum;
        grad_logits[dz + c] = (probability - select(0.0, 1.0, c == label)) * p.own.inverse_batch;
    }
    // The NaN for a label past the classes comes from the host: a compiler might fold 0 * (0 / 0)
    // away.
    var loss = p.own.unknown;
    if label < p.cols {
        loss = log(sum) - (logits[z + label] - largest);
    }
    losses[p.d_start + 2u * row] = loss;
    losses[p.d_start + 2u * row + 1u] = select(0.0, 1.0, argmax == label);
}
