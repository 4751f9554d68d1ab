// philox_words: the generator alone, to check a device against the published answers.
//
//     for each row i: words[i] = philox4x32(inputs[i])
//
// Shapes: inputs [rows, 6], counter and key; words [rows, 4].
// Threads: one makes one row.
// CPU twin: crates/contract/src/philox.rs.

@group(0) @binding(0) var<storage, read> inputs: array<u32>;
@group(0) @binding(1) var<storage, read_write> words: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let row = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    if row >= p.rows {
        return;
    }
    let from_ = p.a_start + 6u * row;
    let to = p.b_start + 4u * row;
    let counter =
        vec4<u32>(inputs[from_], inputs[from_ + 1u], inputs[from_ + 2u], inputs[from_ + 3u]);
    let result = philox4x32(counter, vec2<u32>(inputs[from_ + 4u], inputs[from_ + 5u]));
    words[to] = result.x;
    words[to + 1u] = result.y;
    words[to + 2u] = result.z;
    words[to + 3u] = result.w;
}
