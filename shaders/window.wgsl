// window: the elements of a window of an image, for pool.wgsl and pool_grad.wgsl, which bind `x` and explain the parameters.

// How far element `place` of a window lies behind its first one.
fn behind(place: u32) -> u32 {
    return (place / p.own.window_width * p.own.width + place % p.own.window_width) * p.own.channels;
}

// The index of the largest element of the window that begins with index `first`: the first of equal ones, and a NaN before all numbers.
fn largest(first: u32) -> u32 {
    var found = first;
    var best = x[first];
    for (var place = 0u; place < p.own.area; place++) {
        let v = x[first + behind(place)];
        if !(v <= best) && best == best {
            best = v;
            found = first + behind(place);
        }
    }
    return found;
}
