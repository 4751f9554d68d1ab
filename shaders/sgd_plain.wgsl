// sgd_plain: without momentum v = g, and is not kept. Part of sgd.wgsl.

fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    return g;
}
