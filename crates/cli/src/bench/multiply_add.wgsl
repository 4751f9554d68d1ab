// multiply_add: the arithmetic peak of a device, against which matrix products are measured, from
// fused multiply-adds on registers alone.
//
//   c = fma(c, a, b) with b = 1 - a, repeated for every chain; y = dot(sum of the chains, a)
//
// y [invocations]. Each invocation updates several independent chains, vectors of four, so that a
// multiply-add need not wait for the one before it. The host (peak.rs) writes out the chains and
// the loop body. Every chain tends to 1, and its result is stored, so that no compiler can remove
// it.

@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Known only at run time.
    let a = vec4<f32>(0.5 + f32(id.x) * 1e-9);
    let b = 1.0 - a;
    // chains
    for (var i = 0u; i < ROUNDS; i++) {
        // steps
    }
    y[id.x] = dot(SUM, a);
}
