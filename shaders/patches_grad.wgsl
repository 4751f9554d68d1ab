// patches_grad: the way back through patches; each number of an image gathers the gradients of the patches that it is in (col2im).
//
//     dx[b, h, w, c] = sum over u, v of dy[(b, h + P - u, w + P - v), (u, v, c)], of the patches that there are
//     through: dx * s where x > 0, else 0, where x is what ReLU and dropout of the scale s gave
//
// Shapes: x, dx [B, H, W, C], dy [B * I * J, S * S * C] as in patches.wgsl. `rows` is B, `size_1`, `size_2` are H and W, `count` C, `first` P, `inner` S * S,
// `col_0` S, `row_0`, `row_1` I and J, `scale` s. The terms are added in ascending order of (u, v). One thread takes one element.
// Source: as patches.wgsl. CPU twin: src/cpu/reference/patches_grad.rs.

struct Own {
    channels: u32,
    height: u32,      // sizes of an image
    width: u32,
    out_height: u32,  // sizes of what an image becomes
    out_width: u32,
    side: u32,        // side and area of a window
    area: u32,
    padding: u32,
    flags: u32,       // THROUGH
}

@group(0) @binding(0) var<storage, read> grad_y: array<f32>;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> grad_x: array<f32>;

const THROUGH: u32 = 2u;  // flag

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    begin(workgroup);
    let index = (workgroup.y * p.grid + workgroup.x) * 64u + lane;
    let pixel = index / p.own.channels;
    let line = pixel / p.own.width;
    let image = line / p.own.height;
    if image >= p.rows {
        return;
    }
    var sum = 0.0;
    for (var place = 0u; place < p.own.area; place++) {
        // Patches before the first wrap around and are past the last.
        let out_row = line % p.own.height + p.own.padding - place / p.own.side;
        let out_col = pixel % p.own.width + p.own.padding - place % p.own.side;
        if out_row < p.own.out_height && out_col < p.own.out_width {
            let row = (image * p.own.out_height + out_row) * p.own.out_width + out_col;
            sum += grad_y[p.a_start + (row * p.own.area + place) * p.own.channels + index % p.own.channels];
        }
    }
    if (p.own.flags & THROUGH) != 0u {
        sum = select(sum * p.scale, 0.0, x[p.b_start + index] <= 0.0);
    }
    grad_x[p.c_start + index] = sum;
}

fn begin_own(zero: u32) {
    p.own.area += zero;
    p.own.flags += zero;
}
