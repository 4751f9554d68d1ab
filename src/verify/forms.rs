//! Checks the other forms of dropout against the f64 oracle, and the mask as bytes against the
//! contract.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use crate::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, GaussianDropoutCall, MaskBits, MaskBytes,
};
use crate::{
    AlphaDropout, AxisMap, Backend, Dropout, GaussianDropout, Mask, Mode, Rate, Result, oracle,
};

/// One row and several, ragged and in whole vectors, and larger than a weak form's binding.
const SHAPES: [(usize, usize); 7] =
    [(1, 13), (1, 12), (1, 64), (7, 13), (9, 12), (9, 64), (3, 20_001)];
/// Keep rates, each with a column offset.
const RATES: [(f64, u64); 3] = [(0.7, 0), (0.4, 11), (0.0, 3)];

/// Checks every shape as a tensor with a mask per element, and as one whose columns share a draw.
pub(super) fn forms<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    for (rows, cols) in SHAPES {
        let values = cases.noise(rows * cols);
        let x = form.backend.tensor(rows, cols, &values)?;
        for (keep, col) in RATES {
            let mask = Mask::new(Rate::keep(keep)?, cases.key()).at(cases.below(1 << 31), col);
            let what = format!("{}: {rows}×{cols} {mask:?}", form.name);
            // Once the mask has the tensor's columns; once all columns of a row share one draw.
            for axes in
                [AxisMap::new(&[rows, cols], &[0], &[1])?, AxisMap::drop_path(&[rows, cols])?]
            {
                let dropout = Dropout::train(Mode::Inverted, mask);
                let mut y = poisoned(&mut form.backend, rows, cols)?;
                form.backend.run(DropoutBroadcast { x: &x, y: &mut y, axes: &axes, dropout })?;
                let exact = oracle::dropout_broadcast(&values, &axes, &dropout);
                tally.compare(
                    exact.check(&format!("dropout_broadcast, {what}"), &form.backend.read(&y)?),
                );
            }

            let (mut y, scale) = (poisoned(&mut form.backend, rows, cols)?, 0.3);
            let mut bits = form.backend.zeros(rows, cols.div_ceil(32))?;
            form.backend.run(MaskBits { bits: &mut bits, cols, mask })?;
            form.backend.run(DropoutBits { x: &x, bits: &bits, y: &mut y, scale })?;
            let right = mask.bytes(rows, cols)?;
            let exact = oracle::dropout_bytes(&values, &right, scale);
            tally.compare(exact.check(&format!("dropout_bits, {what}"), &form.backend.read(&y)?));

            let mut bytes = form.backend.tensor(rows, cols, &vec![7u8; rows * cols])?;
            form.backend.run(MaskBytes { bytes: &mut bytes, mask })?;
            tally.case(
                (form.backend.read(&bytes)? != right)
                    .then(|| format!("mask_bytes, {what}: bytes differ")),
            );

            let dropout = AlphaDropout::train(mask);
            let mut y = poisoned(&mut form.backend, rows, cols)?;
            form.backend.run(AlphaDropoutCall { x: &x, y: &mut y, dropout })?;
            let exact = oracle::alpha_dropout(&values, cols, &dropout);
            tally.compare(exact.check(&format!("alpha_dropout, {what}"), &form.backend.read(&y)?));

            if let Ok(dropout) = GaussianDropout::train(mask) {
                let mut y = poisoned(&mut form.backend, rows, cols)?;
                form.backend.run(GaussianDropoutCall { x: &x, y: &mut y, dropout })?;
                let exact = oracle::gaussian_dropout(&values, cols, &dropout);
                tally.compare(
                    exact.check(&format!("gaussian_dropout, {what}"), &form.backend.read(&y)?),
                );
            }
        }
    }
    Ok(())
}
