// activation_grad: dZ = M * s * act'(Z) * dY, the gradient before a layer's activation.
//
// Shapes: dY, Z, dZ [rows, cols]. Z is what linear_activation saved; M is the mask, s its scale.
// Threads: block.wgsl maps them to elements.
// Source: the chain rule; activation.wgsl names the sources of the activations.
// CPU twin: src/cpu/reference/activation_grad.rs.

// join block activation relu
// width scalar vec4 vec8
// takes state

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
    flags: u32,        // the activation, see activation.wgsl
}

// if IN_PLACE no
@group(0) @binding(0) var<storage, read> x: array<Element>;
// end
@group(0) @binding(1) var<storage, read> z: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

// if IN_PLACE yes
// loader load_x y
// else
// loader load_x x
// end
// loader load_z z
// storer store_y y

fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    let grad = load_x8(p.a_start + row * p.a_stride + col, left);
    let at = load_z8(p.b_start + row * p.b_stride + col, left);
    let keep = keep8(row, col);
    let low = drop4(back(at.low, grad.low), keep);
    store_y8(
        p.c_start + row * p.c_stride + col,
        Eight(low, drop4(back(at.high, grad.high), keep >> 4u)),
        left
    );
}

fn begin_own(zero: u32) {
    p.own.flags += zero;
}
