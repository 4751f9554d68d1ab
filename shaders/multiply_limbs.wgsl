// multiply_limbs: the 64-bit product of two words from 16-bit limbs, none of whose sums overflows 32 bits. Part of philox.wgsl, for every
// device: WGSL has no high half of a product.

// (low, high) word of a * b.
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
