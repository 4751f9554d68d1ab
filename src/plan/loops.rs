//! The longest loops that a thread may run.
//!
//! Mesa's llvmpipe, and with it lavapipe, ends the loops of a thread after 65,535 iterations of all
//! of them together (`LP_MAX_TGSI_LOOP_ITERATIONS`) and reports nothing: a sum of 300,000 terms in
//! steps of four lacks the last ones. So sums are cut into dispatches that stay below the limit,
//! and a loop that cannot be cut is refused.

use super::{Planner, Stem};
use crate::{Error, Result};

/// Iterations that the loops of an adapter's threads may come to.
pub(super) fn of_adapter(info: &wgpu::AdapterInfo) -> u64 {
    if info.name.starts_with("llvmpipe") { 65_535 } else { u64::MAX }
}

/// Iterations of a product's loops besides those over its terms: masks and epilogue of the largest
/// tile.
pub(super) const EPILOGUE: u64 = 512;
/// Iterations over 16 terms, at the most: four steps of four in registers, one of 16 through
/// workgroup memory; the rest is room.
const PER_STEP: u64 = 6;

/// Iterations of a product whose dispatch adds `terms` terms in one chain.
pub(super) fn of_product(terms: u64) -> u64 {
    terms.div_ceil(16) * PER_STEP + EPILOGUE
}

impl Planner {
    /// Terms of a sum in one dispatch.
    pub(crate) fn terms_per_dispatch(&self) -> usize {
        usize::try_from((self.loops - EPILOGUE) / PER_STEP)
            .map_or(usize::MAX, |steps| steps.saturating_mul(16))
    }

    /// Refuses a dispatch whose threads would not come to the end of their loops.
    pub(super) fn check_loops(&self, stem: Stem, iterations: u64) -> Result<()> {
        if iterations > self.loops {
            let what = format!(
                "iterations of a thread's loops in {}, which llvmpipe ends early",
                stem.name()
            );
            return Err(Error::TooLarge { what, value: iterations, bound: self.loops });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_sum_of_a_dispatch_is_not_refused_and_one_step_more_is() {
        let info = wgpu::AdapterInfo::new(wgpu::DeviceType::Cpu, wgpu::Backend::Vulkan);
        let planner = |name: &str| {
            let info = wgpu::AdapterInfo { name: name.to_owned(), ..info.clone() };
            Planner::new(&info, wgpu::Features::empty(), &wgpu::Limits::default())
        };
        let (llvmpipe, other) = (planner("llvmpipe (LLVM 15)"), planner("SwiftShader"));
        let terms = llvmpipe.terms_per_dispatch() as u64;
        assert_eq!((terms, terms % 16), (173_392, 0));
        llvmpipe.check_loops(Stem::GradInput, of_product(terms)).unwrap();
        assert!(matches!(
            llvmpipe.check_loops(Stem::GradInput, of_product(terms + 16)),
            Err(Error::TooLarge { bound: 65_535, .. })
        ));
        other.check_loops(Stem::GradInput, of_product(u64::from(u32::MAX))).unwrap();
        assert!(other.terms_per_dispatch() > u32::MAX as usize);
    }
}
