//! A study: a claim with its source, arms to run, a judgment of their figures, and pictures of
//! them.

use super::plan::{Arm, Recipe, Scene, Work};
use super::results::Results;
use super::verdict::Verdict;
use crate::failure::Failure;

/// One experiment: a file of its own in `studies/`.
#[derive(Debug)]
pub struct Study {
    /// Name on the command line.
    pub name: &'static str,
    /// Claim, in a sentence.
    pub claim: &'static str,
    /// Published figures.
    pub published: &'static str,
    /// Source of the published figures.
    pub source: &'static str,
    /// Returns the arms to run.
    pub arms: fn(&Scene) -> Vec<Arm>,
    /// Judges the claim: by order and sign below [`Extent::Full`], and by the paper's figures too
    /// at [`Extent::Full`].
    pub judge: fn(&Scene, &Results<'_>) -> Vec<Verdict>,
    /// Columns printed for each arm besides its name: the figure's name in the record, its heading,
    /// and the number of digits.
    pub columns: &'static [(&'static str, &'static str, usize)],
    /// Draws the pictures, as pieces of HTML.
    pub figures: fn(&Scene, &Results<'_>) -> std::result::Result<Vec<String>, Failure>,
}

impl Study {
    /// Returns the arms, with `change` applied to every recipe and its updates limited.
    pub fn changed_arms(&self, scene: &Scene, change: &impl Fn(&mut Recipe)) -> Vec<Arm> {
        let mut arms = (self.arms)(scene);
        for arm in &mut arms {
            if let Work::Train(recipe, _) = &mut arm.work {
                recipe.updates = scene.updates(recipe.updates);
                change(recipe);
            }
        }
        arms
    }
}
