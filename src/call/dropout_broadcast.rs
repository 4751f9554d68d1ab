//! The call of `dropout_broadcast`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::mask::GROUP;
use crate::plan::{Params, Plan, Planner, Stem, Strips, Variant, View, own, strips_own};
use crate::shape::{Matrix, expect};
use crate::{AxisMap, Dropout, Error, Result};

/// Dropout with a broadcast mask: `y = M·s·x`.
///
/// An element of `x` is kept if the mask keeps the `(row, col)` to which its [`AxisMap`] maps it.
/// Applied to `dy`, the same call is its own backward pass.
///
/// Source: the mask contract, [`crate::mask`]; [`AxisMap`] names the source of each broadcast.
pub struct DropoutBroadcast<'a, P: Place> {
    /// Input: a matrix with as many elements as the map's tensor, in the same order. If its rows
    /// have gaps, it is fastest if its columns are the map's last axis.
    pub x: P::In<f32>,
    /// Output, the input's shape.
    pub y: P::Out<f32>,
    /// Axes that feed the mask's rows and columns.
    pub axes: &'a AxisMap,
    /// Mask and scale. The mask's offsets count rows and columns of the map.
    pub dropout: Dropout,
}

own! {
    /// Own words: the strip that the dispatch starts at, the sizes of the second and third run of
    /// axes, how far row and column get with a step along each run, the columns of the last run,
    /// and the one that the dispatch starts at.
    BroadcastOwn {
        across_log2: u32,
        first: u32,
        size_1: u32,
        size_2: u32,
        row_0: u32,
        row_1: u32,
        row_2: u32,
        col_0: u32,
        col_1: u32,
        col_2: u32,
        run: u32,
        first_col: u32,
    }
}
strips_own!(BroadcastOwn);

/// Most columns of the last run if each element finds its own place: a column and the elements of a
/// binding are counted in one 32-bit number.
const MOST_COLUMNS: usize = 1 << 31;

impl<P: Place> Call<P> for DropoutBroadcast<'_, P> {
    fn check(&self) -> Result<()> {
        let (kernel, rows, cols) = ("dropout_broadcast", self.x.rows(), self.x.cols());
        if rows.checked_mul(cols) != Some(self.axes.elements()) {
            return Err(Error::shape(
                kernel,
                format!("x is {rows}×{cols}, expected the elements of {:?}", self.axes.shape()),
            ));
        }
        expect(kernel, "y", &self.y, rows, cols)?;
        check_dropout(&self.dropout, self.axes.rows(), self.axes.cols())
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let strips = *self.axes.strips();
        let (bound, rows) = (u64::from(u32::MAX), strips.rows as u64);
        if rows > bound {
            let what = "strips of a broadcast mask".to_owned();
            return Err(Error::TooLarge { what, value: rows, bound });
        }
        let (x, y) = (P::read(&self.x), P::written(&self.y));
        for (view, tensor) in [(x, "x"), (y, "y")] {
            view.check("dropout_broadcast", tensor, 4)?;
        }
        // Without gaps, any matrix can be seen as the map's. With gaps, it is the map's or not.
        let packed = x.is_packed() && y.is_packed();
        let free = !packed && x.cols != strips.cols;
        if free && strips.cols > MOST_COLUMNS {
            let what = "last axis of a broadcast mask over rows with gaps".to_owned();
            let (value, bound) = (strips.cols as u64, MOST_COLUMNS as u64);
            return Err(Error::TooLarge { what, value, bound });
        }
        let matrix = |view: View<'p>| match packed {
            true => View { rows: strips.rows, cols: strips.cols, stride: strips.cols, ..view },
            false => view,
        };
        let (x, y) = (matrix(x), matrix(y));
        let [first, second, third] = strips.runs;
        let params = |row: usize, col: usize| {
            // A strip and a column of it, if each element finds its own.
            let number = row * x.cols + col;
            let (row, first_col) =
                if free { (number / strips.cols, number % strips.cols) } else { (row, 0) };
            let own = BroadcastOwn {
                across_log2: 0,
                first: row as u32,
                size_1: second.size as u32,
                size_2: third.size as u32,
                row_0: first.row as u32,
                row_1: second.row as u32,
                row_2: third.row as u32,
                col_0: first.col as u32,
                col_1: second.col as u32,
                col_2: third.col as u32,
                run: strips.cols as u32,
                first_col: first_col as u32,
            };
            let col = if strips.along && !free { col } else { 0 };
            (Params::default().with_dropout(&self.dropout, 0, col), own)
        };
        let whole_groups = strips.runs.iter().all(|run| (run.col as u64).is_multiple_of(GROUP));
        let variant = Variant::new(Stem::DropoutBroadcast)
            .with_if("GROUPED", strips.along && whole_groups && !free)
            .with_if("ONE_DRAW", !strips.along)
            .with_if("FREE", free);
        planner.strips(&Strips { variant, x, beside: None, y, params: &params })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(isa) => fast::dropout_broadcast(isa, x, y, self.axes, &self.dropout),
            None => reference::dropout_broadcast(x, y, self.axes, &self.dropout),
        }
    }
}
