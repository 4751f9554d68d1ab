//! Figures 7 and 8 of Srivastava et al. 2014: the effect of dropout on the features of an
//! autoencoder.

use crate::failure::Failure;
use crate::study::draw::drawn;
use crate::study::experiment::Study;
use crate::study::histogram::Histogram;
use crate::study::images;
use crate::study::layer::Layer;
use crate::study::plan::{Arm, Computation, Scene};
use crate::study::record::Found;
use crate::study::results::Results;
use crate::study::verdict::Verdict;
use crate::train::session::upload;
use wgpu_dropout::call::{Gather, GradInput, SgdRule, SquaredError};
use wgpu_dropout::mlp::{Schedule, Schedules};
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result, init};

/// Study `sparsity`.
pub static STUDY: Study = Study {
    name: "sparsity",
    claim: "Under dropout, the hidden units of an autoencoder are active less often and less strongly, and \
            each learns a feature of its own.",
    published: "MNIST, autoencoder with 256 ReLUs: the mean activation goes from about 2.0 to about .7 with half of the units dropped",
    source: "Srivastava et al. 2014, figures 7 and 8",
    arms,
    judge,
    columns: &[
        ("activation", "mean activation", 3),
        ("active", "active, %", 1),
        ("loss", "reconstruction", 2),
    ],
    figures,
};

const LINE: &str = "autoencoder, keep";
/// Largest number of hidden units. There are a third as many as inputs, as in the paper.
const MOST: usize = 256;
/// Number of filters in the picture, and in each of its rows.
const SHOWN: usize = 64;
const IN_A_ROW: usize = 8;
/// Number of bins of a histogram, and the end of its range.
const PARTS: usize = 40;
const END: f64 = 8.0;

/// Returns the number of hidden units.
fn hidden(scene: &Scene) -> usize {
    (scene.data.train.cols / 3).clamp(1, MOST)
}

fn arms(_: &Scene) -> Vec<Arm> {
    [1.0, 0.5]
        .map(|keep| {
            Arm::compute(LINE, keep, |scene, device, seed, keep| {
                Autoencoder { scene, seed, keep }.on_device(device)
            })
        })
        .to_vec()
}

fn judge(_: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let without = results.name_at(LINE, 1.0);
    let with = results.name_at(LINE, 0.5);
    let ratio = results.ratio(with, without, "activation");
    vec![
        Verdict::at_most("the mean activation with dropout over that without", ratio, 0.6, "times"),
        Verdict::more(
            "fewer units are active with dropout",
            results.excess(without, with, "active"),
            0.0,
            "points",
        ),
    ]
}

fn figures(scene: &Scene, results: &Results<'_>) -> std::result::Result<Vec<String>, Failure> {
    let mut pictures = Vec::new();
    let named = [(1.0, "Without dropout"), (0.5, "Half of the units dropped")];
    for (what, x, series) in [
        ("Mean activation of each unit", "mean activation", "means"),
        ("All activations above 0", "activation", "activations"),
    ] {
        let group = |(keep, name): (f64, &str)| {
            let record = results.of(results.name_at(LINE, keep)).next();
            (
                name.to_lowercase(),
                record
                    .and_then(|record| record.found.series.get(series).cloned())
                    .unwrap_or_default(),
            )
        };
        let groups = named.map(group).to_vec();
        pictures.push(
            Histogram { title: what, x, y: "count", end: END, groups, marks: Vec::new() }.draw()?,
        );
    }
    for (keep, name) in named {
        let Some(record) = results.of(results.name_at(LINE, keep)).next() else { continue };
        let Some(filters) = record.found.series.get("filters") else { continue };
        let pixels = scene.data.train.cols;
        let filters: Vec<&[f64]> = filters.chunks(pixels.max(1)).collect();
        let title = format!("{name}: {} of {} first-layer filters", filters.len(), hidden(scene));
        pictures.push(images::grid(&title, &filters, IN_A_ROW)?);
    }
    Ok(pictures)
}

/// Autoencoder `inputs – ReLUs with dropout – inputs`, with [`hidden`] units, logistic outputs and
/// squared error. Dropout is vanilla as in the paper, so that activations can be compared.
struct Autoencoder<'a> {
    scene: &'a Scene,
    seed: u64,
    keep: f64,
}

