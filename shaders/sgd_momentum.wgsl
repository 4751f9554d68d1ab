// sgd_momentum: v = momentum * v + g, kept from step to step. Shape: v as W. Part of sgd.wgsl.

@group(0) @binding(2) var<storage, read_write> velocities: array<f32>;

fn velocity(element: u32, g: f32) -> f32 {
    let v = p.momentum * velocities[p.c_start + element] + g;
    velocities[p.c_start + element] = v;
    return v;
}
