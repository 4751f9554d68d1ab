//! The mask contract, checked on a device against published numbers that are compiled in.
//!
//! Source of the known answers: Random123's `kat_vectors` (Salmon et al., SC'11).

use flate2::Crc;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::philox::philox4x32;
use wgpu_dropout::{Backend, Device, Key, Mask, Rate, Result};

/// Counter and key, and the words that Philox4x32-10 makes of them.
const ANSWERS: [(&str, [u32; 6], [u32; 4]); 4] = [
    ("Philox4x32-10 of zeros", [0; 6], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
    ("Philox4x32-10 of ones", [u32::MAX; 6], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
    (
        "Philox4x32-10 of the digits of pi",
        [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344, 0xa409_3822, 0x299f_31d0],
        [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
    ),
    // Each word holds two draws, the first in its low half: f053 9cea 493b 77f5 50ad 12bf b3d7 5742.
    ("first eight draws of seed 42", [0, 0, 0, 0, 42, 0], [0x9cea_f053, 0x77f5_493b, 0x12bf_50ad, 0x5742_b3d7]),
];

/// A mask of the contract's table of check vectors.
struct Vector {
    key: Key,
    /// Global row and column of the first element.
    at: [u64; 2],
    shape: [usize; 2],
    keep: f64,
    kept: usize,
    /// CRC-32 of the mask, a byte 0 or 1 an element, row-major: of the very bytes whose SHA-256 the contract publishes.
    crc: u32,
}

const VECTORS: [Vector; 4] = [
    Vector {
        key: Key { seed: 42, layer: 0, step: 0 },
        at: [0, 0],
        shape: [1000, 1000],
        keep: 0.5,
        kept: 500_239,
        crc: 0x2d45_32ba,
    },
    Vector {
        key: Key { seed: 0xDEAD_BEEF_CAFE_F00D, layer: 3, step: 7 },
        at: [0, 0],
        shape: [257, 131],
        keep: 0.8,
        kept: 26_951,
        crc: 0xdfe7_22a8,
    },
    Vector {
        key: Key { seed: 1, layer: 0x8000_0001, step: u32::MAX },
        at: [4_294_967_200, 0],
        shape: [64, 65],
        keep: 0.9,
        kept: 3_765,
        crc: 0xec8e_9f8d,
    },
    Vector {
        key: Key { seed: u64::MAX, layer: 5, step: 123_456 },
        at: [100, 1000],
        shape: [33, 77],
        keep: 0.25,
        kept: 645,
        crc: 0x9a3d_10ca,
    },
];

/// One thing that was checked, and how it came out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub what: String,
    /// What was found, or the first difference.
    pub outcome: std::result::Result<String, String>,
}

/// Checks a device against all published numbers.
pub fn contract(device: &mut Device) -> Result<Vec<Check>> {
    let words = match device {
        Device::Gpu(gpu) => words_on(gpu)?,
        Device::Cpu(_) => ANSWERS.map(|(_, [c0, c1, c2, c3, k0, k1], _)| philox4x32([c0, c1, c2, c3], [k0, k1])).to_vec(),
    };
    let answers = ANSWERS.iter().zip(words).map(|(&(what, _, published), words)| Check {
        what: what.to_owned(),
        outcome: match words == published {
            true => Ok(hex(words)),
            false => Err(format!("{}, published {}", hex(words), hex(published))),
        },
    });
    let mut checks: Vec<Check> = answers.collect();
    for vector in &VECTORS {
        let Vector { key: Key { seed, layer, step }, shape: [rows, cols], keep, .. } = vector;
        let mask = vector.mask()?;
        let bytes = match device {
            Device::Gpu(gpu) => gpu.mask_bytes(mask, *rows, *cols)?,
            Device::Cpu(cpu) => cpu.mask_bytes(mask, *rows, *cols)?,
        };
        let (seed, layer, step) = (number(*seed), number((*layer).into()), number((*step).into()));
        let what = format!("mask {rows}×{cols}, keep {keep}, seed {seed}, layer {layer}, step {step}");
        checks.push(Check { what, outcome: vector.compare(&bytes, &mask.bytes(*rows, *cols)?) });
    }
    Ok(checks)
}

fn words_on(gpu: &mut Gpu) -> Result<Vec<[u32; 4]>> {
    let rows = ANSWERS.len();
    let inputs = gpu.tensor(rows, 6, &ANSWERS.map(|(_, input, _)| input).concat())?;
    let mut words = gpu.zeros(rows, 4)?;
    gpu.philox_words(&inputs, &mut words)?;
    Ok(gpu.read(&words)?.chunks(4).filter_map(|words| words.try_into().ok()).collect())
}

fn hex(words: [u32; 4]) -> String {
    words.map(|word| format!("{word:08x}")).join(" ")
}

/// A large number is easier to know again by its digits to base 16.
fn number(value: u64) -> String {
    if value < 1 << 20 { value.to_string() } else { format!("{value:#x}") }
}

impl Vector {
    fn mask(&self) -> Result<Mask> {
        let [row, col] = self.at;
        Ok(Mask::new(Rate::keep(self.keep)?, self.key).at(row, col))
    }

    /// The bits of a device beside those of the host's own drawing and the published numbers.
    fn compare(&self, bytes: &[u8], reference: &[u8]) -> std::result::Result<String, String> {
        let cols = self.shape[1];
        if let Some(i) = (0..reference.len()).find(|&i| bytes.get(i) != Some(&reference[i])) {
            let found = bytes.get(i).map_or_else(|| "missing".to_owned(), u8::to_string);
            return Err(format!("row {}, column {}: {found}, expected {}", i / cols, i % cols, reference[i]));
        }
        let kept = bytes.iter().filter(|&&kept| kept == 1).count();
        if kept != self.kept {
            return Err(format!("{kept} kept, published {}", self.kept));
        }
        let crc = crc(bytes);
        if crc != self.crc {
            return Err(format!("CRC-32 {crc:08x}, published {:08x}", self.crc));
        }
        Ok(format!("{kept} of {} kept, CRC-32 {crc:08x}", bytes.len()))
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use wgpu_dropout::cpu::Cpu;

    #[test]
    fn the_sums_here_are_of_the_masks_whose_sums_are_published() {
        let published = [
            "399c7c7c2634229e7b2bd21740720c0cdc860fed903d3ba3891700bacff94091",
            "e7608c7a225e505d02d1e54081d9cf5283f77c48aa525b61f07ae1c15dfc237e",
            "91e6de9804d3a8100715ac914580f88ace983192d88dd2d8027977037aff7588",
            "4191aec02038d40740d904090a272491a39fba898b1034c55bfe1b64f7c2afab",
        ];
        for (vector, published) in VECTORS.iter().zip(published) {
            let [rows, cols] = vector.shape;
            let bytes = vector.mask().unwrap().bytes(rows, cols).unwrap();
            let sum: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!((sum.as_str(), crc(&bytes)), (published, vector.crc), "CRC-32 {:#010x}", crc(&bytes));
        }
    }

    #[test]
    fn the_cpu_passes_and_a_wrong_bit_is_found_where_it_is() {
        let checks = contract(&mut Device::Cpu(Cpu::new())).unwrap();
        assert_eq!(checks.len(), 8);
        assert!(checks.iter().all(|check| check.outcome.is_ok()), "{checks:?}");
        let vector = &VECTORS[3];
        let right = vector.mask().unwrap().bytes(33, 77).unwrap();
        let mut wrong = right.clone();
        wrong[77 * 2 + 5] ^= 1;
        let expected = format!("row 2, column 5: {}, expected {}", wrong[159], right[159]);
        assert_eq!(vector.compare(&wrong, &right), Err(expected));
        assert!(vector.compare(&wrong, &wrong).unwrap_err().ends_with("published 645"));
        assert!(vector.compare(&right[..40], &right).unwrap_err().starts_with("row 0, column 40: missing"));
    }
}
