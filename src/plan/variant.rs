//! The form of a kernel that a dispatch runs: its stem and what is compiled in.

use super::shader::{CHOICES, Shader, conditional, declared};
use super::source::{Elements, Width, assemble};
use super::stem::Stem;
use super::tile::Tile;

/// Division of a kernel's work among threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Division {
    /// The kernel's own.
    Itself,
    /// A matrix product, in tiles.
    Tile(Tile),
    /// The second dispatch of a split sum, which adds the parts; `join.wgsl`.
    Join,
    /// Two strips of one row a thread; `block.wgsl`.
    Pairs,
    /// One strip of four rows a thread; `rows.wgsl`.
    Stacked,
    /// One strip of one row a thread, so that neighbouring threads move neighbouring quads: for
    /// real GPUs.
    Flat,
}

/// Rows of a thread that takes several; `rows.wgsl`.
pub(crate) const STACK: usize = 4;

/// One compiled form of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The kernel.
    pub stem: Stem,
    /// How threads share the work.
    pub division: Division,
    /// Loads and stores.
    pub width: Width,
    /// True if Philox multiplies in 64-bit integers, which the device must offer.
    pub int64: bool,
    /// True if tensors are stored as f16, which the device must offer. All is computed in f32.
    pub half: bool,
    /// True if the output takes the place of the first tensor.
    pub in_place: bool,
    /// True if an output is another range of a buffer that is read from. All tensors are then
    /// bound for reading and writing.
    pub shared: bool,
    /// True if rate, scale, step and seed are read from a buffer, by kernels that draw masks.
    pub state: bool,
    /// Values of the choices that the kernel's shader has; see [`with`](Self::with).
    pub choices: Choices,
}

/// The index of the value in each choice of a kernel's shader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Choices([u8; CHOICES]);

impl Variant {
    /// Returns the plainest form of a kernel.
    pub fn new(stem: Stem) -> Self {
        let division = stem.shader().divisions[0];
        let (width, choices) = (Width::Scalar, Choices::default());
        let [int64, half, in_place, shared, state] = [false; 5];
        Self { stem, division, width, int64, half, in_place, shared, state, choices }
    }

