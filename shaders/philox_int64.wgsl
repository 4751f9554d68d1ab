// philox_int64: philox.wgsl for devices with 64-bit integers; the same words.
//
// It requires SHADER_INT64, naga's own extension of WGSL. Each word stays in the low half of a
// 64-bit integer for all ten rounds, whatever the high half holds. The product takes the low halves
// alone, which is one instruction on most devices; its high half is one shift, and its low half
// needs no mask.
// CPU twin: crates/contract/src/philox.rs.

const PHILOX_ROUNDS: u32 = 10u;
const LOW: u64 = 0xFFFFFFFFlu;
const M0: u64 = 0xD2511F53lu;
const M1: u64 = 0xCD9E8D57lu;
const W0: u64 = 0x9E3779B9lu;
const W1: u64 = 0xBB67AE85lu;

fn philox4x32(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c0 = u64(counter.x);
    var c1 = u64(counter.y);
    var c2 = u64(counter.z);
    var c3 = u64(counter.w);
    var k0 = u64(seed.x);
    var k1 = u64(seed.y);
    for (var round = 0u; round < PHILOX_ROUNDS; round++) { // unroll
        let a = (c0 & LOW) * M0;
        let b = (c2 & LOW) * M1;
        c0 = (b >> 32u) ^ c1 ^ k0;
        c1 = b;
        c2 = (a >> 32u) ^ c3 ^ k1;
        c3 = a;
        k0 += W0;
        k1 += W1;
    }
    return vec4<u32>(u32(c0), u32(c1), u32(c2), u32(c3));
}

// Returns the words of four rows: of the counter, and of the counter with c1 + 1, c1 + 2 and
// c1 + 3.
//
// Both products of round 1, one of round 2 and one of round 3 do not depend on c1, so they are
// computed once for all rows. From round 4 on the four rows advance together, so that none waits
// for its own products.
fn philox4x32_rows(counter: vec4<u32>, seed: vec2<u32>) -> array<vec4<u32>, 4> {
    var k0 = u64(seed.x);
    var k1 = u64(seed.y);
    let fixed = u64(counter.z) * M1;
    let first = u64(counter.x) * M0;
    let second = (((first >> 32u) ^ u64(counter.w) ^ k1) & LOW) * M1;
    let third = (((second >> 32u) ^ fixed ^ (k0 + W0)) & LOW) * M0;
    var by_row: array<u64, 4>;  // the other product of round 2
    for (var i = 0u; i < 4u; i++) { // unroll
        by_row[i] = (((fixed >> 32u) ^ u64(counter.y + i) ^ k0) & LOW) * M0;
    }
    k0 += 2lu * W0;
    k1 += W1;
    var c0: array<u64, 4>;
    var c1: array<u64, 4>;
    var c2: array<u64, 4>;
    var c3: array<u64, 4>;
    for (var i = 0u; i < 4u; i++) { // unroll
        c1[i] = (((by_row[i] >> 32u) ^ first ^ k1) & LOW) * M1;
        c0[i] = (c1[i] >> 32u) ^ (second ^ k0);
        c2[i] = (third >> 32u) ^ (by_row[i] ^ (k1 + W1));
        c3[i] = third;
    }
    k1 += W1;
    for (var round = 3u; round < PHILOX_ROUNDS; round++) {
        k0 += W0;
        k1 += W1;
        for (var i = 0u; i < 4u; i++) { // unroll
            let a = (c0[i] & LOW) * M0;
            let b = (c2[i] & LOW) * M1;
            c0[i] = (b >> 32u) ^ (c1[i] ^ k0);
            c2[i] = (a >> 32u) ^ (c3[i] ^ k1);
            c1[i] = b;
            c3[i] = a;
        }
    }
    var words: array<vec4<u32>, 4>;
    for (var i = 0u; i < 4u; i++) { // unroll
        words[i] = vec4<u32>(u32(c0[i]), u32(c1[i]), u32(c2[i]), u32(c3[i]));
    }
    return words;
}
