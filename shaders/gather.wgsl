// gather: the mini-batch, with dropout of its features.
//
//     X[r, :] = M * s * (unit * data[order[first + r], :])
//     labels[r] = all_labels[order[first + r]]
//
// Shapes: data [count, cols] as bytes (four a word) or as f32; order [any]; X [rows, cols]; labels
// [rows]. M is the mask, s its scale.
// Parameters: `rate` is the unit: 1/255 for image bytes. Data larger than a binding comes in
// windows: a dispatch sees `count` rows from row `c_stride` on, and leaves the other rows of X
// alone. `b_stride` and `d_stride` are the first elements of all_labels and labels.
// Threads: one takes eight columns of one row.
// CPU twin: src/cpu/reference/gather.rs.

@group(0) @binding(0) var<storage, read> data: array<Datum>;
@group(0) @binding(1) var<storage, read> order: array<u32>;
@group(0) @binding(2) var<storage, read> all_labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;

const LABELS: u32 = 1u;  // flag: this dispatch copies the labels too

fn datum(index: u32) -> f32 {
    if BYTES {
        return f32((u32(data[index / 4u]) >> (8u * (index % 4u))) & 0xffu) * p.rate;
    }
    return f32(data[index]) * p.rate;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let strips = max((p.cols + 7u) / 8u, 1u);  // rows without features still have labels
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let row = index / strips;
    let col = (index % strips) * 8u;
    if row >= p.rows {
        return;
    }
    let source = order[p.c_start + p.first + row];
    if col == 0u && (p.flags & LABELS) != 0u {
        labels[p.d_stride + row] = all_labels[p.b_stride + source];
    }
    // For a row before the window the difference wraps around to a number past its end.
    let local = source - p.c_stride;
    if local >= p.count {
        return;
    }
    let keep = keep8(row, col);
    let from_ = p.a_start + local * p.a_stride + col;
    let to = p.d_start + row * p.cols + col;
    for (var j = 0u; j < 8u; j++) { // unroll
        if col + j < p.cols {
            x[to + j] = select(0.0, datum(from_ + j) * p.scale, ((keep >> j) & 1u) != 0u);
        }
    }
}
