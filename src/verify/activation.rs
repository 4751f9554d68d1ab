//! Checks `linear_activation` and `activation_grad` against the f64 oracle.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use super::shapes::{LONG_SUMS, SHAPES, sites};
use crate::call::{Activation, ActivationGrad, LinearActivation};
use crate::{Backend, Dropout, Result, oracle};

/// Checks every shape with each activation; sites, bias, residual and saving of `z` vary at random.
pub(super) fn activations<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    let shapes = if form.weak { &LONG_SUMS[..] } else { &SHAPES[..] };
    for (i, &[batch, inputs, outputs]) in shapes.iter().enumerate() {
        let sites = sites(cases);
        for (j, activation) in Activation::ALL.into_iter().enumerate() {
            let dropout = sites[(i + j) % sites.len()];
            let [x, weight, bias, residual, dy] =
                [batch * inputs, inputs * outputs, outputs, batch * outputs, batch * outputs]
                    .map(|count| cases.noise(count));
            let (with_bias, with_residual, save) = (cases.flip(), cases.flip(), cases.flip());
            let on = &mut form.backend;
            let tensors = (
                on.tensor(batch, inputs, &x)?,
                on.tensor(inputs, outputs, &weight)?,
                on.tensor(1, outputs, &bias)?,
            );
            let r = on.tensor(batch, outputs, &residual)?;
            let (mut y, mut z) = (poisoned(on, batch, outputs)?, poisoned(on, batch, outputs)?);
            on.run(LinearActivation {
                x: &tensors.0,
                weight: &tensors.1,
                bias: with_bias.then_some(&tensors.2),
                residual: with_residual.then_some(&r),
                z: save.then_some(&mut z),
                y: &mut y,
                activation,
                dropout,
            })?;
            let what =
                format!("{}: {batch}×{inputs}×{outputs} {activation:?} {dropout:?}", form.name);
            let bias = with_bias.then_some(bias.as_slice());
            let exact_z = oracle::linear_forward(
                &x,
                &weight,
                bias,
                [batch, inputs, outputs],
                false,
                &Dropout::NONE,
            );
            let residual = with_residual.then_some(residual.as_slice());
            let exact =
                oracle::linear_activation(&exact_z, residual, outputs.max(1), activation, &dropout);
            tally.compare(exact.check(&format!("linear_activation, {what}"), &on.read(&y)?));
            if !save {
                z = on.tensor(batch, outputs, &cases.noise(batch * outputs))?;
            }
            let z_values = on.read(&z)?;
            if save {
                tally.compare(exact_z.check(&format!("linear_activation, z, {what}"), &z_values));
            }
            let grad_output = on.tensor(batch, outputs, &dy)?;
            let mut dz = poisoned(on, batch, outputs)?;
            on.run(ActivationGrad {
                grad_output: &grad_output,
                z: &z,
                grad_z: &mut dz,
                activation,
                dropout,
            })?;
            let exact =
                oracle::activation_grad(&dy, &z_values, outputs.max(1), activation, &dropout);
            tally.compare(exact.check(&format!("activation_grad, {what}"), &on.read(&dz)?));
        }
    }
    gradients(form, cases, tally)
}

/// Checks `activation_grad` alone, with one row and several, ragged and in whole vectors.
fn gradients<B: Backend>(form: &mut Form<B>, cases: &mut Cases, tally: &mut Tally) -> Result<()> {
    for (rows, cols) in [(1, 13), (1, 12), (1, 64), (7, 13), (9, 12), (9, 64), (3, 20_001)] {
        let on = &mut form.backend;
        let (dy, values) = (cases.noise(rows * cols), cases.noise(rows * cols));
        // The range covers GELU from its flat side to the side where it is the identity.
        let values: Vec<f32> = values.iter().map(|z| 9.0 * z).collect();
        let (grad_output, z) = (on.tensor(rows, cols, &dy)?, on.tensor(rows, cols, &values)?);
        let sites = sites(cases);
        for (j, activation) in Activation::ALL.into_iter().enumerate() {
            let dropout = sites[j % sites.len()];
            let mut dz = poisoned(on, rows, cols)?;
            on.run(ActivationGrad {
                grad_output: &grad_output,
                z: &z,
                grad_z: &mut dz,
                activation,
                dropout,
            })?;
            let exact = oracle::activation_grad(&dy, &values, cols, activation, &dropout);
            let what =
                format!("{}: activation_grad {rows}×{cols} {activation:?} {dropout:?}", form.name);
            tally.compare(exact.check(&what, &on.read(&dz)?));
        }
    }
    Ok(())
}
