//! Arguments that every noun takes, and how numbers are written.

use wgpu_dropout::DeviceChoice;
use wgpu_dropout::gpu::Tuning;

/// Arguments of every noun, before or after it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Where to run: `auto` is a real GPU, else the CPU backend; `gpu` the best adapter, a
    /// software one included; `cpu` the CPU backend; else an adapter's index or a part of its
    /// name, as `devices` lists them
    #[arg(
        long,
        global = true,
        default_value = "auto",
        value_name = "auto|gpu|cpu|INDEX|NAME",
        allow_negative_numbers = true
    )]
    pub device: DeviceChoice,
    /// How a GPU divides matrix products among its threads: `auto` is a timed trial on a real GPU,
    /// kept in the cache folder, and the rule by type of device on a software adapter; `rule`,
    /// `trial`, or the name of a tile for all. No mask changes. The CPU backend ignores it
    /// [default: WGPU_DROPOUT_TILE, or auto]
    #[arg(long, global = true, value_name = "auto|rule|trial|TILE")]
    pub tile: Option<Tuning>,
    /// Seed of masks, weights and shuffles, decimal or 0x [default: 0, or a saved network's own]
    #[arg(long, global = true, value_parser = integer::<u64>, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Print JSON for machines, and nothing else, to stdout
    #[arg(long, global = true)]
    pub json: bool,
}

impl Common {
    /// The seed of what starts anew.
    pub fn seed(&self) -> u64 {
        self.seed.unwrap_or(0)
    }
}

/// Reads a whole number, decimal or 0x.
pub fn integer<T: TryFrom<u64>>(text: &str) -> Result<T, String> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    // The standard library would take a sign.
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
