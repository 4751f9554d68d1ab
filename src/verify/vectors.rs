//! Published numbers: Random123's answers and the contract's check vectors, in files that other
//! implementations also read.

use super::check::{Check, Tally};
use super::form::{Form, Subject};
use super::masks::difference;
use crate::mask::bits_to_bytes;
use crate::philox::ROUNDS;
use crate::{Backend, Device, Error, Key, Mask, Rate, Result};
use dropout_contract::vectors::{MASK_CONTRACT_1 as CONTRACT, PHILOX4X32 as ANSWERS};
use sha2::{Digest, Sha256};

const ANSWERS_CHECK: &str = "Random123's answers, 10 rounds";

/// A published answer of Philox4x32.
struct Answer {
    rounds: u32,
    /// Counter, then key.
    input: [u32; 6],
    words: [u32; 4],
}

/// A mask whose SHA-256 sum and number of ones are published.
struct Vector {
    mask: Mask,
    rows: usize,
    cols: usize,
    kept: usize,
    sha256: String,
}

/// Parses the lines of a file that start with the word `kind`; `parse` receives the words after it.
///
/// # Errors
/// [`Error::Invalid`] if `parse` rejects a line.
fn read<T>(file: &str, kind: &str, parse: impl Fn(&[&str]) -> Option<T>) -> Result<Vec<T>> {
    let lines =
        file.lines().filter_map(|line| Some((line, line.strip_prefix(kind)?.strip_prefix(' ')?)));
    let parsed = lines.map(|(line, rest)| {
        let words: Vec<&str> = rest.split_whitespace().collect();
        parse(&words).ok_or_else(|| Error::invalid(format!("vectors: `{line}` cannot be read")))
    });
    parsed.collect()
}

fn number<T: TryFrom<u64>>(word: &str) -> Option<T> {
    let value = match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => word.parse(),
    };
    T::try_from(value.ok()?).ok()
}

fn answers() -> Result<Vec<Answer>> {
    read(ANSWERS, "philox4x32", |words| {
        let hex: Option<Vec<u32>> =
            words[1..].iter().map(|word| u32::from_str_radix(word, 16).ok()).collect();
        let hex = hex.filter(|hex| hex.len() == 10)?;
        Some(Answer {
            rounds: number(words[0])?,
            input: hex[..6].try_into().ok()?,
            words: hex[6..].try_into().ok()?,
        })
    })
}

fn masks() -> Result<Vec<Vector>> {
    read(CONTRACT, "mask", |words| {
        let &[seed, layer, step, row, col, rows, cols, keep, kept, sha256] = words else {
            return None;
        };
        let key = Key { seed: number(seed)?, layer: number(layer)?, step: number(step)? };
        let mask =
            Mask::new(Rate::keep(keep.parse().ok()?).ok()?, key).at(number(row)?, number(col)?);
        let sha256 = sha256.to_owned();
        Some(Vector { mask, rows: number(rows)?, cols: number(cols)?, kept: number(kept)?, sha256 })
    })
}

fn hex(words: [u32; 4]) -> String {
    words.map(|word| format!("{word:08x}")).join(" ")
}

/// Checks that Philox gives Random123's answers for `rounds` rounds, and none of those for another
/// number of rounds.
pub(super) fn philox<B: Subject>(forms: &mut [Form<B>], rounds: u32) -> Result<Check> {
    let mut tally = Tally::new(if rounds == ROUNDS {
        ANSWERS_CHECK
    } else {
        "Random123's answers, 7 rounds, by altered shaders"
    });
    forms.iter_mut().try_for_each(|form| {
        philox_on(&mut form.backend, rounds, &format!("{}: ", form.name), &mut tally)
    })?;
    Ok(tally.finish(""))
}

fn philox_on<B: Subject>(
    backend: &mut B,
    rounds: u32,
    form: &str,
    tally: &mut Tally,
) -> Result<()> {
    let answers = answers()?;
    let inputs: Vec<[u32; 6]> = answers.iter().map(|answer| answer.input).collect();
    for (answer, words) in answers.iter().zip(backend.philox(&inputs)?) {
        let [c0, c1, c2, c3, k0, k1] = answer.input;
        let what = || format!("{form}counter {}, key {k0:08x} {k1:08x}", hex([c0, c1, c2, c3]));
        tally.case(match (answer.rounds == rounds, words == answer.words) {
            (true, false) => {
                Some(format!("{}: expected {}, got {}", what(), hex(answer.words), hex(words)))
            }
            (false, true) => {
                Some(format!("{}: gives the answer of {} rounds", what(), answer.rounds))
            }
            _ => None,
        });
    }
    Ok(())
}

