// subnetworks: a dropout site of many sub-networks at once, each with its own numbered mask.
//
//     y[m * R + r, c] = M[m, c] * s * x[(m * R + r) % input_rows, c]
//     M[m, c] = bit (bit + c) of the number first + m
//
// Shapes: y [rows, cols] with rows = networks * R: the rows of a network are contiguous. x
// [input_rows, cols]: either R rows that all networks share, or as many rows as y.
// Parameters: `scale` is s. The site's units are bits `bit` to `bit + cols` of a mask's number;
// all sites together have at most 32. A dropped element becomes 0 by selection.
// Threads: one takes eight columns of one row.
// Source: Srivastava et al., JMLR 15 (2014), section 1: the 2^n thinned networks.
// CPU twin: src/cpu/reference/subnetworks.rs.

struct Own {
    first: u32,         // mask of the first network
    bit: u32,           // bit of column 0
    network_rows: u32,  // R, rows of a network
    input_rows: u32,    // rows of x
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

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
    let keep = (p.own.first + row / p.own.network_rows) >> (p.own.bit + col);
    let from_ = p.a_start + (row % p.own.input_rows) * p.a_stride + col;
    let to = p.b_start + row * p.b_stride + col;
    for (var j = 0u; j < 8u; j++) { // unroll
        if col + j < p.cols {
            y[to + j] = select(0.0, x[from_ + j] * p.scale, ((keep >> j) & 1u) != 0u);
        }
    }
}
