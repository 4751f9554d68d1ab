//! Calls of the kernels: one struct a kernel, the same for the CPU, a [`Gpu`](crate::gpu::Gpu) and
//! a caller's own device.
//!
//! Each struct's page gives the kernel's equation, shapes and source. A backend
//! [runs](crate::Backend::run) a call on its tensors; [`Kernels`](crate::gpu::Kernels)
//! [prepare](crate::gpu::Kernels::prepare) it for [`View`](crate::gpu::View)s of a caller's
//! buffers.
//!
//! Row-major. `X [B, I]`, `W [I, O]`, `b [1, O]`, `Y, dY [B, O]`, `M` the mask, `s` the scale of
//! its [`Dropout`]. Every call is checked before a device sees it: a shape that
//! does not fit is an [`Error::Shape`](crate::Error::Shape) that names both sizes.

mod fused;
mod place;
mod unfused;

pub use crate::rules::{
    Activation, AdamWRule, AttentionRule, Dropped, Filter, Image, Pool, Pooling, Reach, Sequence,
    Sequences, SgdRule,
};
pub use place::{DevicePlace, Element, HostPlace, Place, Views};

use crate::cpu::fast::Isa;
use crate::plan::{Plan, Planner};
use crate::rules::range::SCALE;
use crate::{Dropout, Result};

/// Declares a module for each kernel and re-exports its call.
macro_rules! calls {
    ($($stem:ident: $($item:ident)*,)*) => {
        $(mod $stem;)*
        $(pub use $stem::{$($item),*};)*
    };
}

calls! {
    activation_grad: ActivationGrad,
    adamw: AdamW,
    alpha_dropout: AlphaDropoutCall,
    attention: Attention,
    attention_grad: AttentionGrad,
    batch_loss: BatchLoss,
    batch_norm: BatchNorm EPSILON,
    batch_norm_grad: BatchNormGrad,
    batch_statistics: BatchStatistics,
    copy: CopyCall,
    dropout: DropoutCall,
    dropout_bits: DropoutBits,
    dropout_broadcast: DropoutBroadcast,
    gather: Features Gather,
    gaussian_dropout: GaussianDropoutCall,
    grad_input: GradInput,
    grad_weight: GradWeight,
    grad_weight_sgd: GradWeightSgd,
    layer_norm: LayerNorm,
    linear_activation: LinearActivation,
    linear_forward: LinearForward,
    mask_bits: MaskBits,
    mask_bytes: MaskBytes,
    moments: Moments,
    patches: Patches,
    patches_grad: PatchesGrad,
    philox_words: PhiloxWords,
    pool: PoolCall,
    pool_grad: PoolGrad,
    sgd: Sgd,
    softmax_cross_entropy: SoftmaxCrossEntropy,
    sparsity_grad: SparsityGrad,
    squared_error: SquaredError,
    subnetworks: Subnetworks,
}

/// Kernel with its tensors at a [`Place`].
///
/// The structs of this module implement it for every place. A device plans a call and records the
/// dispatches; the CPU computes it. Only the library's backends use those methods, so this page
/// leaves them out.
pub trait Call<P: Place>: Sized {
    /// Refuses shapes and settings that do not fit one another.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) for shapes, [`Error::Invalid`](crate::Error::Invalid)
    /// for settings, [`Error::TooLarge`](crate::Error::TooLarge) past the mask contract's
    /// coordinates.
    fn check(&self) -> Result<()>;

    /// Returns the dispatches that compute a call on a device.
    ///
    /// # Errors
    /// Those of [`check`](Self::check); [`Error::Buffer`](crate::Error::Buffer) for a tensor that
    /// the kernel cannot bind; [`Error::Limit`](crate::Error::Limit) past what the device holds.
    #[doc(hidden)]
    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace;

    /// Computes a call that was checked, on an instruction set, or by the reference if there is
    /// none.
    #[doc(hidden)]
    fn compute(self, isa: Option<Isa>)
    where
        P: HostPlace;

    /// Returns the bytes of masks that the call writes to memory.
    #[doc(hidden)]
    fn mask_bytes(&self) -> u64 {
        0
    }
}

/// Checks a dropout site of a `rows × cols` tensor: its coordinates and its scale.
pub(crate) fn check_dropout(dropout: &Dropout, rows: usize, cols: usize) -> Result<()> {
    SCALE.check(dropout.scale)?;
    Ok(dropout.mask.check(rows, cols)?)
}

/// Checks the scale of the dropout that a gradient also passes back through, if it does.
fn check_through(scale: Option<f32>) -> Result<()> {
    scale.map_or(Ok(()), |scale| SCALE.check(scale))
}

/// Returns the flag `THROUGH` of the backward kernels' shaders if the gradient also passes the ReLU
/// and dropout before, else 0.
fn through_flag<T>(through: &Option<T>) -> u32 {
    if through.is_some() { 2 } else { 0 }
}
