//! Coverage of the kernels' variants by the forms that the suite checked.

use super::check::{Check, Tally};
use super::form::Form;
use crate::gpu::{Division, Gpu, Planner, Stem, Variant, Width};

/// Returns true if a plan divides the work among threads as the variant does.
pub(super) fn divides_so(planner: &Planner, variant: &Variant) -> bool {
    match variant.division {
        Division::Tile(tile) => planner.tiles.only() == Some(tile),
        Division::Flat => !planner.wide,
        Division::Pairs | Division::Stacked => planner.wide,
        Division::Itself | Division::Join => true,
    }
}

/// Checks that each variant which the forms can compile was run. Matrix products depend on the
/// tile, kernels of strips on the amount that a thread moves at a time. `linear_forward` and
/// `grad_weight` run in parts on weak forms; products with few rows and long sums run on strong
/// ones.
pub(super) fn variants(forms: &[Form<Gpu>]) -> Check {
    let mut tally = Tally::new("variants run, of those that the forms reach");
    let compiled: Vec<String> =
        forms.iter().flat_map(|form| form.backend.kernels().compiled()).collect();
    for int64 in [false, true] {
        for variant in Variant::all() {
            let variant = Variant { int64, ..variant };
            let reaches = |form: &Form<Gpu>| {
                let planner = form.backend.kernels().planner();
                let part = variant.choice("PART") == Some("yes");
                let size = match (variant.stem, variant.division) {
                    (Stem::LinearForward, Division::Tile(_)) if part => true,
                    (Stem::GradInput, Division::Tile(_)) if !part => true,
                    (Stem::Attention | Stem::AttentionGrad, _) => form.attention && planner.fused,
                    (Stem::AttentionWeights | Stem::AttentionSlopes, _) => {
                        form.attention && !planner.fused
                    }
                    (Stem::GradWeightSgd, _) => true,
                    (Stem::GradWeight | Stem::LinearActivation, _) => form.weak == part,
                    (_, Division::Tile(_) | Division::Join) => !form.weak,
                    _ => true,
                };
                let wide = variant.width != Width::Vec8 || planner.wide_loads();
                let room = planner.buffers as usize;
                let bound = match variant.choice("BOUND") {
                    None | Some("all") => variant.tensors() <= room,
                    _ => variant.with("BOUND", "all").tensors() > room,
                };
                planner.int64 == int64 && wide && bound && size && divides_so(planner, &variant)
            };
            if forms.iter().any(reaches) {
                let name = variant.name();
                tally.case((!compiled.contains(&name)).then(|| format!("{name} was never run")));
            }
        }
    }
    tally.finish("")
}
