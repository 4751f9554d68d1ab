// dropout: y = M * s * x, and, since it is its own derivative, dx = M * s * dy.
//
// Shapes: x, y [rows, cols]. One thread takes eight columns of one row; threads run along the columns first. `ALIGNED`, set by the host
// where the shard's column offset is a multiple of 8, says that these are the draws of one call of Philox. It is compiled in, since
// adapters that run on a CPU execute both sides of a branch.
// Source: Srivastava et al., JMLR 15 (2014), section 4; scaled while training as in the CS231n notes. CPU twin:
// src/cpu/reference/dropout.rs.

@group(0) @binding(0) var<storage, read> x: array<Element>;
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

// loader load_x x
// storer store_y y

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
    let left = p.cols - col;
    let source = p.a_start + row * p.a_stride + col;
    let target_ = p.b_start + row * p.b_stride + col;
    var low = load_x(source, left);
    var high = load_x(source + 4u, max(left, 4u) - 4u);
    if ALIGNED {
        let words = draw_group(row, p.col_group + col / 8u);
        low = drop_words(low, words.xy);
        high = drop_words(high, words.zw);
    } else {
        let keep = keep8(row, col);
        low = drop4(low, keep);
        high = drop4(high, keep >> 4u);
    }
    store_y(target_, low, left);
    if left > 4u {
        store_y(target_ + 4u, high, left - 4u);
    }
}
