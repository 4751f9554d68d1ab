//! How long a thread's loops may be.
//!
//! Mesa's llvmpipe, so lavapipe too, ends the loops of a thread after 65,535 iterations of all of
//! them together (`LP_MAX_TGSI_LOOP_ITERATIONS`) and says nothing: a sum of 300,000 terms in steps
//! of four lacks the last. So sums are cut into dispatches that stay below, and what is not cut is
//! refused.

use super::Planner;
use crate::gpu::params::{MAX_NORM, Params};
use crate::gpu::stem::Stem;
use crate::gpu::variant::Variant;
use crate::{Error, Result};

/// What the loops of an adapter's threads may come to.
pub(super) fn of_adapter(info: &wgpu::AdapterInfo) -> u64 {
    if info.name.starts_with("llvmpipe") { 65_535 } else { u64::MAX }
}

/// What a product's loops come to besides those over its terms: masks and epilogue of the largest
/// tile.
const EPILOGUE: u64 = 512;
/// What they come to over 16 terms, at the most: four steps of four in registers, one of 16 through
/// workgroup memory; the rest is room.
const PER_STEP: u64 = 6;

impl Planner {
    /// Terms of a sum in one dispatch.
    pub(super) fn terms_per_dispatch(&self) -> usize {
        usize::try_from((self.loops - EPILOGUE) / PER_STEP)
            .map_or(usize::MAX, |steps| steps.saturating_mul(16))
    }

    /// Refuses a dispatch whose threads would not come to the end of their loops.
    pub(super) fn check_loops(&self, variant: &Variant, params: &Params) -> Result<()> {
        let iterations = iterations(variant, params);
        if iterations > self.loops {
            let what = format!(
                "iterations of a thread's loops in {}, which llvmpipe ends early",
                variant.stem.name()
            );
            return Err(Error::TooLarge { what, value: iterations, bound: self.loops });
        }
        Ok(())
    }
}

/// Iterations of all loops of a thread together, none fewer than there are; the one that ends a
/// loop counts.
fn iterations(variant: &Variant, params: &Params) -> u64 {
    let [rows, cols, inner, terms, count] =
        [params.rows, params.cols, params.inner, params.terms, params.count].map(u64::from);
    match variant.stem {
        stem if stem.is_product() && variant.join => inner + EPILOGUE,
        stem if stem.is_product() => inner.min(terms).div_ceil(16) * PER_STEP + EPILOGUE,
        Stem::SoftmaxCrossEntropy => 3 * (cols + 1),
        Stem::BatchNormGrad => (rows + 1).max(9),
        Stem::BatchLoss => rows.div_ceil(64) + 66,
        Stem::Sgd if params.flags & MAX_NORM != 0 => 2 * (rows + 1),
        Stem::BatchStatistics => 2 * (rows + 1),
        Stem::SparsityGrad => rows + 1,
        Stem::SquaredError => cols + 1,
        Stem::PatchesGrad | Stem::Pool => inner + 1,
        Stem::PoolGrad => 2 * (inner + 1),
        Stem::Moments => {
            let (chains, networks) = (terms.max(1), count.div_ceil(terms.max(1)));
            let (softmax, sums) = (3 * (cols + 1), cols * (networks + 2));
            networks * (softmax + 1) + 1 + sums + 1 + (cols / chains + 1) * (chains + 2) + 1
        }
        _ => 0,
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
        let terms = llvmpipe.terms_per_dispatch() as u32;
        let variant = Variant::new(Stem::GradInput);
        let params = |inner| Params { inner, terms: inner, ..Params::default() };
        assert_eq!((terms, terms % 16), (173_392, 0));
        llvmpipe.check_loops(&variant, &params(terms)).unwrap();
        assert!(matches!(
            llvmpipe.check_loops(&variant, &params(terms + 16)),
            Err(Error::TooLarge { bound: 65_535, .. })
        ));
        other.check_loops(&variant, &params(u32::MAX)).unwrap();
        assert!(other.terms_per_dispatch() > u32::MAX as usize);
    }
}
