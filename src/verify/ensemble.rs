//! Checks the kernels that average over sub-networks against the f64 oracle.

use super::check::{Tally, poisoned, same_bits, within};
use super::form::Form;
use super::random::Cases;
use crate::call::{Moments, Subnetworks};
use crate::{Backend, Result, oracle};

/// Checks masks by their numbers, bit for bit, and moments computed in one dispatch and in several.
///
/// A probability is off by at most (3·C + 8)·ε, as in the loss. Each network and each dispatch adds
/// one or two roundings. The error of squares is four times as large.
pub(super) fn ensembles<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    let epsilon = f64::from(f32::EPSILON);
    for [rows, classes, networks, per_dispatch] in
        [[1, 1, 1, 1], [7, 9, 16, 16], [65, 10, 24, 7], [3, 20, 130, 50]]
    {
        let what = format!("{}: {networks} networks of {rows}×{classes}", form.name);
        let (first, bit) = (cases.below(1 << 10) as u32, cases.below(4) as u32);
        let values = cases.noise(rows * classes);
        let x = form.backend.tensor(rows, classes, &values)?;
        let mut y = poisoned(&mut form.backend, networks * rows, classes)?;
        form.backend.run(Subnetworks { x: &x, y: &mut y, rows, first, bit, scale: 1.25 })?;
        let kept = |row: usize, col: usize| {
            (u64::from(first) + (row / rows) as u64) >> (bit as usize + col) & 1 == 1
        };
        let element = |i: usize| {
            let (row, col) = (i / classes, i % classes);
            if kept(row, col) { values[row % rows * classes + col] * 1.25 } else { 0.0 }
        };
        let right: Vec<f32> = (0..networks * rows * classes).map(element).collect();
        tally.compare(same_bits(&format!("{what}, masks"), &form.backend.read(&y)?, &right));

        let logits: Vec<f32> =
            cases.noise(networks * rows * classes).iter().map(|z| 4.0 * z).collect();
        let weights: Vec<f32> = (0..networks).map(|_| 1.0 + cases.below(3) as f32).collect();
        let on_device = form.backend.tensor(networks, 1, &weights)?;
        let mut moments = poisoned(&mut form.backend, rows, 2 * classes + 1)?;
        let mut before = 0.0;
        for (i, some) in logits.chunks(per_dispatch * rows * classes).enumerate() {
            let mut some = form.backend.tensor(some.len() / classes, classes, some)?;
            let (first, weights) = (i * per_dispatch, &weights[i * per_dispatch..]);
            let call = Moments {
                logits: &mut some,
                weights: &on_device,
                first,
                before,
                moments: &mut moments,
            };
            form.backend.run(call)?;
            before += weights.iter().take(per_dispatch).sum::<f32>();
        }
        let wide: Vec<f64> = weights.iter().copied().map(f64::from).collect();
        let exact = oracle::moments(&logits, &wide, rows, classes);
        let chain = (per_dispatch + networks.div_ceil(per_dispatch) + 4) as f64 * epsilon;
        let bound = (3 * classes + 8) as f64 * epsilon + 8.0 * chain;
        let got = form.backend.read(&moments)?;
        for (part, factor) in [
            (0..classes, 1.0),
            (classes..2 * classes, 4.0 * f64::from(before)),
            (2 * classes..2 * classes + 1, 4.0),
        ] {
            let cut = |row: usize| {
                row * (2 * classes + 1) + part.start..row * (2 * classes + 1) + part.end
            };
            let got: Vec<f32> = (0..rows).flat_map(|row| got[cut(row)].to_vec()).collect();
            let exact: Vec<f64> = (0..rows).flat_map(|row| exact[cut(row)].to_vec()).collect();
            tally.compare(within(
                &format!("{what}, moments from {}", part.start),
                &got,
                &exact,
                |_| factor * bound + 1.0 / 2_097_152.0,
            ));
        }
    }
    Ok(())
}
