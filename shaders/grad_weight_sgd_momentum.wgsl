// grad_weight_sgd_momentum: v = momentum * v + g, kept between steps. Part of grad_weight_sgd.wgsl.

@group(0) @binding(4) var<storage, read_write> weight_velocities: array<Element>;
@group(0) @binding(5) var<storage, read_write> bias_velocities: array<f32>;

// loader load_velocities weight_velocities
// storer store_velocities weight_velocities

fn velocity(at: u32, g: Eight, left: u32) -> Eight {
    let before = load_velocities8(p.c_start + at, left);
    let v = Eight(p.momentum * before.low + g.low, p.momentum * before.high + g.high);
    store_velocities8(p.c_start + at, v, left);
    return v;
}

fn bias_velocity(col: u32, g: f32) -> f32 {
    let v = p.momentum * bias_velocities[p.c_stride + col] + g;
    bias_velocities[p.c_stride + col] = v;
    return v;
}
