//! Arguments common to all commands, and the syntax of numbers.

use wgpu_dropout::DeviceChoice;
use wgpu_dropout::gpu::Tuning;

/// Arguments of every command, accepted before or after its name.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Device to run on: `auto` is a real GPU, else the CPU backend; `gpu` is the best adapter,
    /// including software adapters; `cpu` is the CPU backend; otherwise the index of an adapter or
    /// part of its name, as listed by `devices`
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "auto|gpu|cpu|INDEX|NAME",
        allow_negative_numbers = true
    )]
    pub device: DeviceChoice,
    /// How a GPU divides matrix products among its threads: `auto` runs a timed trial on a real
    /// GPU, kept in the cache folder, and uses the rule for the device type on a software adapter;
    /// `rule` or `trial` selects one of the two; the name of a tile selects it for all products.
    /// Masks do not change. The CPU backend ignores this option
    /// [default: WGPU_DROPOUT_TILE, or auto]
    #[arg(long, global = true, value_name = "auto|rule|trial|TILE")]
    pub tile: Option<Tuning>,
    /// Seed of masks, weights and shuffles, decimal or 0x [default: 0, or that of a saved network]
    #[arg(long, global = true, value_parser = integer::<u64>, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Print machine-readable JSON, and nothing else, to stdout
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// Returns the seed, or 0 if none was given.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }
}

/// Parses a whole number, decimal or with the prefix 0x.
pub fn integer<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    // `from_str_radix` would accept a leading plus sign.
    let value =
        if digits.starts_with('+') { None } else { u64::from_str_radix(digits, radix).ok() };
    value.and_then(|value| T::try_from(value).ok()).ok_or_else(|| {
        let most = u64::MAX >> (u64::BITS as usize - 8 * size_of::<T>());
        format!("must be a whole number from 0 to {most}, decimal or 0x")
    })
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(integer::<u64>("0xDEADBEEFCAFEF00D"), Ok(0xDEAD_BEEF_CAFE_F00D));
        assert_eq!(integer::<u64>("18446744073709551615"), Ok(u64::MAX));
        assert_eq!(integer::<u32>("0XffffFFFF"), Ok(u32::MAX));
        for bad in ["", "-1", "+1", "0x+1", "0x", "1.0", "1e3", "4294967296", "twelve", " 1"] {
            assert!(integer::<u32>(bad).is_err_and(|why| why.contains("4294967295")), "{bad}");
        }
    }
}
