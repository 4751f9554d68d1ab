// multiply_int64: the 64-bit product of two words, for devices with 64-bit integers (SHADER_INT64, naga's own extension of WGSL). Part of
// philox.wgsl.

// (low, high) word of a * b.
fn multiply_wide(a: u32, b: u32) -> vec2<u32> {
    let product = u64(a) * u64(b);
    return vec2<u32>(u32(product), u32(product >> 32u));
}
