// multiply_add: fused multiply-adds on registers alone, the arithmetic peak that matrix products are measured against.
//
// y [invocations]. Each invocation works on several independent vectors of four, so that a multiply-add need not wait for the one
// before. The host writes them and the body of the loop out. What is computed tends to 1, and is written so that no compiler can
// leave it out.

@group(0) @binding(0) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    // Known at run time alone.
    let a = vec4<f32>(0.5 + f32(id.x) * 1e-9);
    let b = 1.0 - a;
    // chains
    for (var i = 0u; i < ROUNDS; i++) {
        // steps
    }
    y[id.x] = dot(SUM, a);
}
