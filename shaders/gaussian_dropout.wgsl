// gaussian_dropout: y = x * (1 + sigma * n), n standard normal; dx = dy * (1 + sigma * n).
//
//     n = c * quantile((d + 1/2) / 65536), where d is the element's draw of 16 bits
//
// It is its own derivative.
// Shapes: x, y [rows, cols].
// Parameters: `scale` is sigma * c, which the host computes in f64.
// Threads: block.wgsl maps them to elements; rows.wgsl draws if it can, loads and stores.
// Sources: Srivastava et al., JMLR 15 (2014), section 10; Wichura, "Algorithm AS 241", Applied
// Statistics 37 (1988), PPND7.
// CPU twin: src/cpu/reference/gaussian_dropout.rs.

// join block rows
// width scalar vec4 vec8
// choice ALIGNED no yes
// takes state
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

// Returns the standard normal quantile at the middle of each draw's interval, of 65,536 in all. It
// is a quotient of polynomials: in 0.425^2 - q^2 near the middle, in the square root of the
// negative logarithm near the ends.
fn quantile4(draws: vec4<u32>) -> vec4<f32> {
    // u and q are exact: multiples of 2^-17.
    let u = (vec4<f32>(draws) + 0.5) * (1.0 / 65536.0);
    let q = u - 0.5;
    let middle = abs(q) <= vec4<f32>(0.425);
    let r = select(sqrt(-log(min(u, 1.0 - u))) - 1.6, 0.180625 - q * q, middle);
    let numerator = ((pick(1.7023821103e-1, 5.9109374720e1, middle) * r
        + pick(1.3067284816, 1.5929113202e2, middle)) * r
        + pick(2.7568153900, 5.0434271938e1, middle)) * r
        + pick(1.4234372777, 3.3871327179, middle);
    let denominator = ((pick(0.0, 6.7187563600e1, middle) * r
        + pick(1.2021132975e-1, 7.8757757664e1, middle)) * r
        + pick(7.3700164250e-1, 1.7895169469e1, middle)) * r
        + 1.0;
    return numerator / denominator * select(sign(q), q, middle);
}

fn pick(outside: f32, inside: f32, middle: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(outside), vec4<f32>(inside), middle);
}

fn noise4(v: vec4<f32>, words: vec2<u32>) -> vec4<f32> {
    return v * (1.0 + p.scale * quantile4(draws4(words)));
}

fn map_strip(row: u32, col: u32, v: Eight, draws: vec4<u32>) -> Eight {
    var words = draws;
    if !ALIGNED {
        words = draws8(row, col);
    }
    return Eight(noise4(v.low, words.xy), noise4(v.high, words.zw));
}
