//! Statistics of random bits as z values. They are standard normal if the bits are independent and
//! 1 with the known probability p.
//!
//! A mask is a row-major matrix of bits in u64 words, 64 columns per word, so that every sum is a
//! population count.

/// Bits of a mask.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bits {
    pub words: Vec<u64>,
    /// Number of words per row; there are 64 times as many columns.
    pub width: usize,
}

/// Returns the number of ones.
pub(super) fn ones(words: impl IntoIterator<Item = u64>) -> u64 {
    words.into_iter().map(|word| u64::from(word.count_ones())).sum()
}

impl Bits {
    /// Creates the matrix from the words of `mask_bits`, with an even number of words per row.
    pub fn new(words: &[u32], width: usize) -> Self {
        let pair = |pair: &[u32]| u64::from(pair[0]) | u64::from(pair[1]) << 32;
        Self { words: words.chunks_exact(2).map(pair).collect(), width }
    }

    fn len(&self) -> f64 {
        64.0 * self.words.len() as f64
    }

    /// Returns the z value of the number of ones: `(k − Np) / √(Npq)`.
    pub fn mean(&self, p: f64) -> f64 {
        (ones(self.words.iter().copied()) as f64 - self.len() * p)
            / (self.len() * p * (1.0 - p)).sqrt()
    }

    /// Returns the z value of the variance of the number of ones in blocks of m = 256.
    /// `Σ (c − mp)²` has mean `n·σ²` with `σ² = mpq`, and variance `n·(μ₄ − σ⁴)` with
    /// `μ₄ = σ²·(1 + 3·(m − 2)·pq)`.
    pub fn variance(&self, p: f64) -> f64 {
        let (m, pq) = (256.0, p * (1.0 - p));
        let blocks = self.words.chunks_exact(4);
        let squares: f64 =
            blocks.clone().map(|block| (ones(block.iter().copied()) as f64 - m * p).powi(2)).sum();
        let (n, variance) = (blocks.len() as f64, m * pq);
        let fourth = variance * (1.0 + 3.0 * (m - 2.0) * pq);
        (squares - n * variance) / (n * (fourth - variance * variance)).sqrt()
    }

    /// Returns the z value of the number of runs minus one, over all bits as one sequence. A change
    /// between neighboring bits has probability 2pq; two changes that share a bit have covariance
    /// pq − 4p²q².
    pub fn runs(&self, p: f64) -> f64 {
        let next = self.words.iter().skip(1).chain([&0]);
        let last = self.words.last().map_or(0, |word| word >> 63);
        // The 0 after the last bit is not part of the sequence.
        let changes =
            ones(self.words.iter().zip(next).map(|(word, next)| word ^ (word >> 1 | next << 63)))
                - last;
        let (m, pq) = (self.len() - 1.0, p * (1.0 - p));
        let variance = m * 2.0 * pq * (1.0 - 2.0 * pq) + 2.0 * (m - 1.0) * (pq - 4.0 * pq * pq);
        (changes as f64 - m * 2.0 * pq) / variance.sqrt()
    }

    /// Returns the correlation of bits `lag` columns apart.
    pub fn along_columns(&self, p: f64, lag: usize) -> f64 {
        let (mut both, mut a, mut b, mut n) = (0, 0, 0, 0);
        for row in self.words.chunks_exact(self.width) {
            let (skip, shift) = (lag / 64, lag % 64);
            for i in 0..self.width - skip {
                let high = row
                    .get(i + skip + 1)
                    .copied()
                    .filter(|_| shift > 0)
                    .map_or(0, |next| next << (64 - shift));
                // Exclude bits without a partner: the last `lag` of a row.
                let paired = if i + skip + 1 == self.width { u64::MAX >> shift } else { u64::MAX };
                let (first, second) = (row[i] & paired, (row[i + skip] >> shift | high) & paired);
                both += u64::from((first & second).count_ones());
                a += u64::from(first.count_ones());
                b += u64::from(second.count_ones());
                n += u64::from(paired.count_ones());
            }
        }
        correlation(p, n, both, a + b)
    }

    /// Returns the correlation of bits `lag` rows apart.
    pub fn along_rows(&self, p: f64, lag: usize) -> f64 {
        let end = self.words.len().saturating_sub(lag * self.width);
        products(p, &self.words[..end], &self.words[self.words.len() - end..])
    }

    /// Returns the correlation of the bits of two masks.
    pub fn with(&self, other: &Self, p: f64) -> f64 {
        products(p, &self.words, &other.words)
    }

    /// Returns Pearson's χ² over the 256 values of a byte, each of probability p^ones·q^zeros, as a
    /// z value. Values expected fewer than ten times are pooled.
    pub fn bytes(&self, p: f64) -> f64 {
        let probability = |byte: usize| {
            p.powi(byte.count_ones() as i32) * (1.0 - p).powi(8 - byte.count_ones() as i32)
        };
        chi_squared(&histogram(self.words.iter().flat_map(|word| word.to_le_bytes())), probability)
    }
}

fn products(p: f64, a: &[u64], b: &[u64]) -> f64 {
    let both = ones(a.iter().zip(b).map(|(a, b)| a & b));
    correlation(p, 64 * a.len() as u64, both, ones(a.iter().copied()) + ones(b.iter().copied()))
}

