// patches: the square windows of images, one a row, for convolution as a matrix product (im2col).
//
//     y[(b, i, j), (u, v, c)] = x[b, i + u - P, j + v - P, c] inside the image, else 0
//
// Shapes: x [B, H, W, C], y [B * I * J, S * S * C] with I = H + 2P - S + 1 and J = W + 2P - S + 1.
// Channels lie side by side, so that S * C numbers of a patch are one run of x.
// Threads: one takes eight columns of one row.
// Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
// processing", 2006.
// CPU twin: src/cpu/reference/patches.rs.

struct Own {
    channels: u32,    // C
    height: u32,      // H, rows of an image
    width: u32,       // W, columns of an image
    out_height: u32,  // I, rows of windows
    out_width: u32,   // J, columns of windows
    line: u32,        // S * C, numbers of a window's line
    padding: u32,     // P
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let strips = (p.cols + 7u) / 8u;
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let row = index / strips;
    let first = (index % strips) * 8u;
    if row >= p.rows {
        return;
    }
    let image = row / (p.own.out_height * p.own.out_width);
    let out_row = row / p.own.out_width % p.own.out_height;
    let out_col = row % p.own.out_width;
    let width = p.own.width * p.own.channels;
    for (var j = 0u; j < 8u; j++) { // unroll
        let col = first + j;
        if col < p.cols {
            let line = col / p.own.line;
            // A row or column before the image wraps around to a number past its end.
            let in_row = out_row + line - p.own.padding;
            let in_col = (out_col - p.own.padding) * p.own.channels + col - line * p.own.line;
            var v = 0.0;
            if in_row < p.own.height && in_col < width {
                v = x[p.a_start + (image * p.own.height + in_row) * width + in_col];
            }
            y[p.b_start + row * p.cols + col] = v;
        }
    }
}

fn begin_own(zero: u32) {
    p.own.line += zero;
}
