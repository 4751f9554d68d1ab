// batch_loss: a mini-batch's total loss and number of right answers.
//
//     totals[slot] = sum over r of losses[r]
//
// Shapes: losses [rows, 2], totals [any, 2].
// Threads: one workgroup. Thread t sums rows t, t + 64, t + 128, … in order; then thread 0 sums the
// 64 partial sums in order. So the order of the sum does not depend on the device.
// CPU twin: src/cpu/reference/batch_loss.rs.

@group(0) @binding(0) var<storage, read> losses: array<f32>;
@group(0) @binding(1) var<storage, read_write> totals: array<f32>;

var<workgroup> partial: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    var sum = vec2<f32>(0.0);
    for (var row = lane; row < p.rows; row += 64u) {
        sum += vec2<f32>(losses[p.a_start + 2u * row], losses[p.a_start + 2u * row + 1u]);
    }
    partial[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        var total = vec2<f32>(0.0);
        for (var t = 0u; t < 64u; t++) {
            total += partial[t];
        }
        totals[p.b_start] = total.x;
        totals[p.b_start + 1u] = total.y;
    }
}
