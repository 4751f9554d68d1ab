//! Checks every kernel in every variant against the f64 oracle.
//!
//! The plan of a call chooses the variant, so the cases are designed to need each of them: ragged
//! shapes and whole vectors, aligned and unaligned groups, and split sums on weak forms.
//! [`variants`](super::variants) then checks that each variant was really run.

use super::check::{Check, Tally, poisoned, within};
use super::form::{Form, Subject};
use super::layer::Layer;
use super::random::Cases;
use super::shapes::{LONG_SUMS, SHAPES, sites};
use crate::call::{
    BatchLoss, CopyCall, DropoutCall, Features, Gather, GradWeightSgd, Sgd, SgdRule,
    SoftmaxCrossEntropy, SquaredError,
};
use crate::oracle::{self, Exact};
use crate::{Backend, Result};
use rayon::prelude::*;

/// Checks all kernels over all forms, with one check per group of kernels.
pub(super) fn against_oracle<B: Subject + Send>(
    forms: &mut [Form<B>],
    seed: u64,
    done: &mut dyn FnMut(Check),
) -> Result<()> {
    let bound = format!("within {}·(terms + 2)·ε of each value", oracle::C);
    let accuracy = "within the accuracy of WGSL's exp, log and division";
    done(over(forms, seed, "linear_forward, grad_input, grad_weight", &bound, products)?);
    done(over(
        forms,
        seed,
        "linear_activation, activation_grad",
        &bound,
        super::activation::activations,
    )?);
    done(over(forms, seed, "dropout, copy", &bound, elementwise)?);
    done(over(
        forms,
        seed,
        "broadcast, bits, bytes, alpha, Gaussian",
        &bound,
        super::forms::forms,
    )?);
    done(over(forms, seed, "gather", &bound, gathers)?);
    done(over(forms, seed, "softmax_cross_entropy, squared_error, batch_loss", accuracy, losses)?);
    done(over(forms, seed, "subnetworks, moments", accuracy, super::ensemble::ensembles)?);
    let normalizations = super::normalization::normalizations;
    let attentions = super::attention::attentions;
    done(over(forms, seed, "attention, attention_grad", &bound, attentions)?);
    done(over(forms, seed, "batch normalization, adamw", &bound, normalizations)?);
    done(over(
        forms,
        seed,
        "patches, pool, and their gradients",
        &bound,
        super::convolution::convolutions,
    )?);
    done(over(forms, seed, "sgd", "over three updates", updates)?);
    done(over(forms, seed, "grad_weight_sgd", "over two updates", layer_updates)?);
    Ok(())
}

fn over<B: Subject + Send>(
    forms: &mut [Form<B>],
    seed: u64,
    kernels: &str,
    bound: &str,
    run: fn(&mut Form<B>, &mut Cases, &mut Tally) -> Result<()>,
) -> Result<Check> {
    let mut tally = Tally::new(format!("oracle: {kernels}"));
    let one = |(i, form): (usize, &mut Form<B>)| {
        let (mut cases, mut tally) = (Cases::new(seed, (i as u32) << 8 | 1), Tally::new(""));
        run(form, &mut cases, &mut tally).map(|()| tally)
    };
    // In parallel if possible: most of the time goes to compilation.
    let tallies: Vec<Tally> = if forms.iter().all(|form| form.backend.is_shared()) {
        forms.par_iter_mut().enumerate().map(one).collect::<Result<_>>()?
    } else {
        forms.iter_mut().enumerate().map(one).collect::<Result<_>>()?
    };
    tallies.into_iter().for_each(|of_form| tally.add(of_form));
    Ok(tally.finish(bound))
}

fn products<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    let shapes = if form.weak { &LONG_SUMS[..] } else { &SHAPES[..] };
    for (i, shape) in shapes.iter().enumerate() {
        for (j, site) in sites(cases).into_iter().enumerate() {
            // Long sums take long in f64 too, so a third of the sites suffices, plus the one
            // without a mask.
            if form.weak && (i + j) % 3 != 0 && j != 0 {
                continue;
            }
            for relu in [false, true] {
                let layer = Layer::new(cases, Cases::noise, *shape, relu, site);
                let got = layer.run(&mut form.backend)?;
                for outcome in layer.against_oracle(&got) {
                    tally.compare(outcome.map_err(|error| format!("{}: {error}", form.name)));
                }
            }
        }
    }
    Ok(())
}

