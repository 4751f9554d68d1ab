// relu: z where it is positive or a NaN, else 0.
//
// Told by z's bits: of a comparison some drivers make a maximum, and 0 of a NaN. Every kernel that rectifies calls this.

fn relu(z: vec4<f32>) -> vec4<f32> {
    return select(z, vec4<f32>(0.0), bitcast<vec4<u32>>(z) - vec4<u32>(0x80000000u) <= vec4<u32>(0x7f800000u));
}
