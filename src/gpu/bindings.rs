//! Which of a kernel's tensors a form of it binds. What a form never touches it leaves out; where a
//! device binds fewer storage buffers than a kernel has tensors, dispatches share the work, each
//! with those that it can bind.

use super::stem::Stem;
use super::variant::{Gate, Variant};

/// Which of its tensors a dispatch binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Bound {
    /// All that the call may touch.
    All,
    /// No more than four. `grad_input` behind ReLU leaves what comes after its sum to a second
    /// dispatch, and so does `linear_activation`, whose residual lies in `y` by then; the
    /// kernels of weights and biases take the ones without the others; `gather` takes features
    /// alone.
    Few,
    /// `gather` only: labels alone.
    Labels,
}

/// A tensor that a form leaves out: its binding and name, and the tensor that takes its place in
/// the text.
pub(super) struct LeftOut {
    binding: usize,
    name: &'static str,
    instead: &'static str,
}

const fn leave(binding: usize, name: &'static str, instead: &'static str) -> LeftOut {
    LeftOut { binding, name, instead }
}

impl Variant {
    /// The tensors that are left out, the last binding first.
    fn left_out(&self) -> &'static [LeftOut] {
        let few = self.bound == Bound::Few;
        match self.stem {
            _ if self.in_place => const { &[leave(0, "x", "y")] },
            Stem::GradInput | Stem::GradWeight if self.gate != Gate::Relu => {
                const { &[leave(2, "output", "grad_output")] }
            }
            Stem::GradInput if few => const { &[leave(3, "x", "output")] },
            // Both are numbers one by one there.
            Stem::GradWeight if few => const { &[leave(4, "grad_bias", "grad_weight")] },
            Stem::GradWeightSgd if few => {
                const { &[leave(5, "bias_velocities", "weight_velocities"), leave(3, "bias", "weight")] }
            }
            Stem::LinearActivation if few => {
                const { &[leave(3, "residual", "x"), leave(1, "weight", "x")] }
            }
            Stem::Gather if few => const { &[leave(2, "all_labels", "order")] },
            Stem::Gather if self.bound == Bound::Labels => const { &[leave(0, "data", "order")] },
            _ => &[],
        }
    }

    /// What is bound of something that goes with each of the kernel's tensors, in order.
    pub(super) fn bound_of<T: Copy>(&self, all: &[T]) -> Vec<T> {
        let left_out = self.left_out();
        let bound = |binding: &usize| left_out.iter().all(|tensor| tensor.binding != *binding);
        (0..all.len()).filter(bound).map(|binding| all[binding]).collect()
    }

    /// Storage buffers that the form binds.
    pub fn tensors(&self) -> usize {
        self.writes().len()
    }

    /// A part of the text without what is left out.
    pub(super) fn without_left_out(&self, text: String) -> String {
        self.left_out().iter().fold(text, |text, tensor| tensor.leave_out(&text))
    }

    /// Which of the bindings in group 0 are written, in order. Under [`shared`](Self::shared) all
    /// are bound so.
    pub(super) fn writes(&self) -> Vec<bool> {
        let all: &[bool] = match self.stem {
            Stem::BatchLoss | Stem::Copy | Stem::Dropout | Stem::PhiloxWords => &[false, true],
            Stem::Patches | Stem::Pool | Stem::SparsityGrad => &[false, true],
            Stem::PatchesGrad | Stem::PoolGrad => &[false, false, true],
            Stem::Moments => &[false, true, true],
            Stem::AlphaDropout
            | Stem::DropoutBroadcast
            | Stem::GaussianDropout
            | Stem::Subnetworks => &[false, true],
            Stem::ActivationGrad | Stem::DropoutBits => &[false, false, true],
            Stem::MaskBits | Stem::MaskBytes => &[true],
            Stem::LinearActivation => &[false, false, false, false, true, true],
            Stem::LinearForward => &[false, false, false, true],
            Stem::GradInput => &[false, false, false, false, true],
            Stem::GradWeight | Stem::Gather => &[false, false, false, true, true],
            Stem::GradWeightSgd if self.momentum => &[false, false, true, true, true, true],
            Stem::GradWeightSgd | Stem::SoftmaxCrossEntropy | Stem::SquaredError => {
                &[false, false, true, true]
            }
            Stem::Adamw => &[false, true, true, true],
            Stem::BatchNorm | Stem::BatchNormGrad => &[false, false, false, true],
            Stem::BatchStatistics => &[false, true, true],
            Stem::Sgd if self.momentum => &[false, true, true],
            Stem::Sgd => &[false, true],
        };
        self.bound_of(all)
    }
}

impl LeftOut {
    /// The text without the tensor: the bindings behind it move up, and where it is named the other
    /// one stands.
    fn leave_out(&self, text: &str) -> String {
        let declared = format!("> {}: array<", self.name);
        let lines = text
            .lines()
            .filter(|line| !(line.starts_with("@group(0)") && line.contains(&declared)));
        lines.map(|line| self.moved(line).unwrap_or_else(|| self.renamed(line)) + "\n").collect()
    }

    /// The declaration of a tensor behind it.
    fn moved(&self, line: &str) -> Option<String> {
        let (binding, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(')')?;
        let binding = binding.parse::<usize>().ok()?;
        Some(format!(
            "@group(0) @binding({}){rest}",
            if binding > self.binding { binding - 1 } else { binding }
        ))
    }

    fn renamed(&self, line: &str) -> String {
        let Self { name, instead, .. } = self;
        if let Some(accessor) = line.strip_prefix("// loader ").or(line.strip_prefix("// storer "))
        {
            let words = accessor
                .split(' ')
                .enumerate()
                .map(|(i, word)| if i == 1 && word == *name { instead } else { word });
            return format!("{}{}", &line[..10], words.collect::<Vec<_>>().join(" "));
        }
        let indexed = format!("{name}[");
        let mut pieces = line.split(&indexed);
        let mut renamed = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let inside = renamed.ends_with(|c: char| c.is_alphanumeric() || "_.".contains(c));
            renamed = format!("{renamed}{}[{piece}", if inside { name } else { instead });
        }
        renamed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_named_nowhere() {
        let text = "@group(0) @binding(0) var<storage, read> x: array<Element>;\n@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n// loader load_x x\n// storer store_y y Element\nlet v = x[0] + max_x[1] + p.x[2];";
        let right = "@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n// loader load_x y\n// storer store_y y Element\nlet v = y[0] + max_x[1] + p.x[2];\n";
        assert_eq!(leave(0, "x", "y").leave_out(text), right);
    }

    #[test]
    fn few_bindings_are_four_at_most_and_every_kernel_has_a_form_of_them() {
        let all = Variant::all();
        let few = all.iter().filter(|variant| variant.bound != Bound::All);
        let counts: Vec<usize> = few.map(Variant::tensors).collect();
        assert!(!counts.is_empty() && counts.iter().all(|&count| count <= 4), "{counts:?}");
        for stem in Stem::ALL {
            assert!(
                all.iter().any(|variant| variant.stem == stem && variant.tensors() <= 4),
                "{}",
                stem.name()
            );
        }
    }
}
