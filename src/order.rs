//! Order of summation in a matrix product. It is a function of the product's shape alone, so
//! results are comparable between devices, whatever tiles they use.
//!
//! By default, every element is **one chain** of fused multiply-adds over all terms in ascending
//! order. `linear_forward` and `grad_input` with few rows or few columns have few elements, but
//! their sums are no shorter. One chain per element would leave most of a GPU idle. For these
//! shapes the sum is split into **parts** with equal numbers of terms (split-K). Each part is one
//! ascending chain from 0, and the parts are added in ascending order from 0. `grad_weight` is
//! never split, because it has as many elements as the layer has weights.
//!
//! The rule, [`part`]: a product of at most 32 rows or 32 columns with at least 512 terms per sum
//! is split. The number of parts brings the product to about 512 blocks of 32 × 64 elements, with
//! at least 128 terms per part and at most 128 parts.

/// Largest number of rows, or of columns, of a product that may be split.
pub(crate) const FEW: usize = 32;
/// Smallest number of terms of a sum that is split.
const LONG: usize = 512;
/// Number of blocks that keeps a large GPU busy: four for each of 128 multiprocessors.
const BLOCKS: usize = 512;
/// Smallest number of terms in a part. With fewer, writing and reading the parts takes longer than
/// splitting saves.
const TERMS: usize = 128;
/// Largest number of parts, chosen so that some columns of all parts fit the smallest binding.
const PARTS: usize = 128;
/// Divisor of a part's number of terms: the largest step of a tile.
const STEP: usize = 16;

/// Returns the number of terms in each part of a sum (the last part may have fewer), for a product
/// of `rows × cols` elements that each sum `inner` terms. Returns `None` if each sum is one chain.
///
/// ```
/// use wgpu_dropout::order::part;
///
/// assert_eq!(part(128, 1024, 1024), None); // a mini-batch in a hidden layer: one chain
/// assert_eq!(part(128, 10, 1024), Some(128)); // the same, ten classes: eight parts of 128 terms
/// assert_eq!(part(1, 4096, 4096), Some(512)); // one image: eight parts of 512 terms
/// ```
pub fn part(rows: usize, cols: usize, inner: usize) -> Option<usize> {
    if rows.min(cols) > FEW || rows.min(cols) == 0 || inner < LONG {
        return None;
    }
    let blocks = rows.div_ceil(32).saturating_mul(cols.div_ceil(64));
    let parts = (BLOCKS / blocks).min(inner / TERMS).min(PARTS);
    (parts > 1).then(|| inner.div_ceil(parts).next_multiple_of(STEP))
}

/// Returns the number of chains of an average over `networks` sub-networks, a power of two up to
/// 64. Chain t takes networks t, t + chains, … in ascending order, and the chains are joined in
/// ascending order.
pub(crate) fn chains(networks: usize) -> usize {
    1 << networks.clamp(1, 64).ilog2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_few_long_and_whole_steps() {
        let sizes = [1, 2, 10, 31, 32, 33, 64, 100, 511, 512, 513, 1000, 4096, 65_537, 1 << 24];
        let mut cut = 0;
        for rows in sizes {
            for cols in sizes {
                for inner in sizes {
                    let Some(terms) = part(rows, cols, inner) else { continue };
                    cut += 1;
                    let parts = inner.div_ceil(terms);
                    assert!(
                        (2..=PARTS).contains(&parts),
                        "{rows}×{cols}×{inner}: {parts} parts of {terms}"
                    );
                    assert!(
                        terms >= TERMS && terms.is_multiple_of(STEP),
                        "{rows}×{cols}×{inner}: {terms} terms"
                    );
                    assert!(rows.min(cols) <= FEW && inner >= LONG);
                }
            }
        }
        assert!(cut > 100, "{cut} shapes are cut");
        // At each bound, and just past it.
        assert_eq!(
            [part(32, 64, 512), part(64, 32, 512), part(33, 64, 512), part(32, 64, 511)],
            [Some(128), Some(128), None, None]
        );
        assert_eq!(
            [part(32, 64 * 256, 1024), part(32, 64 * 257, 1024)],
            [Some(512), None],
            "two parts, and one"
        );
        assert_eq!(part(0, 10, 1024), None);
        assert_eq!(part(32, 1 << 20, 1024), None, "enough blocks as it is");
    }

    #[test]
    fn chains_are_a_power_of_two_up_to_64() {
        assert_eq!(
            [0, 1, 2, 3, 4, 63, 64, 65, 1 << 20].map(chains),
            [1, 1, 2, 2, 4, 32, 64, 64, 64]
        );
    }
}