/// Returns the z value of `Σ (a − p)(b − p)` over n pairs. In `both` of them both bits are 1, and
/// `single` is the total number of ones in the pairs. The sum has mean 0 and variance n·p²q². This
/// also holds if pairs overlap, since the products of different pairs are uncorrelated.
fn correlation(p: f64, n: u64, both: u64, single: u64) -> f64 {
    let n = n as f64;
    (both as f64 - p * single as f64 + n * p * p) / (n.sqrt() * p * (1.0 - p))
}

/// Counts the occurrences of each byte.
pub(super) fn histogram(bytes: impl IntoIterator<Item = u8>) -> [u64; 256] {
    let mut counts = [0; 256];
    bytes.into_iter().for_each(|byte| counts[usize::from(byte)] += 1);
    counts
}

/// Returns Pearson's χ² as a z value, by the cube root transformation of Wilson and Hilferty
/// (1931).
pub(super) fn chi_squared(counts: &[u64; 256], probability: impl Fn(usize) -> f64) -> f64 {
    let n = counts.iter().sum::<u64>() as f64;
    let (mut sum, mut cells, mut rare) = (0.0, 0, (0.0, 0.0));
    let mut cell = |expected: f64, count: f64| {
        sum += (count - expected).powi(2) / expected;
        cells += 1;
    };
    for (byte, &count) in counts.iter().enumerate() {
        match n * probability(byte) {
            expected if expected >= 10.0 => cell(expected, count as f64),
            expected => rare = (rare.0 + expected, rare.1 + count as f64),
        }
    }
    if rare.0 >= 10.0 {
        cell(rare.0, rare.1);
    }
    let k = f64::from(cells - 1);
    ((sum / k).cbrt() - (1.0 - 2.0 / (9.0 * k))) / (2.0 / (9.0 * k)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::philox::PhiloxRng;
    use rand::Rng;

    fn random(width: usize, rows: usize) -> Bits {
        let mut rng = PhiloxRng::at(5, 0);
        Bits { words: (0..width * rows).map(|_| rng.next_u64()).collect(), width }
    }

    /// Returns a bit of the matrix.
    fn bit(bits: &Bits, row: usize, col: usize) -> f64 {
        (bits.words[row * bits.width + col / 64] >> (col % 64) & 1) as f64
    }

    #[test]
    fn counts_by_words_equal_sums_over_bits() {
        let (bits, rows) = (random(3, 7), 7);
        let cols = 192;
        let p = 0.3;
        for lag in [1, 2, 8, 63, 64, 65] {
            let pairs: Vec<f64> = (0..rows)
                .flat_map(|row| (0..cols - lag).map(move |col| (row, col)))
                .map(|(row, col)| (bit(&bits, row, col) - p) * (bit(&bits, row, col + lag) - p))
                .collect();
            let z = pairs.iter().sum::<f64>() / ((pairs.len() as f64).sqrt() * p * (1.0 - p));
            assert!((bits.along_columns(p, lag) - z).abs() < 1e-9, "{lag}");
        }
        let pairs: Vec<f64> = (0..5 * cols)
            .map(|i| {
                (bit(&bits, i / cols, i % cols) - p) * (bit(&bits, i / cols + 2, i % cols) - p)
            })
            .collect();
        let z = pairs.iter().sum::<f64>() / ((pairs.len() as f64).sqrt() * p * (1.0 - p));
        assert!((bits.along_rows(p, 2) - z).abs() < 1e-9);
        let flat: Vec<f64> = (0..rows * cols).map(|i| bit(&bits, i / cols, i % cols)).collect();
        let changes = flat.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64;
        let m = flat.len() as f64 - 1.0;
        // At p = 1/2, changes are independent.
        assert!((bits.runs(0.5) - (changes - m / 2.0) / (m / 4.0).sqrt()).abs() < 1e-9);
        assert!((bits.mean(0.5) - (flat.iter().sum::<f64>() - 672.0) / 336f64.sqrt()).abs() < 1e-9);
    }

    /// Over many samples, every statistic has mean 0 and variance 1, for p = 1/2 and p = 1/4.
    #[test]
    fn statistics_are_standard_normal() {
        let (samples, width, rows) = (400, 8, 64);
        for p in [0.5, 0.25] {
            let mut rng = PhiloxRng::at(6, 0);
            let mut bits = |_: usize| {
                let mut word =
                    || if p == 0.5 { rng.next_u64() } else { rng.next_u64() & rng.next_u64() };
                Bits { words: (0..width * rows).map(|_| word()).collect(), width }
            };
            let all: Vec<Bits> = (0..samples).map(&mut bits).collect();
            let statistics: [(&str, &dyn Fn(usize) -> f64); 7] = [
                ("mean", &|i| all[i].mean(p)),
                ("variance", &|i| all[i].variance(p)),
                ("runs", &|i| all[i].runs(p)),
                ("columns", &|i| all[i].along_columns(p, 8)),
                ("rows", &|i| all[i].along_rows(p, 1)),
                ("pair", &|i| all[i].with(&all[(i + 1) % samples], p)),
                ("bytes", &|i| all[i].bytes(p)),
            ];
            for (name, statistic) in statistics {
                let z: Vec<f64> = (0..samples).map(statistic).collect();
                let mean = z.iter().sum::<f64>() / samples as f64;
                let variance = z.iter().map(|z| (z - mean).powi(2)).sum::<f64>() / samples as f64;
                // Five standard errors: 1 / √400 for the mean, and √(2 / 400) for the variance,
                // widened for the tails of small samples.
                assert!(
                    mean.abs() < 0.25 && (variance - 1.0).abs() < 0.4,
                    "{name} at {p}: mean {mean}, variance {variance}"
                );
            }
        }
    }
}
