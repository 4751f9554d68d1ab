// philox4x32: four random words from a 128-bit counter and a 64-bit key, without state.
//
// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11; constants from Random123. CPU twin: src/philox.rs.
// `multiply_wide` comes from multiply_limbs.wgsl or multiply_int64.wgsl.

const PHILOX_ROUNDS: u32 = 10u;

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
