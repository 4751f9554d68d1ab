// philox_int64: philox.wgsl for devices with 64-bit integers (SHADER_INT64, naga's own extension of WGSL); the same words.
//
// Each word lives in the low half of a 64-bit integer for all ten rounds, whatever stands in the high half: the product takes the low
// halves alone, which is one instruction on most devices, its own high half is one shift, and its low half needs no mask.

const PHILOX_ROUNDS: u32 = 10u;
const LOW: u64 = 0xFFFFFFFFlu;

fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c0 = u64(counter.x);
    var c1 = u64(counter.y);
    var c2 = u64(counter.z);
    var c3 = u64(counter.w);
    var k0 = u64(seed.x);
    var k1 = u64(seed.y);
    for (var round = 0u; round < PHILOX_ROUNDS; round++) { // unroll
        let a = (c0 & LOW) * 0xD2511F53lu;
        let b = (c2 & LOW) * 0xCD9E8D57lu;
        c0 = (b >> 32u) ^ c1 ^ k0;
        c1 = b;
        c2 = (a >> 32u) ^ c3 ^ k1;
        c3 = a;
        k0 += 0x9E3779B9lu;
        k1 += 0xBB67AE85lu;
    }
    return vec4<u32>(u32(c0), u32(c1), u32(c2), u32(c3));
}
