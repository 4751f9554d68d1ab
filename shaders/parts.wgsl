// parts: which terms of its sums a workgroup of a matrix product adds up.
//
// All of them, as a rule. Under PART a dispatch may hold some of the terms only, and takes up what the one before left (`start`); or
// it holds parts of `terms` terms each side by side, the tiles of the first part first, whose sums go one below the other where the
// result would go, from where `join` adds them. CPU twin and the rule by which sums are cut: src/order.rs.

// The tile within its part, and the terms of the part: from the second number on, up to the third.
fn part_of(index: u32, tiles: u32, inner: u32) -> vec3<u32> {
    if !PART {
        return vec3<u32>(index, 0u, inner);
    }
    let part = index / tiles;
    let first = part * params.own.terms;
    p.d_start += part * params.rows * params.d_stride;
    // A folded grid has workgroups past the last part: theirs is a tile past the last one.
    let tile = select(index % tiles, tiles, part > 0u && first >= inner);
    return vec3<u32>(tile, first, min(inner, first + params.own.terms));
}

const FIRST: u32 = 1u;  // flag: the sum starts in this dispatch

// Whether a dispatch before has begun the sums.
fn begun() -> bool {
    // if PART yes
    return (p.own.flags & FIRST) == 0u;
    // else
    return false;
    // end
}
