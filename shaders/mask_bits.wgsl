// mask_bits: the mask itself, one bit an element.
//
// Shapes: bits [rows, ceil(cols / 32)]. Element (r, c) is bit c % 32 of word c / 32 of row r; rows
// are padded with 0 to whole words.
// Threads: one makes one word, with four calls of Philox.
// CPU twin: src/cpu/reference/mask_bits.rs.

// takes state

@group(0) @binding(0) var<storage, read_write> bits: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let words = (p.cols + 31u) / 32u;
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let row = index / words;
    let col = (index % words) * 32u;
    if row >= p.rows {
        return;
    }
    var word = keep8(row, col) | (keep8(row, col + 8u) << 8u)
        | (keep8(row, col + 16u) << 16u) | (keep8(row, col + 24u) << 24u);
    let left = p.cols - col;
    if left < 32u {
        word &= (1u << left) - 1u;
    }
    bits[p.a_start + row * p.a_stride + col / 32u] = word;
}
