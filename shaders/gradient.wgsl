// gradient: dZ, the gradient before a layer's activation, made from dY while a kernel loads it.
//
//     GATE relu, after ReLU:         dZ = dY * s if Y > 0, else 0
//     GATE mask, without ReLU:       dZ = M * s * dY
//     GATE none, without dropout:    dZ = dY
//
// dZ is never stored. After a ReLU the saved output Y gives the ReLU mask and the dropout mask at
// once; a NaN in Y lets the gradient pass. Without a ReLU the dropout mask is drawn again, since an
// output of 0 does not mean that it was dropped. The host sets `GATE`.
// Shapes: the kernel declares `grad_output` (dY) and `output` (Y), both [batch, cols], with
// `b_start`, `b_stride` and `c_start`, `c_stride`.
// CPU twin: src/cpu/reference/gradient.rs.

// if DIVISION tile
// Loads dY[row, col .. col + 4], of which the first `left` exist; col is a multiple of 4.
fn grad_of(row: u32, col: u32, left: u32) -> vec4<Number> {
    return load_grad_output_stored(p.b_start + row * p.b_stride + col, left);
}

// Loads Y of the same elements, if `GATE` needs it.
fn output_of(row: u32, col: u32, left: u32) -> vec4<Number> {
    // if GATE relu
    return load_output_stored(p.c_start + row * p.c_stride + col, left);
    // else
    return vec4<Number>();
    // end
}

// Returns their dZ.
fn gated(grad: vec4<f32>, y: vec4<f32>, row: u32, col: u32) -> vec4<f32> {
    // if GATE relu
    return select(grad * p.scale, vec4<f32>(0.0), y <= vec4<f32>(0.0));
    // end
    // if GATE mask
    return drop4(grad, keep8(row, col));
    // end
    // if GATE none
    return grad;
    // end
}

fn grad_z(row: u32, col: u32, left: u32) -> vec4<f32> {
    return gated(
        vec4<f32>(grad_of(row, col, left)), vec4<f32>(output_of(row, col, left)), row, col
    );
}

// Returns dZ[row, col .. col + 8]; col is a multiple of 8.
fn grad_z8(row: u32, col: u32, left: u32) -> Eight {
    var grad = load_grad_output8(p.b_start + row * p.b_stride + col, left);
    // if GATE relu
    let y = load_output8(p.c_start + row * p.c_stride + col, left);
    grad.low = select(grad.low * p.scale, vec4<f32>(0.0), y.low <= vec4<f32>(0.0));
    grad.high = select(grad.high * p.scale, vec4<f32>(0.0), y.high <= vec4<f32>(0.0));
    // end
    // if GATE mask
    let keep = keep8(row, col);
    grad = Eight(drop4(grad.low, keep), drop4(grad.high, keep >> 4u));
    // end
    return grad;
}
// end