/// Checks Random123's answers and the four check vectors of the contract's table on a device in its
/// own form. The command `demo` shows these checks.
///
/// # Errors
/// As [`Backend::read`].
pub fn contract(device: &mut Device) -> Result<Vec<Check>> {
    match device {
        Device::Gpu(gpu) => contract_on(gpu.as_mut()),
        Device::Cpu(cpu) => contract_on(cpu),
    }
}

fn contract_on<B: Subject>(backend: &mut B) -> Result<Vec<Check>> {
    let mut answers = Tally::new(ANSWERS_CHECK);
    philox_on(backend, ROUNDS, "", &mut answers)?;
    let mut checks = vec![answers.finish("55 of 10 rounds, and none of the 55 of 7 rounds")];
    for vector in masks()?.into_iter().take(4) {
        let mut tally = Tally::new(vector.name());
        tally.case(vector.check(backend)?);
        let found = format!(
            "{} of {} kept, SHA-256 {}…",
            vector.kept,
            vector.rows * vector.cols,
            &vector.sha256[..16]
        );
        checks.push(tally.finish(found));
    }
    Ok(checks)
}

/// Checks the contract's check vectors in every form.
pub(super) fn check_vectors<B: Backend>(forms: &mut [Form<B>]) -> Result<Check> {
    let mut tally = Tally::new("check vectors of the contract");
    for form in forms {
        for vector in masks()? {
            tally.case(
                vector
                    .check(&mut form.backend)?
                    .map(|difference| format!("{}: {difference}", form.name)),
            );
        }
    }
    Ok(tally.finish(""))
}

impl Vector {
    fn name(&self) -> String {
        let Mask { key: Key { seed, layer, step }, rate, .. } = self.mask;
        // A large number is easier to recognize in hexadecimal.
        let number =
            |value: u64| if value < 1 << 20 { value.to_string() } else { format!("{value:#x}") };
        let (seed, layer, step) = (number(seed), number(layer.into()), number(step.into()));
        format!(
            "mask {}×{}, keep {}, seed {seed}, layer {layer}, step {step}",
            self.rows,
            self.cols,
            rate.keep_asked()
        )
    }

    /// Describes a backend mask's first difference from the host's, or else from the published sum
    /// and count.
    fn check<B: Backend>(&self, backend: &mut B) -> Result<Option<String>> {
        let Self { mask, rows, cols, .. } = self;
        let mut bits = backend.tensor(
            *rows,
            cols.div_ceil(32),
            &vec![0xdead_beef; rows * cols.div_ceil(32)],
        )?;
        backend.run(crate::call::MaskBits { bits: &mut bits, cols: *cols, mask: *mask })?;
        let words = backend.read(&bits)?;
        Ok(difference(mask, *rows, *cols, &words)
            .or(self.published(&bits_to_bytes(&words, *rows, *cols)?)))
    }

    fn published(&self, bytes: &[u8]) -> Option<String> {
        let kept = bytes.iter().filter(|&&kept| kept == 1).count();
        let sum: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        let same = kept == self.kept && sum == self.sha256;
        (!same).then(|| {
            format!(
                "{}: {kept} kept, SHA-256 {sum}, published {} and {}",
                self.name(),
                self.kept,
                self.sha256
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cpu;

    #[test]
    fn every_line_of_the_files_is_read() {
        let answers = answers().unwrap();
        let count = |rounds| answers.iter().filter(|answer| answer.rounds == rounds).count();
        assert_eq!((answers.len(), count(7), count(10)), (110, 55, 55));
        assert!(masks().unwrap().len() >= 4);
    }

    #[test]
    fn a_mask_of_another_sum_or_count_is_named() {
        let vector = &masks().unwrap()[3];
        let right = vector.mask.bytes(vector.rows, vector.cols).unwrap();
        assert_eq!(vector.published(&right), None);
        let mut wrong = right.clone();
        wrong.swap(0, right.iter().position(|&kept| kept != right[0]).unwrap());
        assert!(vector.published(&wrong).unwrap().contains("645 kept"));
        assert!(vector.published(&right[1..]).is_some());
        assert!(contract(&mut Device::Cpu(Cpu::new())).unwrap().iter().all(Check::passed));
    }
}
