// eight_half: eight elements of f16 as one vec4 of 32-bit integers, 128 bits a load or store.
//
// Packing converts to f16 first, which rounds as every store of f16 does, so that pack2x16float is
// given values that are exact in f16.

fn unpack8(v: vec4<u32>) -> Eight {
    return Eight(
        vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)),
        vec4<f32>(unpack2x16float(v.z), unpack2x16float(v.w))
    );
}

fn pack8(v: Eight) -> vec4<u32> {
    let low = vec4<f32>(vec4<f16>(v.low));
    let high = vec4<f32>(vec4<f16>(v.high));
    return vec4<u32>(
        pack2x16float(low.xy), pack2x16float(low.zw),
        pack2x16float(high.xy), pack2x16float(high.zw)
    );
}
