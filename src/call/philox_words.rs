//! The call of `philox_words`.

use super::{Call, DevicePlace, HostPlace, Place};
use crate::Result;
use crate::cpu::fast::Isa;
use crate::cpu::reference;
use crate::plan::{Params, Plan, Planner, Stem, Variant, Work, check_tensors, read, write};
use crate::shape::{Matrix, expect};

/// Philox4x32-10 of rows of counter and key, to check a device against Random123's published
/// answers.
///
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC'11.
pub struct PhiloxWords<P: Place> {
    /// `[N, 6]`: four words of a counter, two of a key.
    pub inputs: P::In<u32>,
    /// `[N, 4]`, written.
    pub words: P::Out<u32>,
}

impl<P: Place> Call<P> for PhiloxWords<P> {
    fn check(&self) -> Result<()> {
        expect("philox_words", "inputs", &self.inputs, self.words.rows(), 6)?;
        expect("philox_words", "words", &self.words, self.inputs.rows(), 4)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::PhiloxWords;
        let (inputs, words) = (P::read_as::<u32>(&self.inputs), P::written_as::<u32>(&self.words));
        check_tensors(stem, &[read("inputs", inputs).packed(), write("words", words).packed()])?;
        let work = Work {
            variant: Variant::new(stem),
            tensors: &[planner.whole("inputs", inputs)?, planner.whole("words", words)?],
            params: Params::of(inputs.rows, 0),
            own: (),
            loops: 0,
        };
        Ok(planner.dispatch(work, (inputs.rows as u64).div_ceil(64))?.into_iter().collect())
    }

    fn compute(mut self, _: Option<Isa>)
    where
        P: HostPlace,
    {
        let words = P::values_mut_as::<u32>(&mut self.words);
        reference::philox_words(P::values_as::<u32>(&self.inputs), words);
    }
}
