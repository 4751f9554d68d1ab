//! Checks `dropout_broadcast` over rows with gaps against the f64 oracle. Only the buffers of a
//! caller's own device have such rows, so the check is the GPU's alone.

use super::check::{Check, Tally};
use super::form::{Form, submit};
use super::random::Cases;
use crate::call::DropoutBroadcast;
use crate::gpu::{Gpu, View};
use crate::{AxisMap, Backend, Dropout, Mask, Mode, Rate, Result, oracle};

/// Columns of a row, and the elements between the starts of two rows of `x` and of `y`: single
/// elements, vectors of four, vectors of eight.
const ROWS: [(usize, [usize; 2]); 3] = [(10, [13, 11]), (12, [16, 20]), (16, [24, 32])];
/// Tensor of the axes. No axis has the matrix's columns, so each element finds its own place.
const SHAPE: [usize; 3] = [8, 5, 6];

/// Checks each form with a draw per element, per sample and per channel. What lies in the gaps of
/// the output must stay there.
pub(super) fn against_oracle(forms: &mut [Form<Gpu>], seed: u64) -> Result<Check> {
    let mut tally = Tally::new("oracle: dropout_broadcast over rows with gaps");
    let mut cases = Cases::new(seed, 10);
    let maps = [
        AxisMap::new(&SHAPE, &[0, 1], &[2])?,
        AxisMap::drop_path(&SHAPE)?,
        AxisMap::new(&SHAPE, &[0], &[1])?,
    ];
    for form in forms {
        for ((cols, strides), axes) in
            ROWS.iter().flat_map(|row| maps.iter().map(move |map| (*row, map)))
        {
            let rows = axes.elements() / cols;
            let mask = Mask::new(Rate::keep(0.6)?, cases.key()).at(cases.below(1 << 31), 3);
            let dropout = Dropout::train(Mode::Inverted, mask);
            let values = cases.noise(rows * strides[0]);
            let poison = vec![f32::NAN; rows * strides[1]];
            let gpu = &mut form.backend;
            let x = gpu.tensor(rows, strides[0], &values)?;
            let y = gpu.tensor(rows, strides[1], &poison)?;
            gpu.wait()?;
            let [from, to] = [&x, &y].map(|tensor| View { cols, ..tensor.view() });
            let call =
                gpu.kernels().prepare(&DropoutBroadcast { x: from, y: to, axes, dropout })?;
            submit(gpu, &[call]);
            let got = gpu.read(&y)?;
            let packed = |values: &[f32], stride: usize| -> Vec<f32> {
                values.chunks(stride).flat_map(|row| &row[..cols]).copied().collect()
            };
            let what = format!("{}: {rows}×{cols} of {axes:?}, {mask:?}", form.name);
            let exact = oracle::dropout_broadcast(&packed(&values, strides[0]), axes, &dropout);
            tally.compare(exact.check(&what, &packed(&got, strides[1])));
            let kept = got.chunks(strides[1]).all(|row| row[cols..].iter().all(|x| x.is_nan()));
            tally.case((!kept).then(|| format!("{what}: a gap was written")));
        }
    }
    Ok(tally.finish("within 2·(terms + 2)·ε of each value"))
}
