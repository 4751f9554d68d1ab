// grad_weight_sgd_plain: without momentum v = g, and is not kept. Part of grad_weight_sgd.wgsl.

fn velocity(at: u32, g: Eight, left: u32) -> Eight {
    return g;
}

fn bias_velocity(col: u32, g: f32) -> f32 {
    return g;
}
