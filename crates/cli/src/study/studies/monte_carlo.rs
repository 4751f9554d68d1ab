//! Figure 11 of Srivastava et al. 2014: the average over sampled masks compared with the
//! weight-scaling rule.

use crate::failure::Failure;
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Recipe, Scene, Trained, Work};
use crate::study::plot::{Line, Plot};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::spread::Spread;
use crate::study::verdict::Verdict;

/// Study `monte-carlo`.
pub static STUDY: Study = Study {
    name: "monte-carlo",
    claim: "As the number of samples grows, the average prediction of sampled sub-networks approaches the \
            weight-scaling rule, and matches it.",
    published: "MNIST: about 50 samples match weight scaling, and more stay within one standard deviation of it",
    source: "Srivastava et al. 2014, figure 11",
    arms,
    judge,
    columns: &[
        ("test_error", "weight scaling, %", 2),
        ("sampled_1", "1 sample, %", 2),
        ("sampled_10", "10 samples, %", 2),
        ("sampled_100", "100 samples, %", 2),
    ],
    figures,
};

const ARM: &str = "dropout";
const SAMPLES: [u32; 7] = [1, 2, 5, 10, 20, 50, 100];

fn arms(scene: &Scene) -> Vec<Arm> {
    let (rows, hidden, updates) = scene.pick_of(
        (5000, vec![256, 256], 2000),
        (60_000, vec![1024, 1024], 18_000),
        (60_000, vec![1024; 3], 36_000),
    );
    let recipe = Recipe::plain(scene.rows(rows), &hidden, updates).keep(0.5, scene.input_keep());
    let arm = Arm::train(ARM, recipe.clone());
    vec![Arm { work: Work::Train(recipe, Some(sample)), ..arm }]
}

/// Measures the errors of averages over each number of samples, and of weight scaling.
fn sample(net: &mut dyn Trained, found: &mut Found) -> wgpu_dropout::Result<()> {
    for samples in SAMPLES {
        let probabilities = net.monte_carlo(samples)?;
        let error = error(&probabilities, net.labels());
        found.push("samples", f64::from(samples));
        found.push("sampled_error", error);
        found.value(&format!("sampled_{samples}"), error);
    }
    let scaled = error(&net.predict()?, net.labels());
    SAMPLES.iter().for_each(|_| found.push("scaled_error", scaled));
    found.value("difference_100", (found.values["sampled_100"] - scaled).abs());
    Ok(())
}

/// Returns the percentage of rows whose likeliest class is not the label.
fn error(probabilities: &[f32], labels: &[u32]) -> f64 {
    let classes = probabilities.len() / labels.len().max(1);
    let wrong = probabilities.chunks(classes.max(1)).zip(labels).filter(|(row, label)| {
        let label = **label as usize;
        // Of equally likely classes the first counts, as in training.
        row.iter()
            .enumerate()
            .any(|(class, p)| *p > row[label] || (*p == row[label] && class < label))
    });
    100.0 * wrong.count() as f64 / labels.len().max(1) as f64
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let nearer = Spread::of(results.of(ARM).map(|record| {
        let error = |name: &str| record.found.values.get(name).copied().unwrap_or(f64::NAN);
        (error("sampled_1") - error("test_error"))
            - (error("sampled_100") - error("test_error")).abs()
    }));
    let most = scene.pick(0.5, 0.15);
    vec![
        Verdict::more("100 samples are nearer to weight scaling than one", nearer, 0.0, "points"),
        Verdict::at_most(
            "the difference at 100 samples",
            results.value(ARM, "difference_100"),
            most,
            "points",
        ),
    ]
}

fn figures(_: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let lines = vec![
        Line::new("average over samples", results.curve(ARM, "samples", "sampled_error")),
        Line::new("weight scaling", results.curve(ARM, "samples", "scaled_error")).bare(),
    ];
    let title = "Error on test rows against the number of samples";
    Ok(vec![
        Plot { title, x: "sampled sub-networks", y: "error (%)", log: true, falling: false, lines }
            .draw()?,
    ])
}

#[cfg(test)]
mod tests {
    use super::error;

    #[test]
    fn an_error_is_a_row_whose_likeliest_class_is_another() {
        let p = [0.7, 0.3, 0.2, 0.8, 0.5, 0.5];
        assert_eq!(error(&p, &[0, 1, 0]), 0.0);
        assert_eq!(error(&p, &[1, 1, 1]), 100.0 * 2.0 / 3.0);
    }
}
