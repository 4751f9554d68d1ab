// mask: the mask contract, version 1, and the parameters that every kernel shares.
//
//     counter = (col / 8, row, layer, step)        key = seed
//     draw j of a group = 16 bits of word j / 2    kept = draw < threshold
//
// A kernel works on strips of eight columns. `keep8` draws a strip with one call of Philox if the
// shard's column offset is a multiple of 8, with two if it is not, and with none if everything is
// kept.
// CPU twin: crates/contract/src/dropout.rs.

// The parameter block. It holds scalars only, so that its layout is the same in every language. What
// a kernel needs beyond this head, it names in a struct Own of its file.
// Host twin: src/plan/params.rs.
struct Params {
    rows: u32,        // rows of the output in this dispatch
    cols: u32,        // columns of the output in this dispatch
    grid: u32,        // workgroups along x, since a large grid is folded into y
    seed_low: u32,
    seed_high: u32,
    layer: u32,
    step: u32,
    row_offset: u32,  // global row of local row 0
    col_group: u32,   // (global column of local column 0) / 8
    col_lane: u32,    // (global column of local column 0) % 8
    threshold: u32,   // 0 ..= 65536
    scale: f32,       // factor of a kept element, or of Gaussian noise
    // The first element of each tensor in its binding, and the elements from the start of a row to
    // that of the next: a is binding 0, b is binding 1 and so on.
    a_start: u32,
    a_stride: u32,
    b_start: u32,
    b_stride: u32,
    c_start: u32,
    c_stride: u32,
    d_start: u32,
    d_stride: u32,
    e_start: u32,
    e_stride: u32,
    f_start: u32,
    f_stride: u32,
    g_start: u32,
    g_stride: u32,
    h_start: u32,
    h_stride: u32,
    // if OWN yes
    @align(16) own: Own,
    // end
}

@group(1) @binding(0) var<uniform> params: Params;

var<private> p: Params;

// Copies the parameters. Every entry point begins with this call, for two reasons. An adapter that
// runs on a CPU loads a uniform once for all lanes only while no lane can have returned. And if a
// branch or a loop's bound depends on uniforms alone, lavapipe recompiles the kernel at every
// dispatch with their values as constants; adding workgroup.z, which only the host knows to be 0,
// prevents that.
fn begin(workgroup: vec3<u32>) {
    p = params;
    take_state();
    p.rows += workgroup.z;
    p.cols += workgroup.z;
    p.threshold += workgroup.z;
    begin_own(workgroup.z);
}

const KEEP_ALL: u32 = 65536u;

// Draws for eight columns, two draws a word.
fn draw_group(row: u32, group: u32) -> vec4<u32> {
    return philox4x32(
        vec4<u32>(group, row + p.row_offset, p.layer, p.step), vec2<u32>(p.seed_low, p.seed_high)
    );
}

// Draws for the eight columns of a group in four rows.
fn draw_rows(row: u32, group: u32) -> array<vec4<u32>, 4> {
    return philox4x32_rows(
        vec4<u32>(group, row + p.row_offset, p.layer, p.step), vec2<u32>(p.seed_low, p.seed_high)
    );
}

fn keep_group(row: u32, group: u32) -> u32 {
    let words = draw_group(row, group);
    let threshold = vec4<u32>(p.threshold);
    let even = select(
        vec4<u32>(0u), vec4<u32>(1u, 4u, 16u, 64u), (words & vec4<u32>(0xffffu)) < threshold
    );
    let odd = select(
        vec4<u32>(0u), vec4<u32>(2u, 8u, 32u, 128u), (words >> vec4<u32>(16u)) < threshold
    );
    let bits = even | odd;
    return bits.x | bits.y | bits.z | bits.w;
}

// Returns eight bits: bit j is set if local element (row, col + j) is kept.
fn keep8(row: u32, col: u32) -> u32 {
    if p.threshold == KEEP_ALL {
        return 0xffu;
    }
    let lane = (col + p.col_lane) % 8u;
    // A loop, so that one or two groups need one copy of Philox: compilers inline every call, and a
    // kernel has many.
    var bits = 0u;
    for (var group = 0u; group <= min(lane, 1u); group++) {
        bits |= keep_group(row, p.col_group + (col + p.col_lane) / 8u + group) << (8u * group);
    }
    return (bits >> lane) & 0xffu;
}

// Draws for local elements (row, col .. col + 8), two draws a word.
fn draws8(row: u32, col: u32) -> vec4<u32> {
    let lane = (col + p.col_lane) % 8u;
    var first = draw_group(row, p.col_group + (col + p.col_lane) / 8u);
    if lane == 0u {
        return first;
    }
    var next = draw_group(row, p.col_group + (col + p.col_lane) / 8u + 1u);
    // Shifts by four draws, by two and by one. No word is indexed by a variable, so that all stay
    // in registers.
    if (lane & 4u) != 0u {
        first = vec4<u32>(first.zw, next.xy);
        next = vec4<u32>(next.zw, next.zw);
    }
    if (lane & 2u) != 0u {
        first = vec4<u32>(first.yzw, next.x);
        next = next.yzww;
    }
    if (lane & 1u) != 0u {
        first = (first >> vec4<u32>(16u)) | (vec4<u32>(first.yzw, next.x) << vec4<u32>(16u));
    }
    return first;
}

// Returns the bits of `rows` rows of eight columns, at most 32 rows: row r is byte r % 4 of word
// r / 4.
fn keep_rows(row: u32, col: u32, rows: u32) -> array<vec4<u32>, 2> {
    if p.threshold == KEEP_ALL {
        return array<vec4<u32>, 2>(vec4<u32>(0xffffffffu), vec4<u32>(0xffffffffu));
    }
    var upper = vec4<u32>(0u);
    var lower = vec4<u32>(0u);
    for (var r = 0u; r < rows; r++) {
        // No word is indexed by a variable, so that all stay in registers.
        let byte = vec4<u32>(keep8(row + r, col) << (8u * (r % 4u)));
        upper |= select(vec4<u32>(0u), byte, vec4<u32>(r / 4u) == vec4<u32>(0u, 1u, 2u, 3u));
        lower |= select(vec4<u32>(0u), byte, vec4<u32>(r / 4u) == vec4<u32>(4u, 5u, 6u, 7u));
    }
    return array<vec4<u32>, 2>(upper, lower);
}

// Returns the lowest four bits of `keep`.
fn kept4(keep: u32) -> vec4<bool> {
    return (vec4<u32>(keep) & vec4<u32>(1u, 2u, 4u, 8u)) != vec4<u32>(0u);
}

// Returns the four draws of two words.
fn draws4(words: vec2<u32>) -> vec4<u32> {
    return vec4<u32>(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}

// Returns what kept4 does, from the four draws of two words instead of bits.
fn kept_words(words: vec2<u32>) -> vec4<bool> {
    // A signed comparison is one instruction; an unsigned one may be two.
    return vec4<i32>(draws4(words)) < vec4<i32>(i32(p.threshold));
}

// Returns v times the scale if its bit of `keep` is set, else 0. It selects the 0, so that NaN and
// infinity do not survive being dropped.
fn drop4(v: vec4<f32>, keep: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), v * p.scale, kept4(keep));
}

// Does the same with the four draws of two words instead of bits.
fn drop_words(v: vec4<f32>, words: vec2<u32>) -> vec4<f32> {
    return select(vec4<f32>(0.0), v * p.scale, kept_words(words));
}
