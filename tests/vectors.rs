//! `crates/contract/vectors/mask_contract_1.txt`: every backend agrees with every line, and so do
//! readers in other languages that implement the equations alone.

mod common;

use sha2::{Digest, Sha256};
use std::process::Command;
use wgpu_dropout::philox::{philox4x32, philox4x32_rounds};
use wgpu_dropout::{AttentionPlace, Backend, Key, Mask, Rate};

const FILE: &str = include_str!("../crates/contract/vectors/mask_contract_1.txt");

/// Returns the lines of a kind, split into words.
fn lines(kind: &str) -> Vec<Vec<&'static str>> {
    let words = FILE.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let found: Vec<Vec<&str>> = words
        .filter(|words| words.first() == Some(&kind))
        .map(|words| words[1..].to_vec())
        .collect();
    assert!(!found.is_empty(), "{kind}");
    found
}

fn number(word: &str) -> u64 {
    word.strip_prefix("0x")
        .map_or_else(|| word.parse().unwrap(), |hex| u64::from_str_radix(hex, 16).unwrap())
}

fn hex<const N: usize>(words: &[&str]) -> [u32; N] {
    std::array::from_fn(|i| u32::from_str_radix(words[i], 16).unwrap())
}

fn key(words: &[&str]) -> Key {
    Key { seed: number(words[0]), layer: number(words[1]) as u32, step: number(words[2]) as u32 }
}

