// copy: y = x, the ceiling of every kernel that reads and writes each element once.
//
// Shapes: x, y [rows, cols]. Threads and loads are those of dropout.wgsl, without the mask.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

// loader load_x x
// storer store_y y

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let strips = (p.cols + 7u) / 8u;
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let row = index / strips;
    let col = (index % strips) * 8u;
    if row >= p.rows {
        return;
    }
    let left = p.cols - col;
    let source = p.a_start + row * p.a_stride + col;
    let target_ = p.b_start + row * p.b_stride + col;
    store_y(target_, load_x(source, left), left);
    if left > 4u {
        store_y(target_ + 4u, load_x(source + 4u, left - 4u), left - 4u);
    }
}
