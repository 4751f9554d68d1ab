//! Figure 9 of Srivastava et al. 2014: the keep rate at constant width, and at a constant number of
//! kept units.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::Results;
use crate::study::verdict::Verdict;

/// Study `keep-rate`.
pub static STUDY: Study = Study {
    name: "keep-rate",
    claim: "The keep rate of hidden layers hardly matters from .4 to .8 but does on both sides; a low one \
            requires wider layers.",
    published: "MNIST, 784-2048-2048-2048-10: flat for .4 ≤ k ≤ .8, worse on both sides; with k·n held, k = .1 goes from 2.7 to 1.7 %",
    source: "Srivastava et al. 2014, figure 9",
    arms,
    judge,
    columns: &[("test_error", "test error, %", 2), ("train_error", "train error, %", 2)],
    figures,
};

const WIDTH: &str = "width held, keep";
const KEPT: &str = "kept units held, keep";
/// Keep rates of the line with the width held; `WIDER` has those with the kept units held.
const HELD: [f64; 6] = [0.1, 0.25, 0.4, 0.6, 0.8, 1.0];
const WIDER: [f64; 3] = [0.1, 0.25, 0.5];

fn arms(scene: &Scene) -> Vec<Arm> {
    let (width, kept, rows, updates, layers) = scene.pick_of(
        (256, 64, 2000, 1500, 2),
        (512, 128, 10_000, 10_000, 2),
        (2048, 256, 60_000, 24_000, 3),
    );
    let recipe = |width: usize, keep: f64| {
        // At low keep rates a step's noise is large. The bound keeps the network trainable.
        Recipe::plain(scene.rows(rows), &vec![width; layers], updates).keep(keep, 1.0).max_norm(4.0)
    };
    let held = HELD.map(|keep| Arm::at(WIDTH, keep, recipe(width, keep)));
    let wider =
        WIDER.map(|keep| Arm::at(KEPT, keep, recipe((f64::from(kept) / keep) as usize, keep)));
    held.into_iter().chain(wider).collect()
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let arm = |line, keep| results.name_at(line, keep);
    let worse = |claim: &str, a: &str, b: &str| {
        Verdict::more(claim, results.excess(a, b, "test_error"), 0.0, "points")
    };
    let mut verdicts = vec![
        worse("keep .1 errs more than .6", arm(WIDTH, 0.1), arm(WIDTH, 0.6)),
        worse("no dropout errs more than keep .6", arm(WIDTH, 1.0), arm(WIDTH, 0.6)),
        worse("at keep .1, wider layers err less", arm(WIDTH, 0.1), arm(KEPT, 0.1)),
    ];
    if !scene.order_alone() {
        let flat = results.excess(arm(WIDTH, 0.4), arm(WIDTH, 0.8), "test_error");
        let flat = crate::study::spread::Spread { mean: flat.mean.abs(), ..flat };
        verdicts.push(Verdict::at_most("flat from .4 to .8: the difference", flat, 0.15, "points"));
    }
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let plot = |title, line| {
        let lines = vec![
            Line::new("test rows", results.line(line, "test_error")),
            Line::dashed("training rows", results.line(line, "train_error")),
        ];
        Plot {
            title,
            x: "keep rate of the hidden layers",
            y: "error (%)",
            log: false,
            falling: false,
            lines,
        }
        .draw()
    };
    Ok(vec![plot("The width held", WIDTH)?, plot("The number of kept units held", KEPT)?])
}
