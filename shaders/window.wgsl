// window: the elements of a window of an image, for pool.wgsl and pool_grad.wgsl.
//
// Those files bind `x` and explain the parameters.

// Returns the distance from a window's first element to its element `place`.
fn behind(place: u32) -> u32 {
    return (place / p.own.window_width * p.own.width + place % p.own.window_width) * p.own.channels;
}

// Returns the index of the largest element of the window that begins at index `first`. It is the
// first of equal ones; a NaN counts as larger than all numbers.
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
