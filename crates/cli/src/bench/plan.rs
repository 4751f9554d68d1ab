//! Selection of the kernels and sizes to measure, and of the effort for each.

use super::measure::Effort;
use super::step::{self, Network};
use super::work::Entry;
use super::{attention, elementwise, forms, half, isa, layer, update};
use std::time::Duration;
use wgpu_dropout::Key;

/// Groups of kernels, by the names of `--only`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Group {
    /// `dropout`, alone and with its backward pass, over a range of sizes
    Dropout,
    /// Other forms of dropout: broadcast, with a given mask, alpha, Gaussian; and masks alone
    Forms,
    /// Update of the weights, and the loss
    Update,
    /// A layer, forward and backward
    Layer,
    /// Attention without dropout, with it, causal, and its backward pass
    Attention,
    /// Time that dropout adds to a layer, over a range of inner sizes
    Cost,
    /// A whole training step
    Step,
}

/// Kernels that are timed in turns.
#[derive(Debug, Clone)]
pub enum Race {
    /// Arithmetic peak of a GPU.
    Peak,
    /// `dropout`, alone and with its backward pass, against `copy`.
    Elementwise(usize),
    /// `dropout` on each instruction set of a CPU, against `copy`.
    Isas(usize),
    /// Other forms of dropout, against `copy`.
    Forms(usize),
    /// Attention of `[heads, queries, numbers of a head]`, against a plain product.
    Attention([usize; 3]),
    /// `dropout` on tensors stored as f16, against a copy of such tensors, on a GPU with f16.
    Half(usize),
    /// `sgd` and `softmax_cross_entropy`, against `copy`.
    Update(usize),
    /// A layer, forward and backward, against `matmul`.
    Layer([usize; 3]),
    /// A layer's forward pass on tensors stored as f16, against a plain product of such tensors, on
    /// a GPU with f16.
    HalfLayer([usize; 3]),
    /// A layer's forward pass with dropout, against the same without.
    Cost([usize; 3]),
    /// A training step, against the matrix products of its forward pass.
    Step(Network),
}

impl Race {
    /// Returns the kernels to time, the ceiling first.
    pub fn entries(&self) -> Vec<Entry> {
        match self {
            Self::Peak => Vec::new(),
            Self::Elementwise(elements) => elementwise::entries(*elements),
            Self::Isas(elements) => isa::entries(*elements),
            Self::Forms(elements) => forms::entries(*elements),
            Self::Attention(shape) => attention::entries(*shape),
            Self::Half(elements) => half::entries(*elements),
            Self::Update(elements) => update::entries(*elements),
            Self::Layer(shape) => layer::entries(*shape),
            Self::HalfLayer(shape) => half::layer_entries(*shape),
            Self::Cost(shape) => layer::cost_entries(*shape).to_vec(),
            Self::Step(network) => step::entries(network),
        }
    }

    /// Returns a short name of the race.
    pub fn name(&self) -> String {
        let shape = |entries: Vec<Entry>| entries.first().map(Entry::shape).unwrap_or_default();
        let what = match self {
            Self::Peak => return "peak of multiply-adds".to_owned(),
            Self::Elementwise(_) => "dropout",
            Self::Isas(_) => "instruction sets",
            Self::Forms(_) => "forms of dropout",
            Self::Attention([heads, queries, width]) => {
                return format!("attention {heads}×{queries}×{width}");
            }
            Self::Half(_) => "dropout of f16",
            Self::Update(_) => "update",
            Self::Layer(_) => "layer",
            Self::HalfLayer(_) => "layer of f16",
            Self::Cost(_) => "cost of dropout",
            Self::Step(_) => "training step",
        };
        format!("{what} {}", shape(self.entries()))
    }
}

/// Extent of a benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A quick look.
    Quick,
    /// Figures to quote, in about a minute on two cores.
    Usual,
    /// Every size.
    Full,
}

/// Kernels and sizes to time, and the effort for each.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Numbers of elements for the elementwise kernels, multiples of 1024.
    pub elements: Vec<usize>,
    /// Numbers of elements for the other forms of dropout.
    pub forms: Vec<usize>,
    /// Numbers of elements for the update.
    pub updates: Vec<usize>,
    /// Batch, inputs and outputs of each layer.
    pub layers: Vec<[usize; 3]>,
    /// Heads, queries and numbers of a head of each attention.
    pub attentions: Vec<[usize; 3]>,
    /// Batch, inputs and outputs of each layer that is timed both without and with dropout.
    pub costs: Vec<[usize; 3]>,
    /// Networks to train.
    pub networks: Vec<Network>,
    /// Number of repetitions, and their duration.
    pub effort: Effort,
    /// Key of the masks.
    pub key: Key,
}

