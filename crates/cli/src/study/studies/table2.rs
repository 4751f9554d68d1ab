//! Table 2 of Srivastava et al. 2014: dropout, then max-norm too, then wider layers.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::Results;
use crate::study::verdict::Verdict;

const NONE: &str = "no dropout, three layers";
const DROPOUT: &str = "dropout, three layers";
const CAPPED: &str = "dropout and max-norm, three layers";
const WIDE: &str = "dropout and max-norm, two layers, twice as wide";

/// Study `table2`.
pub static STUDY: Study = Study {
    name: "table2",
    claim: "On the same data, dropout improves a fully connected network, adding max-norm improves \
            it further, and width then does no harm.",
    published: "MNIST: 1.60 % without; dropout, ReLU, 3×1024 1.25 %, with max-norm 1.06 %; 2×4096 1.01 %, 2×8192 0.95 %",
    source: "Srivastava et al. 2014, table 2",
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
    let (width, rows, updates) = scene.pick((192, 2000, 3000), (1024, 60_000, 36_000));
    let plain = |hidden: &[usize]| Recipe {
        momentum_start: 0.5,
        ..Recipe::plain(scene.rows(rows), hidden, updates)
    };
    let three = plain(&[width; 3]);
    let dropped = |recipe: Recipe| recipe.keep(0.5, scene.input_keep());
    vec![
        Arm::train(NONE, three.clone()),
        Arm::train(DROPOUT, dropped(three.clone())),
        Arm::train(CAPPED, dropped(three).max_norm(4.0)),
        Arm::train(WIDE, dropped(plain(&[2 * width; 2])).max_norm(4.0)),
    ]
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let less = |more: &str, less: &str| {
        Verdict::more(
            format!("{less}: a lower test error than {more}"),
            results.excess(more, less, "test_error"),
            0.0,
            "points",
        )
    };
    let mut verdicts = vec![less(NONE, DROPOUT), less(NONE, CAPPED), less(NONE, WIDE)];
    if !scene.order_alone() {
        verdicts.push(Verdict::at_most(
            "dropout, 3×1024: test error",
            results.value(DROPOUT, "test_error"),
            1.35,
            "%",
        ));
        verdicts.push(less(DROPOUT, CAPPED));
        verdicts.push(Verdict::at_most(
            "with max-norm: test error",
            results.value(CAPPED, "test_error"),
            1.2,
            "%",
        ));
    }
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let lines = [NONE, DROPOUT, CAPPED, WIDE]
        .map(|arm| Line::new(arm, results.curve(arm, "epoch", "test_error")))
        .to_vec();
    let title = "Error on test rows while training";
    Ok(vec![Plot { title, x: "epoch", y: "error (%)", log: false, falling: true, lines }.draw()?])
}