fn elementwise<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for (rows, cols) in
        [(1, 1), (1, 12), (1, 64), (7, 13), (9, 12), (9, 64), (31, 65), (5, 1000), (3, 20_001)]
    {
        let values = cases.noise(rows * cols);
        let x = form.backend.tensor(rows, cols, &values)?;
        let mut y = poisoned(&mut form.backend, rows, cols)?;
        form.backend.run(CopyCall { x: &x, y: &mut y })?;
        let copied = super::check::same_bits(
            &format!("{}: copy {rows}×{cols}", form.name),
            &form.backend.read(&y)?,
            &values,
        );
        tally.compare(copied);
        for site in sites(cases) {
            let mut y = poisoned(&mut form.backend, rows, cols)?;
            form.backend.run(DropoutCall { x: &x, y: &mut y, dropout: site })?;
            let what = format!("{}: dropout {rows}×{cols} {site:?}", form.name);
            tally.compare(
                oracle::dropout(&values, cols, &site).check(&what, &form.backend.read(&y)?),
            );
        }
    }
    Ok(())
}

fn gathers<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for [count, cols, batch, first] in
        [[1, 1, 1, 0], [50, 3, 7, 5], [50, 64, 32, 18], [20, 129, 5, 2]]
    {
        let bytes: Vec<u8> = (0..count * cols).map(|_| cases.below(256) as u8).collect();
        let floats = cases.noise(count * cols);
        let labels: Vec<u32> = (0..count as u32).map(|row| row * 7 + 1).collect();
        let order: Vec<u32> =
            (0..first + batch + 2).map(|_| cases.below(count as u64) as u32).collect();
        let byte_data = form.backend.tensor(count, cols, &bytes)?;
        let float_data = form.backend.tensor(count, cols, &floats)?;
        let all_labels = form.backend.tensor(count, 1, &labels)?;
        let all_rows = form.backend.tensor(order.len(), 1, &order)?;
        for site in sites(cases) {
            for (data, unit) in
                [(Features::Bytes(&byte_data), 1.0 / 255.0), (Features::Floats(&float_data), 0.3)]
            {
                let mut x = poisoned(&mut form.backend, batch, cols)?;
                let mut batch_labels = form.backend.tensor(batch, 1, &vec![u32::MAX; batch])?;
                let (order_of, dropout, taken) = (&all_rows, site, &mut batch_labels);
                form.backend.run(Gather {
                    data,
                    all_labels: &all_labels,
                    order: order_of,
                    first,
                    unit,
                    x: &mut x,
                    labels: taken,
                    dropout,
                })?;
                let datum = |i: usize| {
                    if matches!(data, Features::Bytes(_)) {
                        f64::from(bytes[i])
                    } else {
                        f64::from(floats[i])
                    }
                };
                let mut right = Exact { terms: 1, ..Exact::default() };
                let rows = &order[first..first + batch];
                for (r, &row) in rows.iter().enumerate() {
                    for c in 0..cols {
                        let value = datum(row as usize * cols + c)
                            * f64::from(unit)
                            * f64::from(site.scale);
                        let value = if site.mask.keeps(r, c) { value } else { 0.0 };
                        right.values.push(value);
                        right.magnitudes.push(value.abs());
                    }
                }
                let what = format!("{}: gather {count}×{cols} to {batch} {site:?}", form.name);
                let same_labels = form
                    .backend
                    .read(&batch_labels)?
                    .iter()
                    .eq(rows.iter().map(|&row| &labels[row as usize]));
                let outcome =
                    right.check(&what, &form.backend.read(&x)?).map_err(|error| error.to_string());
                tally.compare(
                    outcome.and(same_labels.then_some(()).ok_or(format!("{what}: labels differ"))),
                );
            }
        }
    }
    Ok(())
}

