// sgd_plain: without momentum the velocity is the gradient and is not kept. Part of sgd.wgsl.

fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    return g;
}
