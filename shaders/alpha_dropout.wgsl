// alpha_dropout: y = a * x + b if the mask keeps x, else a * alpha' + b; mean and variance stay.
//
// Shapes: x, y [rows, cols].
// Parameters: `scale` is a, `shift` is b, `dropped` is a * alpha' + b. The host computes them in
// f64 from the rate in effect, so that the mean and the variance are preserved.
// Backward pass: dropout.wgsl with the scale a.
// Threads: block.wgsl maps them to elements; rows.wgsl draws if it can, loads and stores.
// Source: Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
// CPU twin: src/cpu/reference/alpha_dropout.rs.

// join block rows
// width scalar vec4 vec8
// choice ALIGNED no yes
// takes state
// takes spread if ALIGNED yes

struct Own {
    across_log2: u32,  // binary logarithm of the threads that lie side by side along the columns
    shift: f32,        // summand of a kept element
    dropped: f32,      // value of a dropped element
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

fn alpha4(v: vec4<f32>, kept: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(p.own.dropped), v * p.scale + p.own.shift, kept);
}

fn map_strip(row: u32, col: u32, v: Eight, draws: vec4<u32>) -> Eight {
    if ALIGNED {
        return Eight(alpha4(v.low, kept_words(draws.xy)), alpha4(v.high, kept_words(draws.zw)));
    }
    let keep = keep8(row, col);
    return Eight(alpha4(v.low, kept4(keep)), alpha4(v.high, kept4(keep >> 4u)));
}

// if STATE yes
fn take_own_state() {
    p.own.shift = state.shift;
    p.own.dropped = state.dropped;
}
// end
