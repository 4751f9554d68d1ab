// mask_bytes: the mask itself, one byte (0 or 1) an element.
//
// Shapes: bytes [rows, cols], row-major without a gap, four a word; the rest of the last word is 0.
// Parameters: elements are counted from local row 0. This dispatch starts with element `first` and
// ends before element `end`.
// Threads: one makes two words, which are eight consecutive elements, continuing in the next row if
// a row ends. If rows are whole groups, that takes one call of Philox.
// CPU twin: src/cpu/reference/mask_bytes.rs.

// takes state

struct Own {
    first: u32,  // columns from the first row to the first byte of this dispatch
    end: u32,    // and to the end of its last one
}

@group(0) @binding(0) var<storage, read_write> bytes: array<u32>;

// Spreads four bits to the lowest bits of four bytes: no two of the sixteen products overlap.
fn spread(bits: u32) -> u32 {
    return ((bits & 0xfu) * 0x00204081u) & 0x01010101u;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let start = p.own.first + 8u * index;
    if start >= p.own.end {
        return;
    }
    let wanted = min(p.own.end - start, 8u);
    var keep = 0u;
    var done = 0u;
    while done < wanted {
        let row = (start + done) / p.cols;
        let col = start + done - row * p.cols;
        let there = min(p.cols - col, wanted - done);
        keep |= (keep8(row, col) & ((1u << there) - 1u)) << done;
        done += there;
    }
    let at = p.a_start / 4u + 2u * index;
    bytes[at] = spread(keep);
    if wanted > 4u {
        bytes[at + 1u] = spread(keep >> 4u);
    }
}
