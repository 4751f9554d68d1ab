// parts: which terms of its sums a workgroup of a matrix product adds up.
//
// Normally it adds all of them. Under `PART` a dispatch may hold some of the terms only, and then
// continues from the partial sums that the previous dispatch left (`load_partial_sum`). Or it is
// the first step of a split-K product: it holds parts of `terms` terms each, the tiles of the first
// part first. The sums of the parts are written one below the other in place of the result. A
// dispatch of join.wgsl then adds them.
// CPU twin, and the rule by which sums are split: src/order.rs.

// Returns the index of the tile within its part, the first term of the part, and the term after its
// last.
fn part_of(index: u32, tiles: u32, inner: u32) -> vec3<u32> {
    if !PART {
        return vec3<u32>(index, 0u, inner);
    }
    let part = index / tiles;
    let first = part * params.own.terms;
    p.d_start += part * params.rows * params.d_stride;
    // A folded grid has workgroups past the last part: they get a tile past the last one.
    let tile = select(index % tiles, tiles, part > 0u && first >= inner);
    return vec3<u32>(tile, first, min(inner, first + params.own.terms));
}

const FIRST: u32 = 1u;  // flag: the sum starts in this dispatch

// Returns true if a previous dispatch has begun the sums.
fn begun() -> bool {
    // if PART yes
    return (p.own.flags & FIRST) == 0u;
    // else
    return false;
    // end
}
