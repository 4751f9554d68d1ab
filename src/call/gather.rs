//! The call of `gather`.

use super::{Call, DevicePlace, HostPlace, Place, check_dropout};
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{
    Params, Plan, Planner, Stem, Variant, Work, check_tensors, own, read, windows, write,
};
use crate::rules::range::{UNIT, range};
use crate::shape::{Matrix, expect};
use crate::{Dropout, Error, Result};

/// Features of a data set on a device. Bytes stay bytes until a mini-batch is gathered.
#[derive(Debug, Clone, Copy)]
pub enum Features<V, T> {
    /// `[N, I]` bytes, such as pixels.
    Bytes(V),
    /// `[N, I]` floats.
    Floats(T),
}

impl<V: Matrix, T: Matrix> Matrix for Features<V, T> {
    fn rows(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.rows(),
            Self::Floats(floats) => floats.rows(),
        }
    }

    fn cols(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.cols(),
            Self::Floats(floats) => floats.cols(),
        }
    }
}

/// Gathers a mini-batch with its labels: `X[r] = M·s·(unit·data[order[first + r]])` and
/// `labels[r] = all_labels[order[first + r]]`.
///
/// Every entry of `order` must be the number of a row of the data. Any other entry gives a row of
/// unspecified values, never an access out of bounds.
pub struct Gather<P: Place> {
    /// Data, `[N, I]`.
    pub data: Features<P::In<u8>, P::In<f32>>,
    /// Labels of all rows of the data, `[N, 1]`.
    pub all_labels: P::In<u32>,
    /// `[any, 1]`: rows of the data in the order in which they are visited.
    pub order: P::In<u32>,
    /// Position in `order` at which this mini-batch starts.
    pub first: usize,
    #[doc = concat!("Factor of every feature: ", range!(UNIT), ", such as 1/255 for image bytes.")]
    pub unit: f32,
    /// `X [B, I]`, written.
    pub x: P::Out<f32>,
    /// Labels of the mini-batch, `[B, 1]`, written.
    pub labels: P::Out<u32>,
    /// Dropout of the input.
    pub dropout: Dropout,
}

/// Flag: this dispatch copies the labels too.
const LABELS: u32 = 1;

own! {
    /// Own words: the mini-batch's first row of the order; the rows of the data that this dispatch
    /// sees; the unit; flags.
    GatherOwn {
        first: u32,
        window: u32,
        count: u32,
        unit: f32,
        flags: u32,
    }
}

impl<P: Place> Call<P> for Gather<P> {
    fn check(&self) -> Result<()> {
        let (rows, cols) = (self.x.rows(), self.data.cols());
        expect("gather", "x", &self.x, rows, cols)?;
        expect("gather", "labels", &self.labels, rows, 1)?;
        expect("gather", "all_labels", &self.all_labels, self.data.rows(), 1)?;
        if self.first.checked_add(rows).is_none_or(|end| end > self.order.rows()) {
            let what = format!("rows {}..+{rows} of an order of {}", self.first, self.order.rows());
            return Err(Error::shape("gather", what));
        }
        UNIT.check(self.unit)?;
        check_dropout(&self.dropout, rows, cols)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        self.check()?;
        let stem = Stem::Gather;
        let (data, element) = match &self.data {
            Features::Bytes(bytes) => (P::read_as::<u8>(bytes), 1),
            Features::Floats(floats) => (P::read(floats), 4),
        };
        let order = P::read_as::<u32>(&self.order);
        let all_labels = P::read_as::<u32>(&self.all_labels);
        let (x, labels) = (P::written(&self.x), P::written_as::<u32>(&self.labels));
        check_tensors(
            stem,
            &[
                read("data", data).packed().of_bytes(element),
                read("order", order).packed(),
                read("all_labels", all_labels).packed(),
                write("x", x).packed(),
                write("labels", labels).packed(),
            ],
        )?;
        let batch = x.rows as u64;
        let order = planner.whole("order", order)?;
        let all_labels = planner.whole("all_labels", all_labels)?;
        let labels = planner.whole("labels", labels)?;
        let x = planner.whole("x", x)?;
        // Features and labels together bind one tensor more than some devices allow.
        let variant = planner.bindable(Variant::new(stem).with_if("BYTES", element == 1));
        let apart = variant.is("BOUND", "few");
        let most = planner.rows_per_binding("data", data.cols, element)?;
        let mut plan = Vec::new();
        for (from, count) in windows(data.rows, most) {
            let tensors =
                &[planner.window(data, element, from, count), order, all_labels, x, labels];
            let own = GatherOwn {
                first: self.first as u32,
                window: from as u32,
                count: count as u32,
                unit: self.unit,
                flags: if from == 0 { LABELS } else { 0 },
            };
            if apart && from == 0 {
                let work = Work {
                    variant: variant.with("BOUND", "labels"),
                    tensors,
                    params: Params::of(batch as usize, 0),
                    own,
                    loops: 0,
                };
                plan.extend(planner.dispatch(work, batch.div_ceil(64))?);
            }
            let params = Params::of(batch as usize, data.cols);
            let work = Work {
                variant,
                tensors,
                params: params.with_dropout(&self.dropout, 0, 0),
                own,
                loops: 0,
            };
            // Rows without features still have labels.
            let strips = batch * data.cols.div_ceil(8).max(1) as u64;
            plan.extend(planner.dispatch(work, strips.div_ceil(64))?);
        }
        Ok(plan)
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let (rows, cols, unit) = (self.x.rows(), self.data.cols(), self.unit);
        let order = &P::values_as::<u32>(&self.order)[self.first..self.first + rows];
        let all = P::values_as::<u32>(&self.all_labels);
        let x = P::values_mut(&mut self.x);
        let labels = P::values_mut_as::<u32>(&mut self.labels);
        let dropout = &self.dropout;
        let (byte, float) = (|byte: u8| f32::from(byte) * unit, |float: f32| float * unit);
        match (&self.data, isa) {
            (Features::Bytes(data), Some(isa)) => {
                let data = P::values_as::<u8>(data);
                fast::gather(isa, data, byte, all, order, x, labels, cols, dropout);
            }
            (Features::Floats(data), Some(isa)) => {
                let data = P::values(data);
                fast::gather(isa, data, float, all, order, x, labels, cols, dropout);
            }
            (Features::Bytes(data), None) => {
                let data = P::values_as::<u8>(data);
                reference::gather(data, byte, all, order, x, labels, cols, dropout);
            }
            (Features::Floats(data), None) => {
                let data = P::values(data);
                reference::gather(data, float, all, order, x, labels, cols, dropout);
            }
        }
    }
}
