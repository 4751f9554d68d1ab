// sgd_momentum: v = momentum * v + g, kept between steps; v has W's shape. Part of sgd.wgsl.

@group(0) @binding(2) var<storage, read_write> velocities: array<Element>;

// loader load_velocities velocities
// storer store_velocities velocities

fn velocity(at: u32, g: vec4<f32>, left: u32) -> vec4<f32> {
    let v = p.momentum * load_velocities(p.c_start + at, left) + g;
    store_velocities(p.c_start + at, v, left);
    return v;
}
