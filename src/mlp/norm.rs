//! Batch normalization of one layer, with the running statistics that prediction uses.

use super::optimizer::Update;
use super::training::Training;
use crate::backend::Backend;
use crate::shape::Matrix;
use crate::{Error, Result};

/// Place of batch normalization in a hidden layer.
///
/// | place | layer | source |
/// |---|---|---|
/// | `Before` | affine – normalization – ReLU – dropout | Ioffe, Szegedy, ICML 2015, section 3.2 |
/// | `After` | affine – ReLU – dropout – normalization | the order against which Li et al., "Understanding the disharmony between dropout and batch normalization by variance shift", CVPR 2019, warn: dropout changes the variance in training but not in prediction |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BatchNormPlace {
    /// Before ReLU and dropout.
    Before,
    /// After both.
    After,
}

impl std::fmt::Display for BatchNormPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
        })
    }
}

impl std::str::FromStr for BatchNormPlace {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "before" => Ok(Self::Before),
            "after" => Ok(Self::After),
            _ => Err(Error::invalid(format!(
                "batch normalization `{text}`: must be before or after"
            ))),
        }
    }
}

/// Normalization parameters of a hidden layer, one number per unit; named as in PyTorch.
#[derive(Debug, Clone, PartialEq)]
pub struct NormParameters {
    /// γ
    pub weight: Vec<f32>,
    /// β
    pub bias: Vec<f32>,
    /// Mean that prediction subtracts.
    pub running_mean: Vec<f32>,
    /// Variance by whose root prediction divides.
    pub running_var: Vec<f32>,
}

/// Fraction by which the running statistics move towards those of a mini-batch, as in PyTorch.
pub(super) const MOMENTUM: f32 = 0.1;

/// Normalization of a layer; all tensors are `[2, units]`.
#[derive(Debug)]
pub(super) struct Norm<B: Backend> {
    pub place: BatchNormPlace,
    /// γ, then β.
    pub affine: B::Tensor<f32>,
    /// Running means, then running variances.
    pub running: B::Tensor<f32>,
    /// Means, then variances, of the latest mini-batch.
    pub statistics: B::Tensor<f32>,
    /// dγ, then dβ.
    pub grad: B::Tensor<f32>,
    /// Moments of γ and β; allocated by the first step that needs them.
    pub first: Option<B::Tensor<f32>>,
    pub second: Option<B::Tensor<f32>>,
}

impl<B: Backend> Norm<B> {
    /// Creates a normalization with γ = 1, β = 0, running means 0 and running variances 1.
    pub fn new(backend: &mut B, units: usize, place: BatchNormPlace) -> Result<Self> {
        let rows = |first: f32, second: f32| [vec![first; units], vec![second; units]].concat();
        Ok(Self {
            place,
            affine: backend.tensor(2, units, &rows(1.0, 0.0))?,
            running: backend.tensor(2, units, &rows(0.0, 1.0))?,
            statistics: backend.zeros(2, units)?,
            grad: backend.zeros(2, units)?,
            first: None,
            second: None,
        })
    }

    /// Allocates the moments that training needs.
    pub fn prepare(&mut self, backend: &mut B, training: &Training) -> Result<()> {
        let units = self.affine.cols();
        let [first, second] = training.moments();
        if first && self.first.is_none() {
            self.first = Some(backend.zeros(2, units)?);
        }
        if second && self.second.is_none() {
            self.second = Some(backend.zeros(2, units)?);
        }
        Ok(())
    }

    /// Updates γ and β by their gradient.
    pub fn apply(&mut self, backend: &mut B, update: &Update) -> Result<()> {
        let Self { affine, grad, first, second, .. } = self;
        update.for_bias().apply(backend, grad, affine, first.as_mut(), second.as_mut())
    }
}