/// Returns the mask and the numbers of rows and columns of a line that starts with a key, a
/// position, a shape and a rate.
fn shaped(words: &[&str]) -> (Mask, usize, usize) {
    let rate = Rate::keep(words[7].parse().unwrap()).unwrap();
    let mask = Mask::new(rate, key(words)).at(number(words[3]), number(words[4]));
    (mask, number(words[5]) as usize, number(words[6]) as usize)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_line_is_of_a_kind_that_is_checked() {
    let kinds = ["philox", "rate", "draws", "mask", "bits", "broadcast", "attention"];
    let count = FILE.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(kinds.iter().map(|kind| lines(kind).len()).sum::<usize>(), count);
}

#[test]
fn generator_rates_and_draws_are_the_files() {
    for words in lines("philox") {
        let (counter, key) = (hex::<4>(&words[1..5]), hex::<2>(&words[5..7]));
        let got = if words[0] == "10" {
            philox4x32(counter, key)
        } else {
            philox4x32_rounds::<7>(counter, key)
        };
        assert_eq!(got, hex::<4>(&words[7..]), "{words:?}");
    }
    for words in lines("rate") {
        let rate = Rate::keep(words[0].parse().unwrap()).unwrap();
        assert_eq!(
            (u64::from(rate.threshold()), rate.inverse().to_bits()),
            (number(words[1]), hex::<1>(&words[2..])[0]),
            "{words:?}"
        );
    }
    for words in lines("draws") {
        let draws = key(&words).draws(number(words[3]) as u32, number(words[4]) as u32);
        assert_eq!(draws.map(u32::from), hex::<8>(&words[5..]), "{words:?}");
    }
}

#[test]
fn masks_are_the_files_on_every_backend() {
    fn check<B: Backend>(backend: &mut B) {
        for words in lines("mask") {
            let (mask, rows, cols) = shaped(&words);
            let bytes = backend.read_mask(mask, rows, cols).unwrap();
            let kept = bytes.iter().filter(|&&byte| byte == 1).count() as u64;
            assert_eq!(
                (kept, sha256(&bytes).as_str()),
                (number(words[8]), words[9]),
                "{} {words:?}",
                backend.name()
            );
        }
        for words in lines("bits") {
            let (mask, rows, cols) = shaped(&words);
            let mut bits = backend.zeros(rows, cols.div_ceil(32)).unwrap();
            backend.run(wgpu_dropout::call::MaskBits { bits: &mut bits, cols, mask }).unwrap();
            let expected: Vec<u32> = words[8..].iter().map(|word| hex::<1>(&[word])[0]).collect();
            assert_eq!(backend.read(&bits).unwrap(), expected, "{} {words:?}", backend.name());
        }
    }
    on_backends!(check, common::MULTIPLICATIONS);
}

#[test]
fn broadcast_masks_are_the_files() {
    for words in lines("broadcast") {
        let mask = Mask::new(Rate::keep(words[3].parse().unwrap()).unwrap(), key(&words));
        let shape: Vec<usize> = words[4].split('x').map(|size| size.parse().unwrap()).collect();
        let axes = |list: &str| -> Vec<usize> {
            list.split(',').filter_map(|axis| axis.parse().ok()).collect()
        };
        let (row_axes, col_axes) = (axes(words[5]), axes(words[6]));
        let place =
            |i: usize, axis: usize| i / shape[axis + 1..].iter().product::<usize>() % shape[axis];
        let index = |i: usize, axes: &[usize]| {
            axes.iter().fold(0, |at, &axis| at * shape[axis] + place(i, axis))
        };
        let elements = shape.iter().product::<usize>();
        let bytes: Vec<u8> = (0..elements)
            .map(|i| u8::from(mask.keeps(index(i, &row_axes), index(i, &col_axes))))
            .collect();
        assert_eq!(sha256(&bytes), words[7], "{words:?}");
    }
}

#[test]
fn attention_masks_are_the_files_on_every_backend() {
    fn check<B: Backend>(backend: &mut B) {
        for words in lines("attention") {
            let mask = Mask::new(Rate::keep(words[10].parse().unwrap()).unwrap(), key(&words));
            let [sequence, head, heads, query, key, pitch] =
                std::array::from_fn(|i| number(words[3 + i]));
            let place = AttentionPlace { sequence, head, heads, query, key, pitch };
            let sizes: Vec<usize> = words[9].split('x').map(|size| size.parse().unwrap()).collect();
            let shape = [sizes[0], sizes[1], sizes[2], sizes[3]];
            let expected = (number(words[11]), words[12]);
            let sum = |bytes: &[u8]| {
                (bytes.iter().map(|&bit| u64::from(bit)).sum::<u64>(), sha256(bytes))
            };
            let check = |bytes: &[u8], what: &str| {
                let (kept, sha) = sum(bytes);
                assert_eq!((kept, sha.as_str()), expected, "{what}: {words:?}");
            };
            check(&place.bytes(mask, shape).unwrap(), "contract");
            let heads: Vec<u8> = (0..shape[0] * shape[1])
                .flat_map(|i| {
                    let head = place.of_head(mask, i / shape[1], i % shape[1]);
                    backend.read_mask(head, shape[2], shape[3]).unwrap()
                })
                .collect();
            check(&heads, &backend.name());
            if place.is_whole(shape) {
                let rows = shape[..3].iter().product();
                let first = place.of_head(mask, 0, 0);
                check(&backend.read_mask(first, rows, shape[3]).unwrap(), "one call");
            }
            // Control: another number of heads in the whole.
            let wrong = AttentionPlace { heads: place.heads + 1, ..place };
            // The last line's would be past the contract's rows.
            if let Ok(bytes) = wrong.bytes(mask, shape) {
                assert_ne!(sum(&bytes).1, expected.1);
            }
        }
    }
    on_backends!(check, common::MULTIPLICATIONS);
}

/// Runs a reader on the file, which it must accept, and on single lines with one bit changed, which
/// it must reject.
fn by_reader(program: &str, reader: &str) {
    if !Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
    {
        return common::skipped(&format!(
            "{program} is not installed to run crates/contract/vectors/{reader}"
        ));
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/contract/vectors");
    let run = |file: &std::path::Path| {
        Command::new(program).arg(folder.join(reader)).arg(file).output().unwrap()
    };
    let output = run(&folder.join("mask_contract_1.txt"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = FILE.lines().filter(|line| !line.starts_with('#')).count();
    assert!(
        output.status.success() && said.trim() == format!("{count} lines agree"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let other = tempfile::NamedTempFile::new().unwrap();
    // Control: a line in which one bit of a draw, a scale or a SHA-256 is changed.
    for (right, wrong) in [
        ("f053", "f052"),
        ("3fb6dba2", "3fb6dba3"),
        ("4191aec0", "4191aec1"),
        ("7645c472", "7645c473"),
    ] {
        let line = FILE.lines().find(|line| line.contains(right)).unwrap();
        std::fs::write(other.path(), line.replace(right, wrong)).unwrap();
        let output = run(other.path());
        assert!(
            !output.status.success()
                && String::from_utf8_lossy(&output.stdout).starts_with("WRONG: "),
            "{right} as {wrong}"
        );
    }
}

#[test]
fn fifty_lines_of_python_agree() {
    by_reader("python3", "read.py");
}

#[test]
fn fifty_lines_of_javascript_agree() {
    by_reader("node", "read.mjs");
}
