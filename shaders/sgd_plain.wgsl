// sgd_plain: without momentum the velocity is the gradient and is not kept. Part of sgd.wgsl.

fn velocity(element: u32, g: f32) -> f32 {
    return g;
}
