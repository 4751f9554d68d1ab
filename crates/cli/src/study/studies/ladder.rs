//! The ladder of Hinton et al. 2012: each rung of dropout lowers the test error.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Extent, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::Results;
use crate::study::verdict::Verdict;

/// Rungs of the ladder, from the bottom.
const RUNGS: [&str; 3] = ["no dropout", "hidden units dropped", "input dropped too"];

/// Study `ladder`.
pub static STUDY: Study = Study {
    name: "ladder",
    claim: "Dropping half of the hidden units lowers the test error of a fully connected network, and dropping inputs too lowers it further.",
    published: "MNIST, 784-800-800-10: 1.60 % without, 1.30 % with half of the hidden units dropped, 1.10 % with a fifth of the inputs too",
    source: "Hinton et al. 2012, arXiv:1207.0580, figure 1",
    arms,
    judge,
    columns: &[
        ("test_error", "test error, %", 2),
        ("train_error", "train error, %", 2),
        ("test_loss", "test loss", 3),
    ],
    figures,
};

fn arms(scene: &Scene) -> Vec<Arm> {
    // A plain net converges long before; all arms get the updates that dropout needs.
    let whole = |updates| Recipe {
        momentum_start: 0.5,
        ..Recipe::plain(scene.rows(60_000), &[800, 800], updates)
    };
    let plain = scene.pick_of(
        Recipe::plain(scene.rows(2000), &[400, 400], 1500),
        whole(24_000),
        whole(90_000),
    );
    let dropped = plain.clone().keep(0.5, 1.0);
    let input_too = plain.clone().keep(0.5, 0.8);
    let capped =
        |recipe: Recipe| if scene.extent == Extent::Quick { recipe } else { recipe.max_norm(2.0) };
    let recipes = [plain, capped(dropped), capped(input_too)];
    RUNGS.into_iter().zip(recipes).map(|(name, recipe)| Arm::train(name, recipe)).collect()
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let less = |more: &str, less: &str| {
        let claim = format!("{less}: a lower test error than {more}");
        Verdict::more(claim, results.excess(more, less, "test_error"), 0.0, "points")
    };
    let mut verdicts = vec![less(RUNGS[0], RUNGS[1])];
    if scene.has_spare_inputs() {
        verdicts.push(less(RUNGS[1], RUNGS[2]));
    }
    if !scene.order_alone() {
        verdicts.push(Verdict::at_most(
            "the last rung's test error",
            results.value(RUNGS[2], "test_error"),
            1.35,
            "%",
        ));
    }
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let lines = |test: &str, train: &str| {
        RUNGS
            .iter()
            .flat_map(|rung| {
                [
                    Line::new(*rung, results.curve(rung, "epoch", test)),
                    Line::dashed("training rows", results.curve(rung, "epoch", train)),
                ]
            })
            .collect()
    };
    let plot =
        |title, y, lines| Plot { title, x: "epoch", y, log: false, falling: true, lines }.draw();
    Ok(vec![
        plot("Error on test rows", "error (%)", lines("test_error", "train_error"))?,
        plot("Loss", "cross-entropy (nats)", lines("test_loss", "train_loss"))?,
    ])
}
