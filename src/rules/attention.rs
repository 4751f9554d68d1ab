//! Which queries of an attention meet which keys, and where its scores lie in the mask.

use super::range::SCALE;
use crate::{AttentionPlace, Dropout, Error, Mask, Result};
use std::ops::Range;

/// Rule of an attention: heads, sequences, allowed pairs of a query and a key, and dropout.
///
/// A tensor of queries has a row for each token and the heads side by side in its columns,
/// `[tokens, H·D]`, as a linear layer leaves them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionRule<'a> {
    /// Query heads H.
    pub heads: usize,
    /// Key heads G, of which H is a multiple. Query head h meets key head `⌊h·G/H⌋`.
    pub key_heads: usize,
    /// Sequences that the rows of the tensors hold.
    pub sequences: Sequences<'a>,
    /// Keys that a query meets.
    pub reach: Reach,
    /// Place of the scores in the mask, and of queries and keys in their sequences. A sequence's
    /// number counts from the place's `sequence`.
    pub place: AttentionPlace,
    /// Mask and scale. The mask's own offsets are not used.
    pub dropout: Dropout,
    /// Values that are dropped.
    pub dropped: Dropped,
}

/// Sequences in the rows of an attention's tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sequences<'a> {
    /// This number of sequences of equal lengths, one after another, numbered from 0.
    Equal(usize),
    /// Sequences of any lengths, in the order of their rows: a pack, or a padded batch. Rows
    /// between them belong to none, and what is written there is left as it was.
    Listed(&'a [Sequence]),
}

/// Sequence of a pack or of a padded batch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sequence {
    /// Rows of its queries.
    pub queries: Range<usize>,
    /// Rows of its keys and values.
    pub keys: Range<usize>,
    /// Number of the sequence in the mask. It does not change with the order of a pack.
    pub number: u64,
}

/// Keys that a query meets, by their positions in the sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reach {
    /// Every key.
    #[default]
    All,
    /// Keys at or before the query's position.
    Causal,
    /// The last N of those, the query's own position included: `q − N < k ≤ q`.
    Window(usize),
}

/// Values to which the mask of an attention applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Dropped {
    /// The weights after the softmax, as in Vaswani et al., "Attention is all you need" (2017),
    /// section 5.4, and its code.
    #[default]
    Weights,
    /// The scores before the softmax, so that the weights of the other keys add up to 1. Their
    /// scale is then 1, whatever the dropout's. Source: DropKey, Li et al., CVPR (2023).
    Scores,
}