    /// Returns the form with another value of one of the shader's choices.
    ///
    /// # Panics
    /// If the kernel's shader names no such choice or value.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        let choices = &self.stem.shader().choices;
        let place = choices.iter().position(|choice| choice.name == name).and_then(|index| {
            let values = &choices[index].values;
            Some((index, values.iter().position(|&known| known == value)?))
        });
        let Some((index, value)) = place else {
            panic!("{} has no choice {name} {value}", self.stem.name());
        };
        self.choices.0[index] = value as u8;
        self
    }

    /// Returns the form with a choice between `no` and `yes`; see [`with`](Self::with).
    pub(crate) fn with_if(self, name: &str, is: bool) -> Self {
        self.with(name, if is { "yes" } else { "no" })
    }

    /// Returns the value of one of the shader's choices, if it has that choice.
    pub fn choice(&self, name: &str) -> Option<&'static str> {
        let choices = &self.stem.shader().choices;
        let index = choices.iter().position(|choice| choice.name == name)?;
        choices[index].values.get(usize::from(self.choices.0[index])).copied()
    }

    /// Returns true if a choice has this value.
    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.choice(name) == Some(value)
    }

    /// The tile of a product.
    pub fn tile(&self) -> Option<Tile> {
        match self.division {
            Division::Tile(tile) => Some(tile),
            _ => None,
        }
    }

    /// Returns every form that a kernel comes in, without [`int64`](Self::int64) and the ways in
    /// which tensors can be bound.
    pub fn all() -> Vec<Self> {
        let of_half = |variant: &Self| {
            variant.uses_matrices()
                || variant.division == Division::Flat && variant.width == Width::Vec8
        };
        Stem::ALL.into_iter().flat_map(Self::of).filter(|variant| !of_half(variant)).collect()
    }

    /// Returns every form for tensors stored as f16, without [`int64`](Self::int64).
    pub fn all_half() -> Vec<Self> {
        let stored = |variant: &Self| {
            variant.stem.shader().takes("f16", variant)
                && (variant.width != Width::Vec8 || variant.division == Division::Flat)
        };
        let forms = Stem::ALL.into_iter().flat_map(Self::of).filter(stored);
        forms.map(|variant| Self { half: true, ..variant }).collect()
    }

    /// Returns every form of one kernel: each choice that it has, with each of the others.
    fn of(stem: Stem) -> Vec<Self> {
        let shader = stem.shader();
        let mut forms = Vec::new();
        for &division in &shader.divisions {
            let widths = shader.widths.iter().filter(|&&width| division.has(width));
            forms.extend(widths.map(|&width| Self { division, width, ..Self::new(stem) }));
        }
        for index in 0..shader.choices.len() {
            let more = |form: &Self| {
                let form = *form;
                (0..shader.values(index, &form)).map(move |value| {
                    let mut form = form;
                    form.choices.0[index] = value as u8;
                    form
                })
            };
            forms = forms.iter().flat_map(more).collect();
        }
        forms
    }

    /// Returns what a device must offer to run this form beyond the language's baseline.
    pub fn features(&self) -> wgpu::Features {
        let mut features = wgpu::Features::empty();
        let int64 = self.int64 || self.width == Width::Vec8 && !self.half;
        features.set(wgpu::Features::SHADER_INT64, int64);
        features.set(wgpu::Features::SHADER_F16, self.half);
        let subgroups = matches!(self.tile(), Some(Tile::Shuffle | Tile::Narrow));
        features.set(wgpu::Features::SUBGROUP, subgroups);
        features.set(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX, self.uses_matrices());
        features
    }

    /// Returns true if a product runs on matrix units.
    pub fn uses_matrices(&self) -> bool {
        self.tile().is_some_and(Tile::is_matrix)
    }

    /// Returns the rows and the strips of each that a thread of a kernel of strips takes.
    pub(crate) fn block(&self) -> [usize; 2] {
        match self.division {
            Division::Stacked => [STACK, 1],
            Division::Flat => [1, 1],
            _ => [1, 2],
        }
    }

    /// Returns true if a strip's two quads may lie a workgroup apart. This requires that they are
    /// not loaded as one (`Vec8`) and that a column's result depends only on its value and its own
    /// draw.
    fn spread(&self) -> bool {
        let flat = self.division == Division::Flat && self.width != Width::Vec8;
        flat && self.stem.shader().takes("spread", self)
    }

    /// Returns a name for labels and listings.
    pub fn name(&self) -> String {
        let mut name = self.stem.name().to_owned();
        match self.division {
            Division::Itself | Division::Pairs => {}
            Division::Tile(tile) => name += &format!(".{tile}"),
            Division::Join => name += ".join",
            Division::Stacked => name += ".stacked",
            Division::Flat => name += ".flat",
        }
        name += match self.width {
            Width::Scalar => "",
            Width::Vec4 => ".vec4",
            Width::Vec8 => ".vec8",
        };
        for (choice, &value) in self.stem.shader().choices.iter().zip(&self.choices.0) {
            match (value, choice.values[usize::from(value)]) {
                (0, _) => {}
                (_, "yes") => name += &format!(".{}", choice.name.to_lowercase()),
                (_, value) => name += &format!(".{value}"),
            }
        }
        let rest = [
            (self.int64, ".int64"),
            (self.half, ".f16"),
            (self.in_place, ".in_place"),
            (self.shared, ".shared"),
            (self.state, ".state"),
        ];
        name.extend(rest.into_iter().filter(|&(is, _)| is).map(|(_, word)| word));
        name
    }

    /// Returns the WGSL text.
    pub fn source(&self) -> String {
        self.edited_source(&[])
    }

    /// Returns the WGSL text with the first of each pair replaced by the second, before loops are
    /// unrolled.
    pub(crate) fn edited_source(&self, edits: &[[String; 2]]) -> String {
        let edit = |part: &str| {
            edits.iter().fold(part.to_owned(), |text, [from, to]| text.replace(from, to))
        };
        let parts: Vec<String> = self.kept_parts().iter().map(|part| edit(part)).collect();
        let elements = Elements {
            width: self.width,
            half: self.half,
            first_sums: self.division == Division::Join,
            output_sums: self.is("PART", "yes"),
            apart: self.spread(),
            matrices: self.uses_matrices(),
        };
        let text = assemble(&self.constants(&parts), elements, &parts);
        let text = if self.shared {
            text.replace("var<storage, read>", "var<storage, read_write>")
        } else {
            text
        };
        renumbered(&text)
    }

    /// The files that are joined, and of each what this form compiles.
    fn kept_parts(&self) -> Vec<String> {
        let keep = |part: &str| {
            conditional(part, self).unwrap_or_else(|why| panic!("{}: {why}", self.stem.name()))
        };
        self.parts().into_iter().map(keep).collect()
    }

    /// The files that are joined.
    fn parts(&self) -> Vec<&'static str> {
        let shader = self.stem.shader();
        let mut parts = vec![shader.text];
        for &name in &shader.joins {
            match (name, self.division) {
                ("product", Division::Tile(tile)) => parts.extend([tile.file(), part("parts")]),
                ("product", _) => parts.push(part("join")),
                (name, _) => parts.push(part(name)),
            }
        }
        parts.extend([part("mask"), part("eight")]);
        if self.width == Width::Vec8 {
            parts.push(part(if self.half { "eight_half" } else { "eight_int64" }));
        }
        parts.push(part(if self.int64 { "philox_int64" } else { "philox" }));
        if self.reads_state() {
            parts.push(part("state"));
        }
        parts
    }

    pub(super) fn reads_state(&self) -> bool {
        self.state && self.stem.shader().takes("state", self)
    }

    /// The constants that the text is compiled with.
    fn constants(&self, parts: &[String]) -> String {
        let shader = self.stem.shader();
        let mut constants = String::new();
        if shader.is_joined_with("product") {
            constants += &self.tile().unwrap_or(Tile::Register).constants(self.width);
        }
        if shader.is_joined_with("block") {
            let [rows, groups] = self.block();
            constants += &format!("const ROWS: u32 = {rows}u;\nconst GROUPS: u32 = {groups}u;\n");
            constants += &format!("const SPREAD: bool = {};\n", self.spread());
        }
        for (choice, &value) in shader.choices.iter().zip(&self.choices.0) {
            constants += &match choice.values[usize::from(value)] {
                is @ ("no" | "yes") => format!("const {}: bool = {};\n", choice.name, is == "yes"),
                _ => format!("const {}: u32 = {value}u;\n", choice.name),
            };
        }
        // Functions that a part calls, and that not every kernel has.
        let optional = [("take_state", ""), ("begin_own", "zero: u32"), ("take_own_state", "")];
        for (function, argument) in optional {
            if !parts.iter().any(|part| part.contains(&format!("fn {function}("))) {
                constants += &format!("fn {function}({argument}) {{}}\n");
            }
        }
        constants
    }

    /// Returns the tensors that this form binds, in order: the index of each among the kernel's,
    /// and true if it is written.
    pub(crate) fn bindings(self) -> impl Iterator<Item = (usize, bool)> {
        self.stem.shader().bindings(self)
    }

    /// Returns the names of the tensors that this form binds, in order.
    pub(crate) fn tensor_names(self) -> impl Iterator<Item = &'static str> {
        self.stem.shader().names(self)
    }

    /// Returns the number of storage buffers that the form binds.
    pub fn tensors(&self) -> usize {
        self.bindings().count()
    }
}

