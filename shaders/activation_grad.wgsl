// activation_grad: dZ = M * s * act'(Z) * dY, the gradient before a layer's activation.
//
// Shapes: dY, Z, dZ [rows, cols]. Z is what linear_activation saved; M is the mask, s its scale.
// Threads: block.wgsl maps them to elements.
// Source: the chain rule; activation.wgsl names the sources of the activations.
// CPU twin: src/cpu/reference/activation_grad.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read> z: array<Element>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

// loader load_x x
// loader load_z z
// storer store_y y

fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    let grad = load_x8(p.a_start + row * p.a_stride + col, left);
    let at = load_z8(p.c_start + row * p.c_stride + col, left);
    let keep = keep8(row, col);
    let low = drop4(back(at.low, grad.low), keep);
    store_y8(
        p.b_start + row * p.b_stride + col,
        Eight(low, drop4(back(at.high, grad.high), keep >> 4u)),
        left
    );
}
