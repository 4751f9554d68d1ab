// dropout: y = M * s * x; it is its own derivative, so that dx = M * s * dy.
//
// Shapes: x, y [rows, cols]. M is the mask, s its scale.
// Threads: block.wgsl maps them to elements; rows.wgsl draws if it can, loads and stores.
// Source: Srivastava et al., JMLR 15 (2014), section 4; scaled in training as in the CS231n notes.
// CPU twin: src/cpu/reference/dropout.rs.

// join block rows
// width scalar vec4 vec8
// choice ALIGNED no yes
// takes state
// takes f16
// takes spread if ALIGNED yes

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
}

// if IN_PLACE no
@group(0) @binding(0) var<storage, read> x: array<Element>;
// end
@group(0) @binding(1) var<storage, read_write> y: array<Element>;

// if IN_PLACE yes
// loader load_x y
// else
// loader load_x x
// end
// storer store_y y

fn map_strip(row: u32, col: u32, v: Eight, draws: vec4<u32>) -> Eight {
    if ALIGNED {
        return Eight(drop_words(v.low, draws.xy), drop_words(v.high, draws.zw));
    }
    let keep = keep8(row, col);
    return Eight(drop4(v.low, keep), drop4(v.high, keep >> 4u));
}