/// Checks the losses and their gradients.
///
/// WGSL allows `exp(d)` to be off by 3 + 2·|d| units in the last place, `log` by 2^-21 near 1 and
/// by 3 units elsewhere, and a division by 2.5. Let d be the distance from the largest logit. Then
/// |d|·exp(−|d|) ≤ 1/e bounds the contribution of each of the C terms to the error of their sum.
/// The sum is at least 1, so the total is at most (3·C + 8)·ε. The subtractions add a share of the
/// numbers themselves.
fn losses<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    let (epsilon, log) = (f64::from(f32::EPSILON), 1.0 / 2_097_152.0);
    for [batch, classes] in [[1, 1], [7, 1], [63, 10], [65, 64], [129, 3], [5, 1009]] {
        for spread in [0.0, 1.0, 30.0] {
            let logits: Vec<f32> =
                cases.noise(batch * classes).iter().map(|x| x * spread).collect();
            let labels: Vec<u32> = (0..batch).map(|_| cases.below(classes as u64) as u32).collect();
            let z = form.backend.tensor(batch, classes, &logits)?;
            let y = form.backend.tensor(batch, 1, &labels)?;
            let mut dz = poisoned(&mut form.backend, batch, classes)?;
            let mut losses = poisoned(&mut form.backend, batch, 2)?;
            let mut totals = poisoned(&mut form.backend, 3, 2)?;
            let call = SoftmaxCrossEntropy {
                logits: &z,
                labels: &y,
                grad_logits: &mut dz,
                losses: &mut losses,
                batch,
            };
            form.backend.run(call)?;
            form.backend.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 1 })?;
            let (pairs, totals) = (form.backend.read(&losses)?, form.backend.read(&totals)?);
            let (exact, exact_dz) = oracle::softmax_cross_entropy(&logits, &labels, classes);
            let slack = (3 * classes + 8) as f64 * epsilon;
            let what = format!("{}: {batch}×{classes} logits in ±{spread}", form.name);
            let column = |c: usize| pairs.iter().skip(c).step_by(2).copied().collect::<Vec<f32>>();
            tally.compare(within(&format!("{what}, loss"), &column(0), &exact, |loss| {
                log + slack + 4.0 * epsilon * loss.abs()
            }));
            let share = 1.0 / batch as f64;
            tally.compare(within(
                &format!("{what}, dz"),
                &form.backend.read(&dz)?,
                &exact_dz,
                |_| share * (slack + 8.0 * epsilon),
            ));
            let targets: Vec<f32> =
                cases.noise(batch * classes).iter().map(|x| 0.5 * (x + 1.0)).collect();
            let t = form.backend.tensor(batch, classes, &targets)?;
            let mut dz = poisoned(&mut form.backend, batch, classes)?;
            let mut losses = poisoned(&mut form.backend, batch, 2)?;
            let call = SquaredError {
                z: &z,
                targets: &t,
                grad_z: &mut dz,
                losses: &mut losses,
                logistic: true,
            };
            form.backend.run(call)?;
            let (exact, exact_dz) = oracle::squared_error(&logits, &targets, classes, true);
            let squares = form.backend.read(&losses)?.into_iter().step_by(2).collect::<Vec<f32>>();
            // The logistic function is off by at most 5·ε; targets and outputs lie between 0 and 1.
            let terms = classes as f64;
            tally.compare(within(&format!("{what}, squared error"), &squares, &exact, |loss| {
                (5.0 * terms + (terms + 4.0) * loss) * epsilon
            }));
            let dz = form.backend.read(&dz)?;
            tally.compare(within(&format!("{what}, squared error's dz"), &dz, &exact_dz, |dz| {
                (12.0 * share + 4.0 * dz.abs()) * epsilon
            }));
            let sums = [0, 1].map(|c| column(c).iter().copied().map(f64::from).sum());
            let terms = (batch.div_ceil(64) + 64) as f64;
            tally.compare(within(
                &format!("{what}, batch_loss"),
                &totals[2..4],
                &sums,
                |sum: f64| terms * epsilon * sum.abs(),
            ));
        }
    }
    Ok(())
}

