// relu: z if it is positive or a NaN, else 0.
//
// It decides by z's bits: some drivers turn a comparison into a maximum, which turns a NaN into 0.
// Every kernel with a ReLU calls this.

fn relu(z: vec4<f32>) -> vec4<f32> {
    return select(
        z,
        vec4<f32>(0.0),
        bitcast<vec4<u32>>(z) - vec4<u32>(0x80000000u) <= vec4<u32>(0x7f800000u)
    );
}
