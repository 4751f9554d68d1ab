// moments: mean and spread of sub-networks' class probabilities, and the mean of their entropies.
//
//     q[s, r] = softmax(z[s * rows + r])         W = sum over s of w[s]
//     h[s, r] = -(sum over c of q[s, r, c] * log(q[s, r, c]))
//     mean[r, c] = (sum over s of w[s] * q[s, r, c]) / W
//     squares[r, c] = sum over s of w[s] * (q[s, r, c] - mean[r, c])^2
//
// The result is combined with the moments of the networks before this dispatch.
// Shapes: z [networks * rows, cols], overwritten; w [any], of which the weights from `first` on are
// used; moments [rows, 2 cols + 1]: means, squares, and the mean of h.
// Threads: `chains` threads take one row; `chains` is a power of two, at most 64 and at most
// `networks`.
// Each is a chain of sums: thread t takes networks t, t + terms, … in order. It leaves their means
// and squares in z, in place of its first two networks. Then the threads divide the classes: one
// thread combines all chains of a class in order, and the result with the earlier moments.
// Sources: West, CACM 22 (1979), for weights one at a time; Chan, Golub, LeVeque, The American
// Statistician 37 (1983), for combining.
// CPU twin: src/cpu/reference/moments.rs.

struct Own {
    first: u32,     // row of the first weight
    networks: u32,
    chains: u32,    // threads that share a row
    before: f32,    // sum of the weights of the networks before this dispatch
    flags: u32,     // FIRST: there were none
}

@group(0) @binding(0) var<storage, read> weights: array<f32>;
@group(0) @binding(1) var<storage, read_write> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> moments: array<f32>;

const FIRST: u32 = 1u;  // flag: nothing is in `moments` yet

// Each chain's weight and mean of the entropies.
var<workgroup> chain_weight: array<f32, 64>;
var<workgroup> chain_entropy: array<f32, 64>;

struct Sum {
    weight: f32,
    mean: f32,
    squares: f32,
}

// Combines two sums. A `b` of weight 0 changes nothing, whatever its mean and squares are.
fn join(a: Sum, b: Sum) -> Sum {
    if b.weight <= 0.0 {
        return a;
    }
    let off = b.mean - a.mean;
    let share = b.weight / (a.weight + b.weight);
    return Sum(
        a.weight + b.weight,
        a.mean + off * share,
        a.squares + b.squares + a.weight * off * off * share
    );
}

fn weight_of(network: u32) -> f32 {
    return weights[p.a_start + (p.own.first + network) * p.a_stride];
}

fn logits_of(network: u32, row: u32) -> u32 {
    return p.b_start + (network * p.rows + row) * p.b_stride;
}

// Replaces logits by probabilities; returns their entropy.
fn softmax(at: u32) -> f32 {
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
    return log(sum) - terms / sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let networks = p.own.networks + workgroup.z;
    let chains = p.own.chains;
    let chain = lane % chains;
    let row = (workgroup.y * p.grid + workgroup.x) * (64u / chains) + lane / chains;
    if row < p.rows {
        var entropy = Sum(0.0, 0.0, 0.0);
        for (var s = chain; s < networks; s += chains) {
            entropy = join(entropy, Sum(weight_of(s), softmax(logits_of(s, row)), 0.0));
        }
        chain_weight[lane] = entropy.weight;
        chain_entropy[lane] = entropy.mean;
        for (var c = 0u; c < p.cols; c++) {
            var sum = Sum(0.0, 0.0, 0.0);
            for (var s = chain; s < networks; s += chains) {
                sum = join(sum, Sum(weight_of(s), z[logits_of(s, row) + c], 0.0));
            }
            z[logits_of(chain, row) + c] = sum.mean;
            if chain + chains < networks {
                z[logits_of(chain + chains, row) + c] = sum.squares;
            }
        }
    }
    storageBarrier();
    workgroupBarrier();
    if row < p.rows {
        let to = p.c_start + row * p.c_stride;
        for (var c = chain; c <= p.cols; c += chains) {
            var sum = Sum(0.0, 0.0, 0.0);
            for (var other = 0u; other < chains; other++) {
                var one = Sum(
                    chain_weight[lane - chain + other], chain_entropy[lane - chain + other], 0.0
                );
                if c < p.cols {
                    one.mean = z[logits_of(other, row) + c];
                    if other + chains < networks {
                        one.squares = z[logits_of(other + chains, row) + c];
                    }
                }
                sum = join(sum, one);
            }
            // Index `cols` stands for the entropies: they have a mean, but no squares are kept.
            let mean_at = to + select(c, 2u * p.cols, c == p.cols);
            if (p.own.flags & FIRST) == 0u {
                var before = Sum(p.own.before, moments[mean_at], 0.0);
                if c < p.cols {
                    before.squares = moments[mean_at + p.cols];
                }
                sum = join(before, sum);
            }
            moments[mean_at] = sum.mean;
            if c < p.cols {
                moments[mean_at + p.cols] = sum.squares;
            }
        }
    }
}

fn begin_own(zero: u32) {
    p.own.flags += zero;
}
