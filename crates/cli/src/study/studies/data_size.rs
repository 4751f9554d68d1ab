//! Figure 10 of Srivastava et al. 2014: the gain from dropout against the size of the training set.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::{Points, Results};
use crate::study::verdict::Verdict;

/// Study `data-size`.
pub static STUDY: Study = Study {
    name: "data-size",
    claim: "With hardly any data, dropout gains nothing; the gain grows with the data, peaks, and shrinks \
            again.",
    published: "MNIST, 784-1024-1024-2048-10: no gain at 100 and 500 rows, a gain that grows from 1,000 on and falls towards 50,000",
    source: "Srivastava et al. 2014, figure 10",
    arms,
    judge,
    columns: &[("test_error", "test error, %", 2), ("train_error", "train error, %", 2)],
    figures,
};

const WITHOUT: &str = "no dropout, rows";
const WITH: &str = "dropout, rows";

/// Returns the sizes that the training set has rows for. In the quick form they are fractions of
/// 4,000 rows, or of all rows if there are fewer.
fn sizes(scene: &Scene) -> Vec<f64> {
    let parts = [40, 8, 2, 1, 1, 1].map(|part| scene.rows(4000).div_ceil(part));
    let wanted = scene.pick(parts, [100, 500, 1000, 5000, 10_000, 50_000]);
    let mut sizes: Vec<f64> = wanted.iter().map(|&rows| scene.rows(rows) as f64).collect();
    sizes.dedup();
    sizes
}

fn arms(scene: &Scene) -> Vec<Arm> {
    let (hidden, updates) = scene.pick((vec![256, 256], 2000), (vec![1024, 1024, 2048], 20_000));
    let pair = |rows: f64| {
        let plain = Recipe::plain(rows as usize, &hidden, updates);
        let plain = Recipe { batch: plain.batch.min(plain.rows), ..plain };
        [
            Arm::at(WITHOUT, rows, plain.clone()),
            Arm::at(WITH, rows, plain.keep(0.5, scene.input_keep())),
        ]
    };
    sizes(scene).into_iter().flat_map(pair).collect()
}

/// Returns the gain from dropout at each size, in points of error.
fn gains(scene: &Scene, results: &Results<'_>) -> Points {
    let gain = |rows: f64| {
        results.excess(results.name_at(WITHOUT, rows), results.name_at(WITH, rows), "test_error")
    };
    sizes(scene).into_iter().map(|rows| (rows, gain(rows))).collect()
}

/// Returns the gain at a size relative to the error without dropout, so that sizes can be compared.
fn share(scene: &Scene, results: &Results<'_>, at: usize) -> f64 {
    let gains = gains(scene, results);
    gains.get(at).map_or(f64::NAN, |(rows, gain)| {
        gain.mean / results.value(results.name_at(WITHOUT, *rows), "test_error").mean
    })
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let gains = gains(scene, results);
    let last = gains.len().saturating_sub(1);
    let best = (0..gains.len()).map(|at| share(scene, results, at)).fold(f64::NAN, f64::max);
    let first = share(scene, results, 0);
    let at = |at: usize| {
        gains.get(at).copied().unwrap_or((f64::NAN, crate::study::spread::Spread::of([])))
    };
    let difference = crate::study::spread::Spread::of([100.0 * (best - first)]);
    vec![
        Verdict::more(
            format!("at {} rows dropout lowers the error", at(last).0),
            at(last).1,
            0.0,
            "points",
        ),
        Verdict::more(
            format!(
                "at some size, the share of errors that dropout removes is larger than at {} rows",
                at(0).0
            ),
            difference,
            0.0,
            "% of errors",
        ),
    ]
}

fn figures(scene: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let plot = |title, y, lines| {
        Plot { title, x: "training rows", y, log: true, falling: false, lines }.draw()
    };
    let errors = vec![
        Line::new("no dropout", results.line(WITHOUT, "test_error")),
        Line::new("dropout", results.line(WITH, "test_error")),
    ];
    Ok(vec![
        plot("Error on test rows", "error (%)", errors)?,
        plot("Gain from dropout", "points", vec![Line::new("gain", gains(scene, results))])?,
    ])
}
