// moments: mean and spread of the class probabilities of sub-networks, and the mean of their entropies, added to those of the ones before.
//
//     p[s, r] = softmax(z[s * rows + r])        h[s, r] = -(sum over c of p[s, r, c] * log(p[s, r, c]))        W = sum over s of w[s]
//     mean[r, c] = (sum over s of w[s] * p[s, r, c]) / W        squares[r, c] = sum over s of w[s] * (p[s, r, c] - mean[r, c])^2
//
// Shapes: z [count * rows, cols], overwritten with p; w [any], of which the weights from `first` on are taken; moments [rows, 2 cols + 1]: means,
// squares, and the mean of h. `rate` is the sum of the weights of the networks before this dispatch; FIRST says that there were none. The
// networks of a dispatch are taken in ascending order, then their mean and squares are joined to those before: two short chains of roundings
// instead of a long one. One thread takes one row. Sources: West, CACM 22 (1979), for weights one at a time; Chan, Golub, LeVeque,
// The American Statistician 37 (1983), for joining. CPU twin: src/cpu/reference/moments.rs.

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> moments: array<f32>;

const FIRST: u32 = 1u;  // flag: nothing is in `moments` yet

// Joins mean and squares of networks of weight `weight` to those at `mean_at` and `squares_at`.
fn join(mean: f32, weight: f32, mean_at: u32) -> f32 {
    if (p.flags & FIRST) != 0u {
        moments[mean_at] = mean;
        return 0.0;
    }
    let old = moments[mean_at];
    let share = weight / (p.rate + weight);
    moments[mean_at] = old + (mean - old) * share;
    return (mean - old) * (mean - old) * share * p.rate;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let networks = p.count + workgroup.z;
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    // Probabilities in the place of the logits, and the entropies' mean.
    var weight = 0.0;
    var entropy = 0.0;
    for (var s = 0u; s < networks; s++) {
        let at = p.b_start + (s * p.rows + row) * p.cols;
        var largest = z[at];
        for (var c = 1u; c < p.cols; c++) {
            if z[at + c] > largest {
                largest = z[at + c];
            }
        }
        var sum = 0.0;
        var terms = 0.0;
        for (var c = 0u; c < p.cols; c++) {
            let t = z[at + c] - largest;
            let e = exp(t);
            z[at + c] = e;
            sum += e;
            terms += select(t * e, 0.0, e == 0.0);
        }
        for (var c = 0u; c < p.cols; c++) {
            z[at + c] = z[at + c] / sum;
        }
        let w = weights[p.a_start + p.first + s];
        if w > 0.0 {
            weight += w;
            entropy += (log(sum) - terms / sum - entropy) * (w / weight);
        }
    }
    if weight <= 0.0 {
        // Networks that never occur; where they are the first, the next ones are joined to a weight of 0.
        for (var c = 0u; c < 2u * p.cols + 1u; c++) {
            if (p.flags & FIRST) != 0u {
                moments[p.c_start + row * (2u * p.cols + 1u) + c] = 0.0;
            }
        }
        return;
    }
    let means_at = p.c_start + row * (2u * p.cols + 1u);
    for (var c = 0u; c < p.cols; c++) {
        var so_far = 0.0;
        var mean = 0.0;
        var squares = 0.0;
        for (var s = 0u; s < networks; s++) {
            let w = weights[p.a_start + p.first + s];
            if w > 0.0 {
                let off = z[p.b_start + (s * p.rows + row) * p.cols + c] - mean;
                let change = off * (w / (so_far + w));
                squares += so_far * off * change;
                mean += change;
                so_far += w;
            }
        }
        let between = join(mean, weight, means_at + c);
        let squares_at = means_at + p.cols + c;
        moments[squares_at] = select(moments[squares_at], 0.0, (p.flags & FIRST) != 0u) + squares + between;
    }
    _ = join(entropy, weight, means_at + 2u * p.cols);
}
