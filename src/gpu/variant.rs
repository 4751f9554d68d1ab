//! Which WGSL a dispatch runs: the kernel's stem and the choices that are compiled in.

use super::bindings::Bound;
use super::source::{Elements, Width, assemble};
use super::stem::Stem;
use super::tile::Tile;

/// Where dZ comes from in the backward kernels; `GATE` in `shaders/gradient.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Gate {
    None = 0,
    Relu = 1,
    Mask = 2,
}

/// Rows of a thread that takes several; `rows.wgsl`.
pub(super) const STACK: usize = 4;

/// One compiled form of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel.
    pub stem: Stem,
    /// Loads and stores.
    pub width: Width,
    /// Division of a matrix product; the others ignore it.
    pub tile: Tile,
    /// Backward kernels only.
    pub gate: Gate,
    /// `gather` only: whether features are bytes.
    pub bytes: bool,
    /// Updates only: whether there is a velocity.
    pub momentum: bool,
    /// Matrix products only: whether a dispatch may hold a part of each sum, or parts side by
    /// side.
    pub part: bool,
    /// `linear_forward` and `grad_input` only: whether parts that lie side by side are added,
    /// instead of a product made.
    pub join: bool,
    /// Kernels of strips that draw only: whether the eight columns of a strip are one group of
    /// draws.
    pub aligned: bool,
    /// `dropout_broadcast` only: whether a strip shares one draw.
    pub one_draw: bool,
    /// Kernels of strips that have something to share between rows: whether a thread takes one
    /// strip of four rows, not two of one.
    pub stacked: bool,
    /// Kernels of strips only: whether a thread takes a single strip, whose two quads lie apart
    /// where the kernel allows it, so that neighbouring threads move neighbouring quads: for
    /// real GPUs.
    pub flat: bool,
    /// Whether Philox multiplies in 64-bit integers, which the device must offer.
    pub int64: bool,
    /// `dropout`, `copy` and matrix products only: whether tensors are stored as f16, which the
    /// device must offer; all is computed in f32.
    pub half: bool,
    /// Kernels of strips but `copy` only: whether the output takes the input's place.
    pub in_place: bool,
    /// Which of the kernel's tensors are bound.
    pub bound: Bound,
    /// Whether an output is another range of a buffer that is read from: then all tensors are
    /// bound for reading and writing.
    pub shared: bool,
    /// Whether rate, scale, step and seed are read from a buffer, by kernels that draw masks.
    pub state: bool,
}

impl Variant {
    /// The plainest form of a kernel.
    pub fn new(stem: Stem) -> Self {
        let tile = Tile::Register;
        Self {
            stem,
            width: Width::Scalar,
            tile,
            gate: Gate::None,
            bytes: false,
            momentum: false,
            part: false,
            join: false,
            aligned: false,
            one_draw: false,
            stacked: false,
            flat: false,
            int64: false,
            half: false,
            in_place: false,
            bound: Bound::All,
            shared: false,
            state: false,
        }
    }

    /// Every form that a kernel comes in, without [`int64`](Self::int64).
    pub fn all() -> Vec<Self> {
        let of_half = |variant: &Self| {
            variant.uses_matrices() || variant.flat && variant.width == Width::Vec8
        };
        Stem::ALL.into_iter().flat_map(Self::of).filter(|variant| !of_half(variant)).collect()
    }

    /// Every form of one kernel: each choice that it has, with each of the others.
    fn of(stem: Stem) -> Vec<Self> {
        let strips = stem.is_strips();
        let mut forms = vec![Self::new(stem)];
        // A choice makes more of each form so far.
        let mut choose = |has: bool, choices: &dyn Fn(Self) -> Vec<Self>| {
            if has {
                forms = forms.iter().flat_map(|&form| choices(form)).collect();
            }
        };
        choose(stem.is_product(), &|form| Tile::ALL.map(|tile| Self { tile, ..form }).to_vec());
        choose(matches!(stem, Stem::GradInput | Stem::GradWeight), &|form| {
            [Gate::None, Gate::Relu, Gate::Mask].map(|gate| Self { gate, ..form }).to_vec()
        });
        choose(stem.is_product() || strips || matches!(stem, Stem::Adamw | Stem::Sgd), &|form| {
            let widths = [Width::Scalar, Width::Vec4, Width::Vec8];
            let all = strips
                || stem.is_product() && stem != Stem::GradInput && form.tile == Tile::Shuffle;
            widths.map(|width| Self { width, ..form })[..if all { 3 } else { 2 }].to_vec()
        });
        choose(stem == Stem::Gather, &|form| {
            [false, true].map(|bytes| Self { bytes, ..form }).to_vec()
        });
        choose(matches!(stem, Stem::Sgd | Stem::GradWeightSgd), &|form| {
            [false, true].map(|momentum| Self { momentum, ..form }).to_vec()
        });
        choose(stem.is_product() && stem != Stem::GradWeightSgd, &|form| {
            [false, true].map(|part| Self { part, ..form }).to_vec()
        });
        choose(stem.draws_strips(), &|form| {
            [false, true].map(|aligned| Self { aligned, ..form }).to_vec()
        });
        choose(stem == Stem::DropoutBroadcast, &|form| {
            let one_draw = (!form.aligned).then_some(Self { one_draw: true, ..form });
            [form].into_iter().chain(one_draw).collect()
        });
        choose(stem.is_stacked(), &|form| {
            [false, true].map(|stacked| Self { stacked, ..form }).to_vec()
        });
        choose(strips, &|form| {
            let flat = (!form.stacked).then_some(Self { flat: true, ..form });
            [form].into_iter().chain(flat).collect()
        });
        if matches!(stem, Stem::LinearActivation | Stem::LinearForward | Stem::GradInput) {
            forms.extend([Width::Scalar, Width::Vec4].map(|width| Self {
                width,
                join: true,
                ..Self::new(stem)
            }));
        }
        let bound = |form: &Self, bound| Self { bound, ..*form };
        let few: Vec<Self> = forms
            .iter()
            .filter(|form| form.comes_with_few())
            .map(|form| bound(form, Bound::Few))
            .collect();
        let labels = forms
            .iter()
            .filter(|form| form.stem == Stem::Gather && form.bytes)
            .map(|form| bound(form, Bound::Labels));
        few.into_iter().chain(labels.collect::<Vec<_>>()).chain(forms).collect()
    }

