//! The contract's check vectors, as text that any language can read. `vectors/README.md` describes
//! the lines.

/// Version 1 of the contract: answers of the generator, thresholds and scales of rates, draws, and
/// masks with their SHA-256.
pub const MASK_CONTRACT_1: &str = include_str!("../vectors/mask_contract_1.txt");

/// Random123's 110 published answers of Philox4x32, for 7 and for 10 rounds.
pub const PHILOX4X32: &str = include_str!("../vectors/philox4x32.kat");
