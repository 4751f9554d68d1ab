// gather: the mini-batch, with dropout of its features.
//
//     X[r, :] = M * s * (unit * data[order[first + r], :])
//     labels[r] = all_labels[order[first + r]]
//
// Shapes: data [count, cols] as bytes (four a word) or as f32; order [any]; X [rows, cols]; labels
// [rows]. M is the mask, s its scale.
// The unit is 1/255 for image bytes. Data larger than a binding comes in windows: a dispatch sees
// `count` rows from row `window` on, and leaves the other rows of X alone.
// Threads: one takes eight columns of one row.
// CPU twin: src/cpu/reference/gather.rs.

// choice BYTES no yes
// choice BOUND all few labels
// takes state

struct Own {
    first: u32,   // row of the order that the mini-batch starts at
    window: u32,  // first row of the data that this dispatch sees
    count: u32,   // number of those rows
    unit: f32,    // factor of a feature
    flags: u32,   // LABELS
}

// With few bindings, features and labels are gathered by a dispatch each.
// if BOUND all few
// if BYTES yes
@group(0) @binding(0) var<storage, read> data: array<u32>;
// else
@group(0) @binding(0) var<storage, read> data: array<f32>;
// end
// end
@group(0) @binding(1) var<storage, read> order: array<u32>;
// if BOUND all labels
@group(0) @binding(2) var<storage, read> all_labels: array<u32>;
// end
// if BOUND all few
@group(0) @binding(3) var<storage, read_write> x: array<f32>;
// end
// if BOUND all labels
@group(0) @binding(4) var<storage, read_write> labels: array<u32>;
// end

const LABELS: u32 = 1u;  // flag: this dispatch copies the labels too

// if BOUND all few
fn datum(index: u32) -> f32 {
    // if BYTES yes
    return f32((data[index / 4u] >> (8u * (index % 4u))) & 0xffu) * p.own.unit;
    // else
    return data[index] * p.own.unit;
    // end
}
// end

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
    let source = order[p.b_start + p.own.first + row];
    // if BOUND all labels
    if col == 0u && (p.own.flags & LABELS) != 0u {
        labels[p.e_start + row] = all_labels[p.c_start + source];
    }
    // end
    // if BOUND all few
    // For a row before the window the difference wraps around to a number past its end.
    let local = source - p.own.window;
    if local >= p.own.count {
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
    // end
}

fn begin_own(zero: u32) {
    p.own.flags += zero;
}
