//! Every form of every kernel, parsed and validated by naga.
#![allow(dead_code)]

use naga::Module;
use naga::valid::{
    Capabilities, ModuleInfo, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator,
};
use rayon::prelude::*;
use std::sync::LazyLock;
use wgpu_dropout::gpu::{Stem, Tile, Variant};
use wgpu_dropout::wgpu::Features;

/// Returns every form of every kernel, with and without 64-bit integers, for every placement of its
/// tensors.
pub fn variants() -> impl Iterator<Item = Variant> {
    let stored = Variant::all().into_iter().chain(Variant::all_half());
    stored.flat_map(|variant| {
        let in_place = (variant.stem.is_strips() && variant.stem != Stem::Copy)
            .then_some(Variant { in_place: true, ..variant });
        // The other inputs may lie in the buffer that it changes.
        let reads_more =
            |variant: &Variant| matches!(variant.stem, Stem::ActivationGrad | Stem::DropoutBits);
        let both = in_place.filter(reads_more).map(|variant| Variant { shared: true, ..variant });
        // The place from which a site's state is read does not depend on how a product is divided.
        let plain = variant.stem.reads_state()
            && !variant.half
            && variant.choice("PART") != Some("yes")
            && variant.tile().is_none_or(|tile| tile == Tile::Register);
        let state = plain.then_some(Variant { state: true, ..variant });
        let always =
            [variant, Variant { int64: true, ..variant }, Variant { shared: true, ..variant }];
        always.into_iter().chain(in_place).chain(both).chain(state)
    })
}

/// A form of a kernel: its text, its parsed module and its validation result.
pub struct Form {
    pub variant: Variant,
    pub wgsl: String,
    pub module: Module,
    pub info: ModuleInfo,
}

impl Form {
    /// Parses and validates a form with only the capabilities that the form requires.
    pub fn new(variant: Variant) -> Self {
        let wgsl = variant.source();
        let (module, info) = validated(&variant, &wgsl);
        Self { variant, wgsl, module, info }
    }
}

/// Returns every form, parsed once for all tests of a file.
pub fn forms() -> &'static [Form] {
    static FORMS: LazyLock<Vec<Form>> = LazyLock::new(|| {
        let all: Vec<Variant> = variants().collect();
        all.into_par_iter().map(Form::new).collect()
    });
    &FORMS
}

/// Parses a form's text.
pub fn parsed(variant: &Variant, wgsl: &str) -> Module {
    naga::front::wgsl::parse_str(wgsl)
        .unwrap_or_else(|error| panic!("{}: {}", variant.name(), error.emit_to_string(wgsl)))
}

/// Parses and validates a form's text with only the capabilities that the form requires.
pub fn validated(variant: &Variant, wgsl: &str) -> (Module, ModuleInfo) {
    let module = parsed(variant, wgsl);
    let needs = variant.features();
    let mut capabilities = Capabilities::empty();
    capabilities.set(Capabilities::SHADER_INT64, needs.contains(Features::SHADER_INT64));
    // `unpack2x16float` is part of the language, but naga counts it as a capability; wgpu has it
    // wherever it has f16.
    let halves = Capabilities::SHADER_FLOAT16 | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(halves, needs.contains(Features::SHADER_F16));
    capabilities.set(Capabilities::SUBGROUP, needs.contains(Features::SUBGROUP));
    capabilities.set(
        Capabilities::COOPERATIVE_MATRIX,
        needs.contains(Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
    );
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}: {}", variant.name(), error.emit_to_string(wgsl)));
    (module, info)
}