    /// Whether there is a form of few bindings beside it.
    fn comes_with_few(&self) -> bool {
        match self.stem {
            Stem::GradInput => self.gate == Gate::Relu,
            Stem::GradWeight => self.gate == Gate::Relu && self.width == Width::Scalar,
            Stem::GradWeightSgd => self.momentum && self.width == Width::Scalar,
            Stem::LinearActivation => self.join,
            Stem::Gather => true,
            _ => false,
        }
    }

    /// Every form for tensors stored as f16, without [`int64`](Self::int64). `grad_weight` is not
    /// in parts there: they would be rounded to f16 in between.
    pub fn all_half() -> Vec<Self> {
        let product = |stem: Stem| {
            stem.is_product() && !matches!(stem, Stem::GradWeightSgd | Stem::LinearActivation)
        };
        let stored = |variant: &Self| {
            matches!(variant.stem, Stem::Dropout | Stem::Copy)
                && (variant.width != Width::Vec8 || variant.flat)
                || product(variant.stem) && variant.width != Width::Vec8
        };
        let exact = |variant: &Self| {
            !(variant.part && variant.stem == Stem::GradWeight) && variant.bound == Bound::All
        };
        Stem::ALL
            .into_iter()
            .flat_map(Self::of)
            .filter(stored)
            .filter(exact)
            .map(|variant| Self { half: true, ..variant })
            .collect()
    }

