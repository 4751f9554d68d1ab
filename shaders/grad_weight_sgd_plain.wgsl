// grad_weight_sgd_plain: without momentum the velocity is the gradient and is not kept. Part of grad_weight_sgd.wgsl.

fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    return g;
}

fn bias_velocity(col: u32, g: f32) -> f32 {
    return g;
}