impl Division {
    /// Returns true if loads and stores of this width exist under the division.
    fn has(self, width: Width) -> bool {
        match (self, width) {
            (Self::Tile(tile), Width::Vec8) => tile == Tile::Shuffle,
            (Self::Join, Width::Vec8) => false,
            _ => true,
        }
    }
}

/// Numbers the bindings of tensors without a gap, in the order of their declaration.
fn renumbered(text: &str) -> String {
    let mut next = 0..;
    let number = |line: &str| match declared(line) {
        Some((index, _)) => {
            let from = format!("@group(0) @binding({index})");
            line.replacen(&from, &format!("@group(0) @binding({})", next.next().unwrap_or(0)), 1)
                + "\n"
        }
        None => format!("{line}\n"),
    };
    text.lines().map(number).collect()
}

/// A file that is joined to kernels.
fn part(name: &str) -> &'static str {
    macro_rules! parts {
        ($($part:literal)*) => {
            match name {
                $($part => include_str!(concat!("../../shaders/", $part, ".wgsl")),)*
                _ => panic!("there is no shaders/{name}.wgsl to join"),
            }
        };
    }
    parts!("activation" "attention_tile" "block" "eight" "eight_half" "eight_int64" "gradient" "inner" "join" "mask"
        "outer" "parts" "philox" "philox_int64" "relu" "rows" "state" "window")
}

