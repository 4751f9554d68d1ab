//! Which WGSL a dispatch runs: the kernel's stem and the choices that are compiled in.

use super::group::Group;
use super::source::{Elements, Width, assemble};
use crate::{Error, Result};

/// A kernel by the name of its file in `shaders/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Stem {
    BatchLoss,
    Copy,
    Dropout,
    Gather,
    GradInput,
    GradWeight,
    GradWeightSgd,
    LinearForward,
    MaskBits,
    PhiloxWords,
    Sgd,
    SoftmaxCrossEntropy,
}

impl Stem {
    /// Every kernel.
    pub const ALL: [Self; 12] = [
        Self::BatchLoss,
        Self::Copy,
        Self::Dropout,
        Self::Gather,
        Self::GradInput,
        Self::GradWeight,
        Self::GradWeightSgd,
        Self::LinearForward,
        Self::MaskBits,
        Self::PhiloxWords,
        Self::Sgd,
        Self::SoftmaxCrossEntropy,
    ];

    /// The file's name without `.wgsl`.
    pub fn name(self) -> &'static str {
        match self {
            Self::BatchLoss => "batch_loss",
            Self::Copy => "copy",
            Self::Dropout => "dropout",
            Self::Gather => "gather",
            Self::GradInput => "grad_input",
            Self::GradWeight => "grad_weight",
            Self::GradWeightSgd => "grad_weight_sgd",
            Self::LinearForward => "linear_forward",
            Self::MaskBits => "mask_bits",
            Self::PhiloxWords => "philox_words",
            Self::Sgd => "sgd",
            Self::SoftmaxCrossEntropy => "softmax_cross_entropy",
        }
    }

    fn file(self) -> &'static str {
        match self {
            Self::BatchLoss => include_str!("../../shaders/batch_loss.wgsl"),
            Self::Copy => include_str!("../../shaders/copy.wgsl"),
            Self::Dropout => include_str!("../../shaders/dropout.wgsl"),
            Self::Gather => include_str!("../../shaders/gather.wgsl"),
            Self::GradInput => include_str!("../../shaders/grad_input.wgsl"),
            Self::GradWeight => include_str!("../../shaders/grad_weight.wgsl"),
            Self::GradWeightSgd => include_str!("../../shaders/grad_weight_sgd.wgsl"),
            Self::LinearForward => include_str!("../../shaders/linear_forward.wgsl"),
            Self::MaskBits => include_str!("../../shaders/mask_bits.wgsl"),
            Self::PhiloxWords => include_str!("../../shaders/philox_words.wgsl"),
            Self::Sgd => include_str!("../../shaders/sgd.wgsl"),
            Self::SoftmaxCrossEntropy => include_str!("../../shaders/softmax_cross_entropy.wgsl"),
        }
    }

    /// Whether the kernel is a matrix product, which comes in tiles.
    pub fn is_product(self) -> bool {
        matches!(self, Self::LinearForward | Self::GradInput | Self::GradWeight | Self::GradWeightSgd)
    }
}

/// How a matrix product is divided among threads. All sum in the same order, by fused multiply-adds, so they give the same bits wherever
/// the device fuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    /// 16 × 8 sums a thread (8 × 8 with scalar loads) in registers and no barriers: for adapters that run on a CPU.
    Register,
    /// 32 × 8 sums a thread (16 × 8 with scalar loads) in registers, with one factor's values handed around in a subgroup: for adapters
    /// that run on a CPU and have subgroups of eight.
    Shuffle,
    /// 64 × 64 a workgroup of 64 threads through workgroup memory, 8 × 8 a thread: for real GPUs, as all that follow.
    Workgroup,
    /// 128 × 128 a workgroup of 256 threads, 8 × 8 a thread: half the loads of [`Workgroup`](Self::Workgroup), for large products.
    Large,
    /// 32 × 64 a workgroup of 64 threads, 4 × 8 a thread: more workgroups, for products that are small for the device.
    Small,
    /// 16 × 128 a workgroup of 64 threads, 4 × 8 a thread: for few rows, such as a mini-batch of 16 or one image.
    Wide,
    /// 128 × 16 a workgroup of 64 threads, 4 × 8 a thread: for few columns, such as ten classes.
    Tall,
}

impl Tile {
    /// Every tile.
    pub const ALL: [Self; 7] = [Self::Register, Self::Shuffle, Self::Workgroup, Self::Large, Self::Small, Self::Wide, Self::Tall];

    /// Whether a device can run the tile.
    pub fn runs_on(self, info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> bool {
        self.check(info, features, limits).is_ok()
    }

    /// What a device lacks for the tile, where it lacks something.
    pub(super) fn check(self, info: &wgpu::AdapterInfo, features: wgpu::Features, limits: &wgpu::Limits) -> Result<()> {
        // A tile of registers needs what every kernel does.
        let (threads, memory) = self.group().map_or((64, 512), |group| (group.threads(), group.memory()));
        let needs = [
            ("max_compute_invocations_per_workgroup", limits.max_compute_invocations_per_workgroup, threads),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x, threads),
            // wgpu does not enforce this one.
            ("max_compute_workgroup_storage_size", limits.max_compute_workgroup_storage_size, memory),
        ];
        if let Some((name, value, least)) = needs.into_iter().find(|&(_, value, least)| u64::from(value) < least) {
            return Err(Error::Adapter { what: format!("tile {self}: the device's {name} allows {value}, it needs {least}") });
        }
        if self == Self::Shuffle && !has_octets(info, features) {
            return Err(Error::Adapter { what: format!("tile {self}: it needs SUBGROUP and subgroups of 8") });
        }
        Ok(())
    }