impl Plan {
    /// Creates a plan. `real` is true if a GPU that is not a software adapter takes part; the
    /// smaller sizes would leave it idle.
    pub fn new(extent: Extent, real: bool) -> Self {
        let quick = extent == Extent::Quick;
        let powers: Vec<u32> = match extent {
            Extent::Quick => vec![16, 20],
            Extent::Usual => (10..=24).step_by(2).collect(),
            Extent::Full => (10..=27).collect(),
        };
        let large = real && !quick;
        let steps = if real { 32 } else { 4 };
        let network =
            |batch, hidden| Network { batch, widths: vec![784, hidden, hidden, 10], steps };
        let (layer, small) = if quick {
            ([128, 512, 512], network(64, 256))
        } else {
            ([1024, 2048, 2048], network(128, 1024))
        };
        let [batch, outputs] = if large { [4096, 4096] } else { [256, 512] };
        let inner = [128, 256, 512, 1024, 2048, 4096]
            .into_iter()
            .filter(|k| !quick || [128, 1024].contains(k));
        Self {
            elements: powers.iter().map(|power| 1 << power).collect(),
            forms: vec![if quick { 1 << 20 } else { 1 << 24 }],
            updates: vec![if quick { 1 << 20 } else { 1 << 24 }],
            layers: [layer].into_iter().chain(large.then_some([4096; 3])).collect(),
            attentions: vec![if quick { [2, 256, 64] } else { [8, 2048, 64] }],
            costs: inner.map(|inputs| [batch, inputs, outputs]).collect(),
            networks: [small].into_iter().chain(large.then(|| network(512, 8192))).collect(),
            effort: Effort::new(extent),
            key: Key::default(),
        }
    }

    /// Keeps only the kernels of the given groups; an empty list keeps all.
    pub fn only(mut self, groups: &[Group]) -> Self {
        let without = |group| !groups.is_empty() && !groups.contains(&group);
        if without(Group::Dropout) {
            self.elements.clear();
        }
        if without(Group::Forms) {
            self.forms.clear();
        }
        if without(Group::Update) {
            self.updates.clear();
        }
        if without(Group::Layer) {
            self.layers.clear();
        }
        if without(Group::Attention) {
            self.attentions.clear();
        }
        if without(Group::Cost) {
            self.costs.clear();
        }
        if without(Group::Step) {
            self.networks.clear();
        }
        self
    }

    /// Returns the races in order. The peak is measured before and after the products of which it
    /// is the ceiling.
    pub fn races(&self) -> Vec<Race> {
        let layers =
            self.layers.iter().flat_map(|&shape| [Race::Layer(shape), Race::HalfLayer(shape)]);
        let products: Vec<Race> = layers
            .chain(self.attentions.iter().copied().map(Race::Attention))
            .chain(self.costs.iter().copied().map(Race::Cost))
            .chain(self.networks.iter().cloned().map(Race::Step))
            .collect();
        let peak = || (!products.is_empty()).then_some(Race::Peak);
        let elementwise = self.elements.iter().copied().map(Race::Elementwise);
        let largest =
            |most| self.elements.iter().copied().filter(|&elements| elements <= most).max();
        let isas = largest(1 << 24).map(Race::Isas);
        let other = largest(usize::MAX).map(Race::Half).into_iter().chain(isas);
        let other = other.chain(self.forms.iter().copied().map(Race::Forms));
        let moving = elementwise.chain(other).chain(self.updates.iter().copied().map(Race::Update));
        moving.chain(peak()).chain(products.iter().cloned()).chain(peak()).collect()
    }
}

impl Effort {
    /// Returns the effort for an extent.
    pub const fn new(extent: Extent) -> Self {
        let (warm_up, rounds, turn, budget, call) = match extent {
            Extent::Quick => (50, 5, 5, 500, 1_000),
            Extent::Usual => (250, 11, 10, 3_000, 3_000),
            Extent::Full => (500, 31, 20, 20_000, 30_000),
        };
        let millis = Duration::from_millis;
        Self {
            warm_up: millis(warm_up),
            rounds,
            turn: millis(turn),
            budget: millis(budget),
            call: millis(call),
        }
    }
}