    /// What a device must offer to run this form beyond the language's baseline.
    pub fn features(&self) -> wgpu::Features {
        let mut features = wgpu::Features::empty();
        features.set(
            wgpu::Features::SHADER_INT64,
            self.int64 || self.width == Width::Vec8 && !self.half,
        );
        features.set(wgpu::Features::SHADER_F16, self.half);
        features.set(
            wgpu::Features::SUBGROUP,
            self.stem.is_product() && matches!(self.tile, Tile::Shuffle | Tile::Narrow),
        );
        features.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, self.uses_matrices());
        features
    }

    /// Whether a product runs on matrix units.
    pub fn uses_matrices(&self) -> bool {
        self.stem.is_product() && self.tile.is_matrix() && !self.join
    }

    /// Rows of a thread of a kernel of strips, and strips of each.
    pub(super) fn block(&self) -> [usize; 2] {
        if self.stacked { [STACK, 1] } else { [1, if self.flat { 1 } else { 2 }] }
    }

    /// Whether the two quads of a strip lie apart: where they are not moved as one, and what
    /// becomes of a column does not rest on where it is, or on its draw alone.
    fn spread(&self) -> bool {
        let parts = self.stem == Stem::Copy || self.aligned && self.stem != Stem::DropoutBroadcast;
        self.flat && self.width != Width::Vec8 && parts
    }

    /// A name for labels and listings.
    pub fn name(&self) -> String {
        let mut name = self.stem.name().to_owned();
        if self.join {
            name += ".join";
        } else if self.stem.is_product() {
            name += &format!(".{}", self.tile);
        }
        match self.width {
            Width::Scalar => {}
            Width::Vec4 => name += ".vec4",
            Width::Vec8 => name += ".vec8",
        }
        match self.gate {
            Gate::None => {}
            Gate::Relu => name += ".relu",
            Gate::Mask => name += ".mask",
        }
        if self.bytes {
            name += ".bytes";
        }
        if self.momentum {
            name += ".momentum";
        }
        if self.part {
            name += ".part";
        }
        if self.aligned {
            name += ".aligned";
        }
        if self.one_draw {
            name += ".one_draw";
        }
        if self.stacked {
            name += ".stacked";
        }
        if self.flat {
            name += ".flat";
        }
        if self.int64 {
            name += ".int64";
        }
        if self.half {
            name += ".f16";
        }
        if self.in_place {
            name += ".in_place";
        }
        match self.bound {
            Bound::All => {}
            Bound::Few => name += ".few",
            Bound::Labels => name += ".labels",
        }
        if self.shared {
            name += ".shared";
        }
        if self.state {
            name += ".state";
        }
        name
    }

    /// The WGSL text.
    pub fn source(&self) -> String {
        self.edited_source(&[])
    }

    /// The WGSL text with the first of each pair replaced by the second, before loops are unrolled.
    pub(super) fn edited_source(&self, edits: &[[String; 2]]) -> String {
        let mut parts = vec![self.stem.file()];
        let mut constants = String::new();
        if self.stem.is_product() {
            match self.join {
                true => parts.push(include_str!("../../shaders/join.wgsl")),
                false => parts.extend([self.tile.file(), include_str!("../../shaders/parts.wgsl")]),
            }
            constants +=
                &format!("{}const PART: bool = {};\n", self.tile.constants(self.width), self.part);
        }
        match self.stem {
            Stem::GradInput | Stem::GradWeight => {
                parts.push(include_str!("../../shaders/gradient.wgsl"));
                constants += &format!("const GATE: u32 = {}u;\n", self.gate as u32);
            }
            Stem::GradWeightSgd if self.momentum => {
                parts.push(include_str!("../../shaders/grad_weight_sgd_momentum.wgsl"))
            }
            Stem::GradWeightSgd => {
                parts.push(include_str!("../../shaders/grad_weight_sgd_plain.wgsl"))
            }
            Stem::Gather => {
                let datum = if self.bytes { "u32" } else { "f32" };
                constants +=
                    &format!("const BYTES: bool = {};\nalias Datum = {datum};\n", self.bytes);
            }
            stem if stem.is_strips() => {
                parts.push(include_str!("../../shaders/block.wgsl"));
                if stem.is_stacked() {
                    parts.push(include_str!("../../shaders/rows.wgsl"));
                }
                let [rows, groups] = self.block();
                // A broadcast mask's rows and columns are not the matrix's.
                let broadcast = stem == Stem::DropoutBroadcast;
                constants +=
                    &format!("const ROWS: u32 = {rows}u;\nconst GROUPS: u32 = {groups}u;\n");
                constants += &format!(
                    "const ALIGNED: bool = {};\nconst SPREAD: bool = {};\n",
                    self.aligned && !broadcast,
                    self.spread()
                );
                if broadcast {
                    constants += &format!(
                        "const GROUPED: bool = {};\nconst ONE_DRAW: bool = {};\n",
                        self.aligned, self.one_draw
                    );
                }
            }
            Stem::Sgd if self.momentum => {
                parts.push(include_str!("../../shaders/sgd_momentum.wgsl"))
            }
            Stem::Sgd => parts.push(include_str!("../../shaders/sgd_plain.wgsl")),
            Stem::Pool | Stem::PoolGrad => parts.push(include_str!("../../shaders/window.wgsl")),
            _ => {}
        }
        match self.stem {
            Stem::GradWeight | Stem::GradWeightSgd => {
                parts.push(include_str!("../../shaders/outer.wgsl"))
            }
            Stem::LinearActivation | Stem::LinearForward => {
                parts.push(include_str!("../../shaders/inner.wgsl"))
            }
            _ => {}
        }
        if matches!(self.stem, Stem::ActivationGrad | Stem::LinearActivation) {
            parts.push(include_str!("../../shaders/activation.wgsl"));
        }
        if matches!(
            self.stem,
            Stem::ActivationGrad | Stem::BatchNorm | Stem::LinearActivation | Stem::LinearForward
        ) {
            parts.push(include_str!("../../shaders/relu.wgsl"));
        }
        parts.push(include_str!("../../shaders/mask.wgsl"));
        parts.push(include_str!("../../shaders/eight.wgsl"));
        if self.width == Width::Vec8 {
            parts.push(match self.half {
                true => include_str!("../../shaders/eight_half.wgsl"),
                false => include_str!("../../shaders/eight_int64.wgsl"),
            });
        }
        parts.push(match self.int64 {
            true => include_str!("../../shaders/philox_int64.wgsl"),
            false => include_str!("../../shaders/philox.wgsl"),
        });
        match self.state && self.stem.reads_state() {
            true => {
                parts.push(include_str!("../../shaders/state.wgsl"));
                constants +=
                    &format!("const SHIFTED: bool = {};\n", self.stem == Stem::AlphaDropout);
            }
            false => constants += "fn take_state() {}\n",
        }
        let edit = |part: &str| {
            edits.iter().fold(part.to_owned(), |text, [from, to]| text.replace(from, to))
        };
        let parts: Vec<String> = parts.into_iter().map(edit).collect();
        let placed = |part: String| {
            let part = self.without_left_out(part);
            if self.shared {
                part.replace("var<storage, read>", "var<storage, read_write>")
            } else {
                part
            }
        };
        let parts: Vec<String> = parts.into_iter().map(placed).collect();
        let elements = Elements {
            width: self.width,
            half: self.half,
            first_sums: self.join,
            output_sums: self.part,
            apart: self.spread(),
            matrices: self.uses_matrices(),
        };
        assemble(&constants, elements, &parts)
    }
}
