// copy: y = x, the ceiling of every kernel that reads and writes each element once.
//
// Shapes: x, y [rows, cols].
// Threads: the threads, loads and stores of dropout.wgsl, without the mask.

// join block rows
// width scalar vec4 vec8
// choice ALIGNED no
// takes f16
// takes spread

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
}

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

// loader load_x x
// storer store_y y

// Adds `flags`, which is 0 without the compiler knowing it. On lavapipe, a value that is stored as
// it was loaded takes half as long again.
fn moved(v: vec4<f32>) -> vec4<f32> {
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(v) + vec4<u32>(p.threshold));
}

fn map_strip(row: u32, col: u32, v: Eight, draws: vec4<u32>) -> Eight {
    return Eight(moved(v.low), moved(v.high));
}