impl Stem {
    /// Returns true if the kernel draws a mask whose rate, scale, step and seed it can read from a
    /// buffer.
    pub fn reads_state(self) -> bool {
        self.shader().can_take("state")
    }

    /// Returns true if the kernel is a matrix product, which comes in tiles.
    pub fn is_product(self) -> bool {
        self.shader().is_joined_with("product")
    }

    /// Returns true if the kernel takes a matrix strip by strip, as `block.wgsl` divides it.
    pub fn is_strips(self) -> bool {
        self.shader().is_joined_with("block")
    }

    /// Returns true if the kernel is fused attention, which takes 128 threads a workgroup, 16 KiB of
    /// workgroup memory and up to eight storage buffers. Other devices take another plan.
    pub fn is_fused_attention(self) -> bool {
        self.shader().is_joined_with("attention_tile")
    }

    /// Returns true if a thread may take four rows, which share part of their draws.
    pub(super) fn is_stacked(self) -> bool {
        self.shader().is_joined_with("rows")
    }

    /// Returns true if tensors of some form of the kernel may be stored as f16.
    pub fn takes_half(self) -> bool {
        self.shader().can_take("f16")
    }

    /// Returns name and type of each of the kernel's own words, as its shader declares them.
    pub(super) fn own_words(self) -> &'static [(&'static str, &'static str)] {
        &self.shader().own
    }

    /// Returns the kernel's file, read.
    pub(super) fn shader(self) -> &'static Shader {
        use std::sync::LazyLock;
        static SHADERS: LazyLock<Vec<Shader>> = LazyLock::new(|| {
            let read = |stem: Stem| {
                Shader::read(stem.file()).unwrap_or_else(|why| panic!("{}: {why}", stem.name()))
            };
            Stem::ALL.map(read).into()
        });
        &SHADERS[self as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_a_form_of_four_tensors_at_most() {
        for stem in Stem::ALL.into_iter().filter(|stem| !stem.is_fused_attention()) {
            let forms = Variant::of(stem);
            assert!(forms.iter().any(|form| form.tensors() <= 4), "{}", stem.name());
        }
    }

    #[test]
    fn names_tell_all_forms_apart() {
        let mut names: Vec<String> = Variant::all().iter().map(Variant::name).collect();
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn bindings_are_numbered_without_a_gap() {
        for form in Variant::all() {
            let text = form.source();
            for index in 0..form.tensors() {
                let declared = format!("@group(0) @binding({index})");
                assert_eq!(text.matches(&declared).count(), 1, "{}: {index}", form.name());
            }
        }
    }
}