impl Computation for Autoencoder<'_> {
    fn on<B: Backend>(&self, mut backend: B) -> Result<(B, Found)> {
        const BATCH: usize = 100;
        let data = &self.scene.data;
        let train = drawn(&data.train, self.scene.rows(self.scene.pick(5000, 60_000)), self.seed);
        let units = hidden(self.scene);
        let rows = train.rows;
        let inputs = train.cols;
        let updates = self.scene.updates(self.scene.pick(2000, 60_000));
        let batch = BATCH.min(rows);
        let resident = upload(&mut backend, &train)?;
        let mut encode = Layer::new(&mut backend, self.seed, 0, inputs, units)?;
        let mut decode = Layer::new(&mut backend, self.seed, 1, units, inputs)?;
        let mut x = backend.zeros(batch, inputs)?;
        let mut hidden = backend.zeros(batch, units)?;
        let mut grad_hidden = backend.zeros(batch, units)?;
        let mut z = backend.zeros(batch, inputs)?;
        let mut grad_z = backend.zeros(batch, inputs)?;
        let mut labels = backend.zeros(batch, 1)?;
        let mut losses = backend.zeros(batch, 2)?;
        let mut order = backend.zeros::<u32>(rows, 1)?;
        let rate = Rate::keep(self.keep)?;
        let site = |step: u32| {
            Dropout::train(Mode::Vanilla, Mask::new(rate, Key { seed: self.seed, layer: 1, step }))
        };
        let schedules = Schedules {
            lr: Schedule::Exponential { to: 0.05, steps: updates },
            ..Schedules::default()
        };
        let rule = SgdRule { momentum: 0.9, ..SgdRule::plain(0.02) };
        let steps = (rows / batch).max(1) as u32;
        for step in 0..updates {
            if step % steps == 0 {
                backend.write(&mut order, &init::shuffle(self.seed, step / steps, rows as u32))?;
            }
            let first = (step % steps) as usize * batch;
            let rule = schedules.rule(&rule, step);
            backend.run(Gather {
                data: resident.features(),
                all_labels: resident.labels(),
                order: &order,
                first,
                unit: train.unit.factor(),
                x: &mut x,
                labels: &mut labels,
                dropout: Dropout::NONE,
            })?;
            encode.forward(&mut backend, &x, &mut hidden, true, site(step))?;
            decode.forward(&mut backend, &hidden, &mut z, false, Dropout::NONE)?;
            backend.run(SquaredError {
                z: &z,
                targets: &x,
                grad_z: &mut grad_z,
                losses: &mut losses,
                logistic: true,
            })?;
            backend.run(GradInput {
                grad_output: &grad_z,
                output: None,
                weight: &decode.weight,
                grad_input: &mut grad_hidden,
                dropout: Dropout::NONE,
                through: Some((&hidden, site(step).scale)),
            })?;
            decode.update(&mut backend, &hidden, &grad_z, rule)?;
            encode.update(&mut backend, &x, &grad_hidden, rule)?;
            backend.submit()?;
        }
        let found = self.measure(&mut backend, &encode, &decode)?;
        Ok((backend, found))
    }
}

impl Autoencoder<'_> {
    /// Measures activations and reconstructions on test rows, and reads the filters.
    fn measure<B: Backend>(
        &self,
        backend: &mut B,
        encode: &Layer<B>,
        decode: &Layer<B>,
    ) -> Result<Found> {
        const ROWS: usize = 1000;
        let test = &self.scene.data.test;
        let rows = test.rows.min(ROWS);
        let inputs = test.cols;
        let units = hidden(self.scene);
        let features = test.features_f32();
        let x = backend.tensor(rows, inputs, &features[..rows * inputs])?;
        let mut hidden = backend.zeros(rows, units)?;
        let mut z = backend.zeros(rows, inputs)?;
        let mut grad_z = backend.zeros(rows, inputs)?;
        let mut losses = backend.zeros(rows, 2)?;
        encode.forward(backend, &x, &mut hidden, true, Dropout::NONE)?;
        let activations = backend.read(&hidden)?;
        encode.forward(
            backend,
            &x,
            &mut hidden,
            true,
            Dropout::predict(Mode::Vanilla, Rate::keep(self.keep)?),
        )?;
        decode.forward(backend, &hidden, &mut z, false, Dropout::NONE)?;
        backend.run(SquaredError {
            z: &z,
            targets: &x,
            grad_z: &mut grad_z,
            losses: &mut losses,
            logistic: true,
        })?;
        let mean = |values: &mut dyn Iterator<Item = f32>, count: usize| {
            values.map(f64::from).sum::<f64>() / count as f64
        };
        let loss = mean(&mut backend.read(&losses)?.into_iter().step_by(2), rows);
        let means: Vec<f64> = (0..units)
            .map(|unit| mean(&mut activations.iter().skip(unit).step_by(units).copied(), rows))
            .collect();
        let filters = backend.read(&encode.weight)?;

        let mut found = Found::default();
        found.value("loss", loss);
        found.value("activation", means.iter().sum::<f64>() / units as f64);
        let active = activations.iter().filter(|&&h| h > 0.0).count();
        found.value("active", 100.0 * active as f64 / activations.len() as f64);
        found.series.insert("means".to_owned(), counts(means.into_iter()));
        found.series.insert(
            "activations".to_owned(),
            counts(activations.into_iter().filter(|&h| h > 0.0).map(f64::from)),
        );
        // Three decimals are enough: the picture has 256 shades.
        let filter = |unit: usize| {
            filters.iter().skip(unit).step_by(units).map(|&w| (f64::from(w) * 1e3).round() / 1e3)
        };
        found.series.insert("filters".to_owned(), (0..SHOWN.min(units)).flat_map(filter).collect());
        Ok(found)
    }
}

/// Counts the values in each bin; values beyond the end count in the last.
fn counts(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut counts = vec![0.0; PARTS];
    for value in values {
        counts[((value / END * PARTS as f64) as usize).min(PARTS - 1)] += 1.0;
    }
    counts
}
