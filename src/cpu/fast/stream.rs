//! Choice of the size from which an output is stored past the caches.
//!
//! Once input and output together fill half of the last-level cache, the next reader of the output
//! would find little of it there. Moreover, a store through the caches first reads the line that it
//! overwrites.
//!
//! Measured time of dropout with stores past the caches, relative to stores through them: on an
//! EPYC with 32 MiB, 1.1 at 2²⁰ elements, 1.0 at 2²¹ (0.43 with its gradient) and 0.4 at 2²²; on a
//! Xeon with a larger cache, 1.1 at 2²² and 0.8 at 2²⁴.
//!
//! `unsafe` is confined to the `cpuid` queries, which older compilers regard as unsafe.
#![allow(unsafe_code)]

use std::sync::LazyLock;

/// Bounds of the threshold on any processor, in elements: 4 and 32 MiB.
const LEAST: usize = 1 << 20;
/// Upper bound of the threshold in elements (32 MiB): outputs this large always bypass the caches.
const MOST: usize = 1 << 23;

/// Returns true if an output of `elements` elements is stored past the caches.
pub(super) fn is_large(elements: usize) -> bool {
    static FROM: LazyLock<usize> = LazyLock::new(|| threshold(last_level_cache()));
    elements >= *FROM
}

/// Returns the number of elements that fill a quarter of a last-level cache of `last_level` bytes.
fn threshold(last_level: Option<usize>) -> usize {
    last_level.map_or(MOST, |bytes| (bytes / 16).clamp(LEAST, MOST))
}

/// Returns the size in bytes of the largest cache that the processor reports. Miri has none to
/// query.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn last_level_cache() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // SAFETY: every processor of this architecture has the instruction. It returns data for leaves
    // up to the highest that it reports.
    #[allow(unused_unsafe)]
    let (leaf, sub) =
        (|leaf| unsafe { __cpuid(leaf) }, |leaf, index| unsafe { __cpuid_count(leaf, index) });
    // Intel's leaf and AMD's have the same form. Ways, partitions, line size and sets are reported
    // minus 1.
    let caches =
        [0x4, 0x8000_001D].into_iter().filter(|wanted| leaf(wanted & 0x8000_0000).eax >= *wanted);
    let sizes = caches.flat_map(|wanted| {
        (0..8).map(move |index| sub(wanted, index)).take_while(|told| told.eax & 0x1F != 0)
    });
    let bytes = |ebx: u32, sets: u32| {
        let [ways, partitions, line] =
            [ebx >> 22, ebx >> 12 & 0x3FF, ebx & 0xFFF].map(|less| less as usize + 1);
        ways * partitions * line * (sets as usize + 1)
    };
    sizes.map(|told| bytes(told.ebx, told.ecx)).max()
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn last_level_cache() -> Option<usize> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_last_level_cache_is_large_within_bounds() {
        let mebibytes = |count: usize| threshold(Some(count << 20));
        assert_eq!(
            [1, 16, 32, 64, 128, 512].map(mebibytes),
            [1 << 20, 1 << 20, 1 << 21, 1 << 22, 1 << 23, 1 << 23]
        );
        assert_eq!(threshold(None), MOST);
        assert!(!is_large(LEAST - 1) && is_large(MOST));
    }

    /// Linux asks the processor too, so both must agree.
    #[test]
    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    fn the_last_level_cache_is_as_large_as_the_system_says() {
        let sizes = (0..8).filter_map(|index| {
            let text = std::fs::read_to_string(format!(
                "/sys/devices/system/cpu/cpu0/cache/index{index}/size"
            ))
            .ok()?;
            text.trim().strip_suffix('K')?.parse::<usize>().ok()
        });
        match (sizes.max(), last_level_cache()) {
            (Some(largest), Some(told)) => assert_eq!(told, largest << 10),
            silent => eprintln!("SKIPPED: {silent:?}: the system or the processor does not say"),
        }
    }
}
