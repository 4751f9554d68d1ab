//! Names and sources of the kernels.

/// Declares [`Stem`] from the names of the kernels' files in `shaders/`.
macro_rules! stems {
    ($($stem:ident = $name:literal,)*) => {
        /// Kernel, named after its file in `shaders/`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs)]
        pub enum Stem {
            $($stem,)*
        }

        impl Stem {
            /// Every kernel.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$stem),*];

            /// Returns the file's name without `.wgsl`.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$stem => $name,)*
                }
            }

            /// Returns the file's text.
            pub(super) fn file(self) -> &'static str {
                match self {
                    $(Self::$stem => include_str!(concat!("../../shaders/", $name, ".wgsl")),)*
                }
            }
        }
    };
}

stems! {
    ActivationGrad = "activation_grad",
    Adamw = "adamw",
    AlphaDropout = "alpha_dropout",
    Attention = "attention",
    AttentionGrad = "attention_grad",
    AttentionSlopes = "attention_slopes",
    AttentionWeights = "attention_weights",
    BatchLoss = "batch_loss",
    BatchNorm = "batch_norm",
    BatchNormGrad = "batch_norm_grad",
    BatchStatistics = "batch_statistics",
    Copy = "copy",
    Dropout = "dropout",
    DropoutBits = "dropout_bits",
    DropoutBroadcast = "dropout_broadcast",
    Gather = "gather",
    GaussianDropout = "gaussian_dropout",
    GradInput = "grad_input",
    GradWeight = "grad_weight",
    GradWeightSgd = "grad_weight_sgd",
    LayerNorm = "layer_norm",
    LinearActivation = "linear_activation",
    LinearForward = "linear_forward",
    MaskBits = "mask_bits",
    MaskBytes = "mask_bytes",
    Moments = "moments",
    Patches = "patches",
    PatchesGrad = "patches_grad",
    PhiloxWords = "philox_words",
    Pool = "pool",
    PoolGrad = "pool_grad",
    Sgd = "sgd",
    SoftmaxCrossEntropy = "softmax_cross_entropy",
    SparsityGrad = "sparsity_grad",
    SquaredError = "squared_error",
    Subnetworks = "subnetworks",
}
