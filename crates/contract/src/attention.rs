//! Places of attention scores in the mask: the rule for tensors `[B, H, Q, K]` and their parts.

use crate::mask::{MAX_COLS, MAX_ROWS};
use crate::{Error, Mask, Result};
use alloc::format;
use alloc::vec::Vec;

/// Place of attention scores `[B, H, Q, K]` in those of the whole.
///
/// The score of sequence b, query head h, query q and key k, all counted in the whole, has
///
/// ```text
/// row = (b·H + h)·R + q        H: query heads of the whole        R: pitch, at least every q + 1
/// col = k
/// ```
///
/// With H and R of the tensor itself this is the rule of any tensor: its rows are the product of
/// the leading dimensions. So the dropout of a materialized tensor of probabilities is that of
/// fused attention, to the bit. A part of the heads, queries or keys, a sequence among others in a
/// pack, and a batch padded to any length draw the masks of the whole.
///
/// Queries and keys of a part are consecutive. A striped ring, in which neighbors lie on different
/// devices, is therefore not a part: eight neighboring keys share one draw of the generator.
///
/// ```
/// use dropout_contract::{AttentionPlace, Key, Mask, Rate};
///
/// let mask = Mask::new(Rate::keep(0.9)?, Key { seed: 42, layer: 0, step: 0 });
/// let whole = AttentionPlace::whole(3, 5);
/// let scores = whole.bytes(mask, [2, 3, 5, 37])?;
/// assert_eq!(scores, mask.bytes(2 * 3 * 5, 37)?);
///
/// // Sequence 1, head 2, keys 24 to 36.
/// let part = AttentionPlace { sequence: 1, head: 2, key: 24, ..whole };
/// assert_eq!(part.bytes(mask, [1, 1, 1, 13])?, scores[(3 + 2) * 5 * 37 + 24..][..13]);
/// # Ok::<(), dropout_contract::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttentionPlace {
    /// Number of the first sequence.
    pub sequence: u64,
    /// First query head.
    pub head: u64,
    /// Query heads of the whole.
    pub heads: u64,
    /// Position of the first query in its sequence.
    pub query: u64,
    /// Position of the first key in its sequence.
    pub key: u64,
    /// Rows for each head of a sequence: at least the position of every query + 1. A declared
    /// length, such as the context's, keeps a mask from depending on the padding.
    pub pitch: u64,
}

impl AttentionPlace {
    /// Returns the place of a whole tensor with these numbers of query heads and queries.
    pub const fn whole(heads: u64, queries: u64) -> Self {
        Self { sequence: 0, head: 0, heads, query: 0, key: 0, pitch: queries }
    }

    /// Checks that scores `[B, H, Q, K]` fit the place, and that their coordinates are within the
    /// contract.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there are fewer heads than `head` + H, or if the pitch is less than
    /// `query` + Q. [`Error::TooLarge`] if a row exceeds 2³² or a column 2³⁵; head groups with
    /// layers of their own need fewer rows.
    pub fn check(&self, shape: [usize; 4]) -> Result<()> {
        let [batch, heads, queries, keys] = shape.map(|size| size as u128);
        let end = |first: u64, size: u128| u128::from(first) + size;
        if end(self.head, heads) > self.heads.into() {
            let (last, all) = (end(self.head, heads), self.heads);
            return Err(Error::invalid(format!("query heads up to {last} of {all} in the whole")));
        }
        if end(self.query, queries) > self.pitch.into() {
            let (last, pitch) = (end(self.query, queries), self.pitch);
            let what = format!("queries up to position {last}: the pitch must be at least that");
            return Err(Error::invalid(format!("{what}, and is {pitch}")));
        }
        let rows = match batch.min(heads).min(queries) {
            0 => 0,
            _ => {
                let sequences = end(self.sequence, batch) - 1;
                let before = sequences
                    .checked_mul(self.heads.into())
                    .and_then(|head| head.checked_add(end(self.head, heads) - 1))
                    .and_then(|head| head.checked_mul(self.pitch.into()));
                before.map_or(u128::MAX, |row| row.saturating_add(end(self.query, queries)))
            }
        };
        for (what, value, bound) in [
            ("rows of attention scores", rows, MAX_ROWS),
            ("col offset + cols", end(self.key, keys), MAX_COLS),
        ] {
            if value > bound.into() {
                let value = u64::try_from(value).unwrap_or(u64::MAX);
                return Err(Error::TooLarge { what: what.into(), value, bound });
            }
        }
        Ok(())
    }

    /// Returns the mask of one head `[Q, K]`, for sequence and head counted from those of the
    /// place. The mask's own offsets are not used. The place must pass [`check`](Self::check) for
    /// scores that have a row.
    pub fn of_head(&self, mask: Mask, sequence: usize, head: usize) -> Mask {
        let sequence = self.sequence + sequence as u64;
        let head = sequence * self.heads + self.head + head as u64;
        mask.at(head * self.pitch + self.query, self.key)
    }

    /// Returns true if the rows of the heads follow one another, so that the mask of the first head
    /// is that of all scores `[B·H·Q, K]`.
    pub fn is_whole(&self, shape: [usize; 4]) -> bool {
        let [_, heads, queries, _] = shape.map(|size| size as u64);
        (self.head, heads, self.query, queries) == (0, self.heads, 0, self.pitch)
    }

    /// Returns the mask of scores `[B, H, Q, K]` as bytes, 1 for a kept score.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); [`Error::OutOfMemory`].
    pub fn bytes(&self, mask: Mask, shape: [usize; 4]) -> Result<Vec<u8>> {
        self.check(shape)?;
        let [batch, heads, queries, keys] = shape;
        let mut bytes = Vec::new();
        // The check bounds the number of heads only if there are rows.
        if queries == 0 {
            return Ok(bytes);
        }
        for head in 0..batch * heads {
            let part = self.of_head(mask, head / heads, head % heads);
            bytes.extend(part.bytes(queries, keys)?);
        }
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Rate};
    use std::vec;

