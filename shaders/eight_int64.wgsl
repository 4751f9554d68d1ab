// eight_int64: eight elements of f32 as four 64-bit integers.
//
// An adapter that runs on a CPU loads and stores lane by lane, at most four numbers at a time
// whatever their size. So this halves the number of loads and stores in comparison with 128-bit
// vectors, and that number is most of their cost.

fn unpack8(v: vec4<u64>) -> Eight {
    let low = vec4<u32>(
        u32(v.x & 0xFFFFFFFFlu), u32(v.x >> 32u), u32(v.y & 0xFFFFFFFFlu), u32(v.y >> 32u)
    );
    let high = vec4<u32>(
        u32(v.z & 0xFFFFFFFFlu), u32(v.z >> 32u), u32(v.w & 0xFFFFFFFFlu), u32(v.w >> 32u)
    );
    return Eight(bitcast<vec4<f32>>(low), bitcast<vec4<f32>>(high));
}

fn pack8(v: Eight) -> vec4<u64> {
    let a = bitcast<vec4<u32>>(v.low);
    let b = bitcast<vec4<u32>>(v.high);
    return vec4<u64>(
        u64(a.x) | (u64(a.y) << 32u), u64(a.z) | (u64(a.w) << 32u),
        u64(b.x) | (u64(b.y) << 32u), u64(b.z) | (u64(b.w) << 32u)
    );
}
