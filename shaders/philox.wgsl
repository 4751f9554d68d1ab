// philox4x32: four random words from a 128-bit counter and a 64-bit key, without state.
//
// For every device: WGSL has no high half of a product, so this computes it from 16-bit limbs.
// philox_int64.wgsl gives the same words on devices with 64-bit integers.
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11; constants from
// Random123.
// CPU twin: crates/contract/src/philox.rs.

const PHILOX_ROUNDS: u32 = 10u;

// Returns the low and the high word of a * b; no sum of limbs overflows 32 bits.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let a_low = a & 0xffffu;
    let a_high = a >> 16u;
    let b_low = b & 0xffffu;
    let b_high = b >> 16u;
    let low = a_low * b_low;
    let middle = a_high * b_low + (low >> 16u);
    let cross = a_low * b_high + (middle & 0xffffu);
    return vec2<u32>(a * b, a_high * b_high + (middle >> 16u) + (cross >> 16u));
}

fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var key = seed;
    for (var round = 0u; round < PHILOX_ROUNDS; round++) { // unroll
        let a = multiply_wide(0xD2511F53u, c.x);
        let b = multiply_wide(0xCD9E8D57u, c.z);
        c = vec4<u32>(b.y ^ c.y ^ key.x, b.x, a.y ^ c.w ^ key.y, a.x);
        key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

// Returns the words of four rows: of the counter, and of the counter with c1 + 1, c1 + 2 and
// c1 + 3.
fn philox4x32_rows(counter: vec4<u32>, seed: vec2<u32>) -> array<vec4<u32>, 4> {
    var words: array<vec4<u32>, 4>;
    for (var i = 0u; i < 4u; i++) { // unroll
        words[i] = philox4x32(counter + vec4<u32>(0u, i, 0u, 0u), seed);
    }
    return words;
}