    fn mask() -> Mask {
        Mask::new(Rate::keep(0.6).unwrap(), Key { seed: 7, layer: 3, step: 9 })
    }

    /// Returns the bytes of a part of `[B, H, Q, K]`: a range of each dimension.
    fn cut(whole: &[u8], shape: [usize; 4], from: [usize; 4], size: [usize; 4]) -> Vec<u8> {
        let mut bytes = vec![];
        for b in from[0]..from[0] + size[0] {
            for h in from[1]..from[1] + size[1] {
                for q in from[2]..from[2] + size[2] {
                    let start = ((b * shape[1] + h) * shape[2] + q) * shape[3] + from[3];
                    bytes.extend(&whole[start..start + size[3]]);
                }
            }
        }
        bytes
    }

    #[test]
    fn every_part_draws_the_mask_of_the_whole() {
        let shape = [3, 4, 6, 40];
        let whole = AttentionPlace::whole(4, 6);
        let scores = whole.bytes(mask(), shape).unwrap();
        assert!(whole.is_whole(shape));
        assert_eq!(scores, mask().bytes(3 * 4 * 6, 40).unwrap());
        for (from, size) in [
            ([1, 0, 0, 0], [2, 4, 6, 40]),
            ([0, 1, 0, 0], [3, 2, 6, 40]),
            ([0, 0, 2, 0], [3, 4, 3, 40]),
            ([0, 0, 0, 24], [3, 4, 6, 16]),
            ([0, 0, 0, 13], [3, 4, 6, 27]),
            ([2, 3, 5, 39], [1, 1, 1, 1]),
            ([0, 0, 0, 0], [0, 4, 6, 40]),
        ] {
            let [sequence, head, query, key] = from.map(|at| at as u64);
            let part = AttentionPlace { sequence, head, query, key, ..whole };
            assert_eq!(part.bytes(mask(), size).unwrap(), cut(&scores, shape, from, size));
        }
        // Control: with the heads of the part in place of the whole's, the mask is another.
        let wrong = AttentionPlace { sequence: 1, head: 1, heads: 3, ..whole };
        let right = cut(&scores, shape, [1, 1, 0, 0], [2, 2, 6, 40]);
        assert_ne!(wrong.bytes(mask(), [2, 2, 6, 40]).unwrap(), right);
    }

    #[test]
    fn a_declared_pitch_makes_padding_and_packs_the_same() {
        let padded = AttentionPlace { pitch: 64, ..AttentionPlace::whole(2, 0) };
        let long = padded.bytes(mask(), [2, 2, 12, 12]).unwrap();
        let short = padded.bytes(mask(), [2, 2, 5, 5]).unwrap();
        assert_eq!(short, cut(&long, [2, 2, 12, 12], [0; 4], [2, 2, 5, 5]));
        // A pack: each sequence by its number, in either order.
        let one =
            |sequence| AttentionPlace { sequence, ..padded }.bytes(mask(), [1, 2, 5, 5]).unwrap();
        assert_eq!([one(0), one(1)].concat(), short);
        assert_ne!([one(1), one(0)].concat(), short);
        // Control: without it, the length of the batch decides.
        let by_length = |queries| AttentionPlace::whole(2, queries as u64);
        let short = by_length(5).bytes(mask(), [2, 2, 5, 5]).unwrap();
        let long = by_length(12).bytes(mask(), [2, 2, 12, 12]).unwrap();
        assert_ne!(short, cut(&long, [2, 2, 12, 12], [0; 4], [2, 2, 5, 5]));
    }

    #[test]
    fn places_outside_of_the_whole_or_the_contract_are_refused() {
        let place = AttentionPlace { head: 1, ..AttentionPlace::whole(4, 8) };
        assert_eq!(place.check([2, 3, 8, 40]), Ok(()));
        let invalid = |place: AttentionPlace, shape, what: &str| match place.check(shape) {
            Err(Error::Invalid { what: said }) => assert!(said.contains(what), "{said}"),
            other => panic!("{other:?}"),
        };
        invalid(place, [2, 4, 8, 40], "query heads up to 5 of 4");
        invalid(place, [2, 3, 9, 40], "position 9: the pitch must be at least that, and is 8");
        let last = AttentionPlace { sequence: (1 << 27) - 1, ..place };
        assert_eq!(last.check([1, 3, 8, 40]), Ok(()));
        assert!(matches!(last.check([2, 3, 8, 40]), Err(Error::TooLarge { .. })));
        assert_eq!(last.check([2, 3, 0, 40]), Ok(()));
        let far = AttentionPlace { key: (1 << 35) - 40, ..place };
        assert_eq!(far.check([2, 3, 8, 40]), Ok(()));
        assert!(matches!(far.check([2, 3, 8, 41]), Err(Error::TooLarge { .. })));
        let none = AttentionPlace { heads: u64::MAX, ..last };
        for shape in [[usize::MAX, usize::MAX / 2, 0, 5], [0, 3, 8, 5], [2, 0, 8, 5], [2, 3, 0, 5]]
        {
            assert_eq!(none.bytes(mask(), shape).unwrap(), []);
        }
        let most = u64::MAX;
        let huge = AttentionPlace { sequence: most, heads: most, pitch: most, ..place };
        assert!(matches!(huge.check([usize::MAX; 4]), Err(Error::Invalid { .. })));
        assert!(matches!(huge.check([1, 1, 1, 1]), Err(Error::TooLarge { .. })));
    }
}