    /// The workgroup that makes the tile together, where one does.
    pub(super) fn group(self) -> Option<Group> {
        let group = |thread_rows, rows, cols, lanes| Some(Group { thread_rows, rows, cols, lanes });
        match self {
            Self::Register | Self::Shuffle => None,
            Self::Workgroup => group(8, 8, 8, 8),
            Self::Large => group(8, 16, 16, 8),
            Self::Small => group(4, 8, 8, 8),
            Self::Wide => group(4, 4, 16, 8),
            Self::Tall => group(4, 32, 2, 2),
        }
    }

    /// Workgroups that cover `rows × cols` sums.
    pub(super) fn workgroups(self, width: Width, rows: usize, cols: usize) -> u64 {
        let [tile_rows, tile_cols] = self.group().map_or([self.thread_rows(width), 64], Group::shape);
        (rows as u64).div_ceil(tile_rows) * (cols as u64).div_ceil(tile_cols)
    }

    /// Rows of sums that a thread holds: scalar loads make so much more code that half of them compile in as long.
    fn thread_rows(self, width: Width) -> u64 {
        match (self.group(), self, width) {
            (Some(group), ..) => group.thread_rows,
            (None, Self::Register, Width::Scalar) => 8,
            (None, Self::Register, _) | (None, _, Width::Scalar) => 16,
            (None, ..) => 32,
        }
    }

    /// What the tile's file is compiled with.
    fn constants(self, width: Width) -> String {
        format!("const TILE_ROWS: u32 = {}u;\n{}", self.thread_rows(width), self.group().map_or(String::new(), Group::constants))
    }

    fn file(self) -> &'static str {
        match self {
            Self::Register => include_str!("../../shaders/tile_register.wgsl"),
            Self::Shuffle => include_str!("../../shaders/tile_shuffle.wgsl"),
            _ => include_str!("../../shaders/tile_workgroup.wgsl"),
        }
    }
}

/// Whether subgroups are of eight threads, always.
fn has_octets(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    features.contains(wgpu::Features::SUBGROUP) && (info.subgroup_min_size, info.subgroup_max_size) == (8, 8)
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Shuffle => "shuffle",
            Self::Workgroup => "workgroup",
            Self::Large => "large",
            Self::Small => "small",
            Self::Wide => "wide",
            Self::Tall => "tall",
        })
    }
}

impl std::str::FromStr for Tile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|tile| tile.to_string() == text);
        let names = Self::ALL.map(|tile| tile.to_string()).join(", ");
        found.ok_or_else(|| Error::invalid(format!("tile `{text}`: must be one of {names}")))
    }
}

