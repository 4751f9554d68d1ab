// subnetworks: a dropout site of many sub-networks at once, each with a mask of its own, numbered by its bits.
//
//     y[m * inner + r, c] = M[m, c] * s * x[(m * inner + r) % terms, c]        M[m, c] = bit (count + c) of the number first + m
//
// Shapes: y [rows, cols], rows = networks * inner: a network's rows of data stand together. x [terms, cols]: either what all networks share, inner
// rows, or as many rows as y has. The site's units are bits `count` to `count + cols` of a mask's number, at most 32 in all. A dropped element is 0 by
// selection. One thread takes eight columns of one row. Source: Srivastava et al., JMLR 15 (2014), section 1: the 2^n thinned networks. CPU
// twin: src/cpu/reference/subnetworks.rs.

struct Own {
    first: u32,         // mask of the first network
    bit: u32,           // bit of column 0
    network_rows: u32,  // rows of a network
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