/// Checks three SGD updates in a row, with max-norm and without.
fn updates<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for [rows, cols] in [[1, 1], [7, 1], [8, 9], [65, 63], [64, 64]] {
        for (momentum, weight_decay, max_norm) in
            [(0.0, 0.0, None), (0.0, 0.1, Some(0.5)), (0.9, 0.1, None), (0.9, 0.1, Some(0.5))]
        {
            let rule = SgdRule {
                momentum,
                weight_decay,
                l1: weight_decay / 2.0,
                max_norm,
                ..SgdRule::plain(0.25)
            };
            let what = format!("{}: sgd {rows}×{cols} {rule:?}", form.name);
            let (mut state, mut velocities) = (cases.noise(rows * cols), vec![0.0; rows * cols]);
            let mut weight = form.backend.tensor(rows, cols, &state)?;
            let mut velocity = form.backend.tensor(rows, cols, &velocities)?;
            for _ in 0..3 {
                let gradient = cases.noise(rows * cols);
                let grad = form.backend.tensor(rows, cols, &gradient)?;
                let kept = (momentum != 0.0).then_some(&mut velocity);
                form.backend.run(Sgd { grad: &grad, weight: &mut weight, velocity: kept, rule })?;
                let [exact, exact_velocity] =
                    oracle::sgd(&gradient, &state, &velocities, cols, &rule);
                state = form.backend.read(&weight)?;
                tally.compare(exact.check(&what, &state));
                if momentum != 0.0 {
                    velocities = form.backend.read(&velocity)?;
                    tally.compare(exact_velocity.check(&what, &velocities));
                }
            }
        }
    }
    Ok(())
}

/// Checks two fused updates of a layer in a row.
fn layer_updates<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    for &shape in if form.weak { &LONG_SUMS[..] } else { &SHAPES[..] } {
        let [batch, inputs, outputs] = shape;
        for momentum in [0.0, 0.9] {
            let rule = SgdRule { momentum, weight_decay: 0.1, l1: 0.05, ..SgdRule::plain(0.25) };
            let what =
                format!("{}: grad_weight_sgd {batch}×{inputs}×{outputs} {rule:?}", form.name);
            let rows = [inputs, inputs, 1, 1];
            let mut state = rows.map(|rows| cases.noise(rows * outputs));
            let mut tensors = Vec::new();
            for (rows, values) in rows.iter().zip(&state) {
                tensors.push(form.backend.tensor(*rows, outputs, values)?);
            }
            for _ in 0..2 {
                let (x, grad_z) = (cases.noise(batch * inputs), cases.noise(batch * outputs));
                let exact_z: Vec<f64> = grad_z.iter().copied().map(f64::from).collect();
                let exact = oracle::grad_weight_sgd(
                    &x,
                    &exact_z,
                    state.each_ref().map(Vec::as_slice),
                    shape,
                    &rule,
                );
                let x = &form.backend.tensor(batch, inputs, &x)?;
                let grad_z = &form.backend.tensor(batch, outputs, &grad_z)?;
                if let [weight, weight_velocity, bias, bias_velocity] = tensors.as_mut_slice() {
                    let velocity = (momentum != 0.0).then_some((weight_velocity, bias_velocity));
                    form.backend.run(GradWeightSgd { x, grad_z, weight, bias, velocity, rule })?;
                }
                for (i, tensor) in tensors.iter().enumerate() {
                    // Without momentum, no velocity is kept.
                    if i % 2 == 0 || momentum != 0.0 {
                        state[i] = form.backend.read(tensor)?;
                        tally.compare(exact[i].check(&what, &state[i]));
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_lets_no_nan_pass() {
        within("", &[1.0], &[1.0], |_| 0.0).unwrap();
        for wrong in [f32::NAN, 1.1, f32::INFINITY] {
            assert!(within("", &[wrong], &[1.0], |_| 0.01).is_err());
        }
        assert!(within("", &[1.0], &[], |_| 0.01).is_err());
        let key = crate::Key::default();
        assert!(sites(&mut Cases::new(0, 0)).iter().any(|site| site.mask.key != key));
    }
}