/// Where dZ comes from in the backward kernels; `GATE` in `shaders/gradient.wgsl`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Gate {
    None = 0,
    Relu = 1,
    Mask = 2,
}

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
    /// Matrix products only: whether a dispatch may hold a part of each sum, or parts side by side.
    pub part: bool,
    /// `linear_forward` and `grad_input` only: whether parts that lie side by side are added, instead of a product made.
    pub join: bool,
    /// `dropout` only: whether eight columns are one group of draws.
    pub aligned: bool,
    /// `dropout` and `copy` only: whether a thread takes two rows.
    pub paired: bool,
    /// Whether Philox multiplies in 64-bit integers, which the device must offer.
    pub int64: bool,
    /// `dropout` and matrix products only: whether tensors are stored as f16, which the device must offer; all is computed in f32.
    pub half: bool,
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
            paired: false,
            int64: false,
            half: false,
        }
    }

    /// Every form that a kernel comes in, without [`int64`](Self::int64).
    pub fn all() -> Vec<Self> {
        Stem::ALL.into_iter().flat_map(Self::of).collect()
    }

    /// Every form of one kernel: each choice that it has, with each of the others.
    fn of(stem: Stem) -> Vec<Self> {
        let strips = matches!(stem, Stem::Dropout | Stem::Copy);
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
        choose(stem.is_product() || strips || stem == Stem::Sgd, &|form| {
            let widths = [Width::Scalar, Width::Vec4, Width::Vec8];
            let all = strips || stem.is_product() && stem != Stem::GradInput && form.tile == Tile::Shuffle;
            widths.map(|width| Self { width, ..form })[..if all { 3 } else { 2 }].to_vec()
        });
        choose(stem == Stem::Gather, &|form| [false, true].map(|bytes| Self { bytes, ..form }).to_vec());
        choose(matches!(stem, Stem::Sgd | Stem::GradWeightSgd), &|form| {
            [false, true].map(|momentum| Self { momentum, ..form }).to_vec()
        });
        choose(stem.is_product() && stem != Stem::GradWeightSgd, &|form| [false, true].map(|part| Self { part, ..form }).to_vec());
        choose(stem == Stem::Dropout, &|form| [false, true].map(|aligned| Self { aligned, ..form }).to_vec());
        choose(strips, &|form| [false, true].map(|paired| Self { paired, ..form }).to_vec());
        if matches!(stem, Stem::LinearForward | Stem::GradInput) {
            forms.extend([Width::Scalar, Width::Vec4].map(|width| Self { width, join: true, ..Self::new(stem) }));
        }
        forms
    }

    /// Every form for tensors stored as f16, without [`int64`](Self::int64). `grad_weight` is not in parts there: they would be rounded to f16
    /// in between.
    pub fn all_half() -> Vec<Self> {
        let product = |stem: Stem| stem.is_product() && stem != Stem::GradWeightSgd;
        let stored = |variant: &Self| (variant.stem == Stem::Dropout || product(variant.stem)) && variant.width != Width::Vec8;
        let exact = |variant: &Self| !(variant.part && variant.stem == Stem::GradWeight);
        Self::all().into_iter().filter(stored).filter(exact).map(|variant| Self { half: true, ..variant }).collect()
    }

    /// What a device must offer to run this form beyond the language's baseline.
    pub fn features(&self) -> wgpu::Features {
        let mut features = wgpu::Features::empty();
        features.set(wgpu::Features::SHADER_INT64, self.int64 || self.width == Width::Vec8);
        features.set(wgpu::Features::SHADER_F16, self.half);
        features.set(wgpu::Features::SUBGROUP, self.stem.is_product() && self.tile == Tile::Shuffle);
        features
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
        if self.paired {
            name += ".paired";
        }
        if self.int64 {
            name += ".int64";
        }
        if self.half {
            name += ".f16";
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
            constants += &format!("{}const PART: bool = {};\n", self.tile.constants(self.width), self.part);
        }
        match self.stem {
            Stem::GradInput | Stem::GradWeight => {
                parts.push(include_str!("../../shaders/gradient.wgsl"));
                constants += &format!("const GATE: u32 = {}u;\n", self.gate as u32);
            }
            Stem::GradWeightSgd if self.momentum => parts.push(include_str!("../../shaders/grad_weight_sgd_momentum.wgsl")),
            Stem::GradWeightSgd => parts.push(include_str!("../../shaders/grad_weight_sgd_plain.wgsl")),
            Stem::Gather => {
                let datum = if self.bytes { "u32" } else { "f32" };
                constants += &format!("const BYTES: bool = {};\nalias Datum = {datum};\n", self.bytes);
            }
            Stem::Dropout | Stem::Copy => {
                parts.push(include_str!("../../shaders/block.wgsl"));
                let rows = if self.paired { 2 } else { 1 };
                constants += &format!("const ROWS: u32 = {rows}u;\nconst ALIGNED: bool = {};\n", self.aligned);
            }
            Stem::Sgd if self.momentum => parts.push(include_str!("../../shaders/sgd_momentum.wgsl")),
            Stem::Sgd => parts.push(include_str!("../../shaders/sgd_plain.wgsl")),
            _ => {}
        }
        if matches!(self.stem, Stem::GradWeight | Stem::GradWeightSgd) {
            parts.push(include_str!("../../shaders/outer.wgsl"));
        }
        parts.push(include_str!("../../shaders/mask.wgsl"));
        parts.push(include_str!("../../shaders/eight.wgsl"));
        if self.width == Width::Vec8 {
            parts.push(include_str!("../../shaders/eight_int64.wgsl"));
        }
        parts.push(match self.int64 {
            true => include_str!("../../shaders/philox_int64.wgsl"),
            false => include_str!("../../shaders/philox.wgsl"),
        });
        let edit = |part: &str| edits.iter().fold(part.to_owned(), |text, [from, to]| text.replace(from, to));
        let parts: Vec<String> = parts.into_iter().map(edit).collect();
        let elements = Elements { width: self.width, half: self.half, first_sums: self.join, output_sums: self.part };
        assemble(&constants, elements, &parts)
    }

    /// Which of the kernel's bindings in group 0 are written, in order.
    pub(super) fn writes(&self) -> &'static [bool] {
        match self.stem {
            Stem::BatchLoss | Stem::Copy | Stem::Dropout | Stem::PhiloxWords => &[false, true],
            Stem::MaskBits => &[true],
            Stem::LinearForward => &[false, false, false, true],
            Stem::GradInput => &[false, false, false, false, true],
            Stem::GradWeight | Stem::Gather => &[false, false, false, true, true],
            Stem::GradWeightSgd if self.momentum => &[false, false, true, true, true, true],
            Stem::GradWeightSgd | Stem::SoftmaxCrossEntropy => &[false, false, true, true],
            Stem::Sgd if self.momentum => &[false, true, true],
            Stem::Sgd => &[false, true],
        }
    }
}
