//! Table 9 of Srivastava et al. 2014: dropout compared and combined with other regularizers.

mod sparse;

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Computation, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::Results;
use crate::study::verdict::Verdict;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::mlp::BatchNormPlace;

const NONE: &str = "none";
const L2: &str = "L2";
const L1: &str = "L2 and L1";
const LOGISTIC: &str = "L2, logistic units";
const KL: &str = "L2 and KL, logistic units";
const NORM: &str = "max-norm";
const DROPOUT_L2: &str = "dropout and L2";
const DROPOUT_NORM: &str = "dropout and max-norm";
const NORMALIZED: &str = "batch normalization";
const DROPOUT_NORMALIZED: &str = "dropout and batch normalization";
const NORMALIZED_AFTER: &str = "dropout, then batch normalization";

/// Max-norm's c in the quick form, and in the others. In the quick form, a c of 3 or more binds no
/// weight of the net without dropout, whose arm would then equal the arm without a regularizer.
/// With a c of 2, the net's error on the digits is higher with dropout than without.
const BOUND: [f64; 2] = [2.5, 2.0];
/// Weight λ of the Kullback-Leibler penalty.
const SPARSITY: f64 = 1e-2;
/// Learning rate of nets of logistic units, whose slope is at most 1/4; that of ReLUs is 1.
const LOGISTIC_LR: f32 = 0.3;

/// Study `regularizers`.
pub static STUDY: Study = Study {
    name: "regularizers",
    claim: "Dropout with a second regularizer is better than any other regularizer alone.",
    published: "MNIST, 784-1024-1024-2048-10: L2 1.62 %, L2 and L1 1.60 %, L2 and KL 1.55 %, max-norm 1.35 %, dropout and L2 1.25 %, dropout \
                and max-norm 1.05 %",
    source: "Srivastava et al. 2014, table 9",
    arms,
    judge,
    columns: &[
        ("test_error", "test error, %", 2),
        ("train_error", "train error, %", 2),
        ("test_loss", "test loss", 3),
    ],
    figures,
};

/// Returns the recipe without a regularizer.
fn plain(scene: &Scene) -> Recipe {
    let (hidden, rows, updates) = scene.pick_of(
        (vec![256, 256], 2000, 1500),
        (vec![512, 512], 10_000, 12_000),
        (vec![1024, 1024, 2048], 60_000, 36_000),
    );
    Recipe::plain(scene.rows(rows), &hidden, updates)
}

/// Returns the weight decay, and the L1 penalty used with it.
fn decay(scene: &Scene) -> (f32, f32) {
    scene.pick((1e-4, 1e-5), (1e-5, 1e-6))
}

fn arms(scene: &Scene) -> Vec<Arm> {
    let plain = plain(scene);
    let (l2, l1) = decay(scene);
    let bound = scene.pick_of(BOUND[0], BOUND[1], BOUND[1]);
    let dropped = || plain.clone().keep(0.5, scene.input_keep());
    let logistic = |name: &str, weight| {
        let arm = Arm::compute("", weight, |scene, device, seed, weight| {
            let recipe = self::plain(scene).penalties(decay(scene).0, 0.0);
            let rule = SgdRule { lr: LOGISTIC_LR, ..recipe.rule };
            let recipe = Recipe { updates: scene.updates(recipe.updates), rule, ..recipe };
            sparse::Net { scene, recipe, seed, weight: weight as f32 }.on_device(device)
        });
        Arm { name: name.to_owned(), point: None, ..arm }
    };
    vec![
        Arm::train(NONE, plain.clone()),
        Arm::train(L2, plain.clone().penalties(l2, 0.0)),
        Arm::train(L1, plain.clone().penalties(l2, l1)),
        Arm::train(NORM, plain.clone().max_norm(bound)),
        Arm::train(DROPOUT_L2, dropped().penalties(l2, 0.0)),
        Arm::train(DROPOUT_NORM, dropped().max_norm(bound)),
        Arm::train(NORMALIZED, plain.clone().normalized(BatchNormPlace::Before)),
        Arm::train(DROPOUT_NORMALIZED, dropped().normalized(BatchNormPlace::Before)),
        Arm::train(NORMALIZED_AFTER, dropped().normalized(BatchNormPlace::After)),
        logistic(LOGISTIC, 0.0),
        logistic(KL, SPARSITY),
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
    let mut verdicts = vec![
        less(L2, DROPOUT_L2),
        less(L1, DROPOUT_L2),
        less(LOGISTIC, KL),
        less(KL, DROPOUT_L2),
        less(NORM, DROPOUT_NORM),
        less(NORMALIZED, DROPOUT_NORMALIZED),
    ];
    if !scene.order_alone() {
        verdicts.push(less(DROPOUT_L2, DROPOUT_NORM));
        verdicts.push(Verdict::at_most(
            "dropout and max-norm: test error",
            results.value(DROPOUT_NORM, "test_error"),
            1.2,
            "%",
        ));
    }
    verdicts
}

fn figures(_: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let plot = |title, arms: &[&'static str]| {
        let lines = arms
            .iter()
            .map(|&arm| Line::new(arm, results.curve(arm, "epoch", "test_error")))
            .collect();
        Plot { title, x: "epoch", y: "error (%)", log: false, falling: true, lines }.draw()
    };
    Ok(vec![
        plot(
            "Error on test rows: penalties and bounds",
            &[NONE, L2, L1, NORM, DROPOUT_L2, DROPOUT_NORM],
        )?,
        plot(
            "Error on test rows: batch normalization",
            &[NONE, NORMALIZED, DROPOUT_NORMALIZED, NORMALIZED_AFTER],
        )?,
        plot("Error on test rows: logistic units", &[LOGISTIC, KL])?,
    ])
}