impl AttentionRule<'_> {
    /// Returns the rule of whole sequences of equal lengths, with as many key heads as query heads,
    /// for queries that meet all keys, without dropout.
    pub fn whole(sequences: usize, heads: usize, queries: usize) -> Self {
        Self {
            heads,
            key_heads: heads,
            sequences: Sequences::Equal(sequences),
            reach: Reach::All,
            place: AttentionPlace::whole(heads as u64, queries as u64),
            dropout: Dropout::NONE,
            dropped: Dropped::Weights,
        }
    }

    /// Checks the rule for tensors of `queries` and `keys` rows.
    pub(crate) fn check(&self, kernel: &'static str, queries: usize, keys: usize) -> Result<()> {
        SCALE.check(self.dropout.scale)?;
        let (heads, groups) = (self.heads, self.key_heads);
        if groups == 0 || heads == 0 || !heads.is_multiple_of(groups) {
            let what = format!("{heads} query heads over {groups} key heads: must be a multiple");
            return Err(Error::shape(kernel, what));
        }
        if let Sequences::Equal(count) = self.sequences {
            for (rows, what) in [(queries, "queries"), (keys, "keys")] {
                if count == 0 && rows > 0 || count > 0 && !rows.is_multiple_of(count) {
                    let what = format!("{rows} {what} in {count} sequences of equal lengths");
                    return Err(Error::shape(kernel, what));
                }
            }
        }
        let [mut query_end, mut key_end] = [0; 2];
        for index in 0..self.count() {
            let Sequence { queries: q, keys: k, number } = self.sequence(index, queries, keys);
            for (range, end, rows, what) in
                [(&q, &mut query_end, queries, "queries"), (&k, &mut key_end, keys, "keys")]
            {
                if range.start < *end || range.end < range.start || range.end > rows {
                    let what = format!(
                        "sequence {index} has the {what} {} to {} of {rows} rows, of which the first {end} belong to those before",
                        range.start, range.end
                    );
                    return Err(Error::shape(kernel, what));
                }
                *end = range.end;
            }
            let place = self.place_of(number)?;
            place.check([1, heads, q.len(), k.len()])?;
        }
        Ok(())
    }

    /// Returns the number of sequences.
    pub(crate) fn count(&self) -> usize {
        match self.sequences {
            Sequences::Equal(count) => count,
            Sequences::Listed(list) => list.len(),
        }
    }

    /// Returns a sequence of tensors of `queries` and `keys` rows.
    pub(crate) fn sequence(&self, index: usize, queries: usize, keys: usize) -> Sequence {
        match self.sequences {
            Sequences::Equal(count) => {
                let part = |rows: usize| index * (rows / count)..(index + 1) * (rows / count);
                Sequence { queries: part(queries), keys: part(keys), number: index as u64 }
            }
            Sequences::Listed(list) => list[index].clone(),
        }
    }

    fn place_of(&self, number: u64) -> Result<AttentionPlace> {
        match self.place.sequence.checked_add(number) {
            Some(sequence) => Ok(AttentionPlace { sequence, ..self.place }),
            None => Err(Error::TooLarge {
                what: "number of a sequence".to_owned(),
                value: u64::MAX,
                bound: u64::MAX,
            }),
        }
    }

    /// Returns the mask of the scores `[Q, K]` of a query head in a sequence, by its number.
    pub(crate) fn mask(&self, number: u64, head: usize) -> Mask {
        self.place.of_head(self.dropout.mask, number as usize, head)
    }

    /// Returns the key head that a query head meets.
    pub(crate) fn key_head(&self, head: usize) -> usize {
        head / (self.heads / self.key_heads)
    }

    /// Returns the row of a bias of `rows` rows for the first query of a head in a sequence, where
    /// all sequences together have `queries` queries. The bias has a row for each query of each
    /// head, and either one set of them for all sequences or one for each.
    pub(crate) fn bias_row(&self, index: usize, head: usize, rows: usize, queries: usize) -> usize {
        match self.sequences {
            Sequences::Equal(count) if rows == self.heads * queries => {
                (index * self.heads + head) * (queries / count.max(1))
            }
            _ => head * (rows / self.heads),
        }
    }

    /// Returns the keys that query `query` of a sequence meets, among the `keys` of the sequence.
    pub(crate) fn keys_of(&self, query: usize, keys: usize) -> Range<usize> {
        // Positions of the query and of the first key.
        let (query, first) = (self.place.query + query as u64, self.place.key);
        let before = |position: u64| position.saturating_sub(first).min(keys as u64) as usize;
        match self.reach {
            Reach::All => 0..keys,
            Reach::Causal => 0..before(query + 1),
            Reach::Window(length) => {
                before((query + 1).saturating_sub(length as u64))..before(query + 1)
            }
        }
    }

    /// Returns how far, from a query's number, the first key lies that it meets, and the one after
    /// its last: numbers counted from query `query` and key `key` of a sequence, in two's
    /// complement, clamped to what no tensor reaches.
    pub(crate) fn distances(&self, query: usize, key: usize) -> [u32; 2] {
        const FAR: i128 = 1 << 30;
        let from = |first: u64, more: usize| i128::from(first) + more as i128;
        let next = from(self.place.query, query) - from(self.place.key, key) + 1;
        let [lower, upper] = match self.reach {
            Reach::All => [-FAR, FAR],
            Reach::Causal => [-FAR, next],
            Reach::Window(length) => [next - length as i128, next],
        };
        [lower, upper].map(|distance| distance.clamp(-FAR, FAR) as i32 as u32)
    }

    /// Returns the scale of kept values.
    pub(crate) fn scale(&self) -> f32 {
        match self.dropped {
            Dropped::Weights => self.dropout.scale,
            Dropped::Scores => 1.0,
        }
    }
}

/// Returns the factor of the scores, `1/√D`.
pub(crate) fn score_factor(width: usize) -> f32 {
    (1.0 / (width as f64).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_meets_the_keys_that_its_position_allows() {
        let rule = |reach, query, key| {
            let place = AttentionPlace { query, key, ..AttentionPlace::whole(1, 100) };
            AttentionRule { reach, place, ..AttentionRule::whole(1, 1, 100) }
        };
        assert_eq!(rule(Reach::All, 9, 40).keys_of(0, 7), 0..7);
        assert_eq!(rule(Reach::Causal, 0, 0).keys_of(0, 7), 0..1);
        assert_eq!(rule(Reach::Causal, 0, 0).keys_of(6, 7), 0..7);
        assert_eq!(rule(Reach::Causal, 0, 4).keys_of(3, 7), 0..0);
        assert_eq!(rule(Reach::Causal, 0, 4).keys_of(5, 7), 0..2);
        assert_eq!(rule(Reach::Causal, 50, 4).keys_of(5, 7), 0..7);
        assert_eq!(rule(Reach::Window(3), 0, 0).keys_of(5, 9), 3..6);
        assert_eq!(rule(Reach::Window(3), 0, 0).keys_of(1, 9), 0..2);
        assert_eq!(rule(Reach::Window(3), 20, 0).keys_of(1, 9), 9..9);
        assert_eq!(rule(Reach::Window(0), 0, 0).keys_of(5, 9), 6..6);
    }

    #[test]
    fn rows_that_two_sequences_share_are_refused() {
        let part = |queries, keys| Sequence { queries, keys, number: 0 };
        let check = |list: &[Sequence]| {
            let sequences = Sequences::Listed(list);
            AttentionRule { sequences, ..AttentionRule::whole(1, 2, 10) }.check("attention", 10, 8)
        };
        check(&[part(0..4, 0..3), part(5..10, 3..8)]).unwrap();
        check(&[]).unwrap();
        for list in [
            [part(0..4, 0..3), part(3..10, 3..8)],
            [part(0..4, 0..3), part(4..10, 2..8)],
            [part(4..10, 0..3), part(0..4, 3..8)],
            [part(0..4, 0..3), part(4..11, 3..8)],
            #[allow(clippy::reversed_empty_ranges)]
            [part(0..4, 0..3), part(8..4, 3..8)],
        ] {
            assert!(matches!(check(&list), Err(Error::Shape { .. })), "{list:?}");
        }
    }
}
