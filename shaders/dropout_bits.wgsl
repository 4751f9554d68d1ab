// dropout_bits: y = M * s * x with a given mask M; its own derivative: dx = M * s * dy.
//
// Shapes: x, y [rows, cols]; bits [rows, ceil(cols / 32)] as mask_bits.wgsl writes them: element
// (r, c) of M is bit c % 32 of word c / 32 of row r.
// Threads: block.wgsl maps them to elements. Strips start at multiples of eight columns, so that
// the bits of a strip lie in one word.
// Source: as dropout.wgsl.
// CPU twin: src/cpu/reference/dropout_bits.rs.

// join block
// width scalar vec4 vec8

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
}

// if IN_PLACE no
@group(0) @binding(0) var<storage, read> x: array<Element>;
// end
@group(0) @binding(1) var<storage, read> bits: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<Element>;

// if IN_PLACE yes
// loader load_x y
// else
// loader load_x x
// end
// storer store_y y

fn strip(row: u32, col: u32) {
    let left = p.cols - col;
    let v = load_x8(p.a_start + row * p.a_stride + col, left);
    let keep = bits[p.b_start + row * p.b_stride + col / 32u] >> (col % 32u);
    store_y8(
        p.c_start + row * p.c_stride + col,
        Eight(drop4(v.low, keep), drop4(v.high, keep >> 4u)),
        left
    );
}
