//! A data set in the device's memory, from which mini-batches are gathered.

use crate::backend::Backend;
use crate::call::Features;
use crate::{Error, Matrix, Result};

/// Features on the host. Bytes stay bytes until a mini-batch is gathered.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Bytes, such as pixels.
    Bytes(&'a [u8]),
    /// Floats.
    Floats(&'a [f32]),
}

#[derive(Debug)]
enum Stored<B: Backend> {
    Bytes(B::Tensor<u8>),
    Floats(B::Tensor<f32>),
}

/// Rows of features with their labels, on a device.
#[derive(Debug)]
pub struct Resident<B: Backend> {
    features: Stored<B>,
    pub(super) labels: B::Tensor<u32>,
    /// The rows in order, `0, 1, 2, …`.
    pub(super) order: B::Tensor<u32>,
    pub(super) unit: f32,
}

impl<B: Backend> Resident<B> {
    /// Uploads `labels.len()` rows of `cols` features each. Every feature is multiplied by `unit`
    /// when it is gathered (1/255 for image bytes).
    ///
    /// # Errors
    /// [`Error::Shape`] if features and labels differ in their number of rows; [`Error::TooLarge`]
    /// for 2³² rows or more; errors of the device.
    pub fn new(
        backend: &mut B,
        source: Source<'_>,
        cols: usize,
        unit: f32,
        labels: &[u32],
    ) -> Result<Self> {
        let rows = labels.len();
        if u32::try_from(rows).is_err() {
            return Err(Error::TooLarge {
                what: "rows of a data set".to_owned(),
                value: rows as u64,
                bound: u64::from(u32::MAX),
            });
        }
        let features = match source {
            Source::Bytes(bytes) => Stored::Bytes(backend.tensor(rows, cols, bytes)?),
            Source::Floats(floats) => Stored::Floats(backend.tensor(rows, cols, floats)?),
        };
        let order: Vec<u32> = (0..rows as u32).collect();
        let labels = backend.tensor(rows, 1, labels)?;
        let order = backend.tensor(rows, 1, &order)?;
        Ok(Self { features, labels, order, unit })
    }

    /// Overwrites the rows with the same number of others.
    pub(super) fn rewrite(
        &mut self,
        backend: &mut B,
        floats: &[f32],
        labels: &[u32],
    ) -> Result<()> {
        if let Stored::Floats(tensor) = &mut self.features {
            backend.write(tensor, floats)?;
        }
        backend.write(&mut self.labels, labels)
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.labels.rows()
    }

    /// Returns the labels, `[rows, 1]`.
    pub fn labels(&self) -> &B::Tensor<u32> {
        &self.labels
    }

    /// Returns the number of features per row.
    pub fn cols(&self) -> usize {
        self.features().cols()
    }

    /// Returns the features, as [`Gather`](crate::call::Gather) takes them.
    pub fn features(&self) -> Features<&B::Tensor<u8>, &B::Tensor<f32>> {
        match &self.features {
            Stored::Bytes(bytes) => Features::Bytes(bytes),
            Stored::Floats(floats) => Features::Floats(floats),
        }
    }
}
