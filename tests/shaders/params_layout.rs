//! The host's parameter block against the shader's, by naga's reflection, and every variant in
//! naga's validator.

use crate::shaders::{Form, forms, parsed};
use naga::{AddressSpace, Module, ScalarKind, StorageAccess, StructMember, TypeInner};
use std::collections::HashSet;
use std::mem::offset_of;
use wgpu_dropout::gpu::{Params, State, Stem, Tile, Variant};
use wgpu_dropout::{AlphaDropout, Dropout, Key, Mask, Mode, Rate, wgpu};

/// Name and byte offset of each member of a struct, and its size.
type Layout = (Vec<(String, u32)>, u32);

/// The host's layout of the head.
fn head() -> Layout {
    let names = Params::HEAD.iter().map(|name| (*name).to_owned());
    (names.zip((0..).step_by(4)).collect(), offset_of!(Params, own) as u32)
}

/// Returns the layout of the parameter uniform at group 1, binding 0.
fn uniform(module: &Module) -> Layout {
    let uniforms = module
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::Uniform);
    let mut bound: Vec<_> = uniforms
        .map(|(_, variable)| (variable.binding.expect("bound"), &module.types[variable.ty]))
        .collect();
    bound.sort_by_key(|(place, _)| (place.group, place.binding));
    let places: Vec<_> = bound
        .iter()
        .map(|(place, ty)| (place.group, place.binding, ty.name.as_deref().unwrap()))
        .collect();
    assert_eq!(places, [(1, 0, "Params"), (1, 1, "State")][..bound.len()]);
    let ty = bound.first().expect("a uniform").1;
    let TypeInner::Struct { members, .. } = &ty.inner else { panic!("a struct") };
    let (own, head): (Vec<_>, Vec<_>) =
        members.iter().partition(|member| member.name.as_deref() == Some("own"));
    let layout = |members: &[&StructMember]| -> Vec<(String, u32)> {
        members.iter().map(|member| (member.name.clone().unwrap(), member.offset)).collect()
    };
    for member in &head {
        let float = member.name.as_deref() == Some("scale");
        assert_scalar(module, member, &[if float { ScalarKind::Float } else { ScalarKind::Uint }]);
    }
    // The kernel's own words follow one another without a gap. They start where the host puts them,
    // which the caller compares.
    let end = own.first().or(head.last()).map_or(0, |member| member.offset);
    let end = if own.is_empty() { end + 4 } else { end };
    for member in own {
        let TypeInner::Struct { members, span } = &module.types[member.ty].inner else {
            panic!("a struct")
        };
        assert!((member.offset + span) as usize <= size_of::<Params>());
        for (member, offset) in members.iter().zip((0..).step_by(4)) {
            assert_eq!(member.offset, offset, "{:?}", member.name);
            assert_scalar(module, member, &[ScalarKind::Float, ScalarKind::Uint]);
        }
    }
    (layout(&head), end)
}

fn assert_scalar(module: &Module, member: &StructMember, kinds: &[ScalarKind]) {
    let ty = &module.types[member.ty].inner;
    let TypeInner::Scalar(scalar) = ty else { panic!("{:?}: scalars only", member.name) };
    assert!(scalar.width == 4 && kinds.contains(&scalar.kind), "{:?}", member.name);
}

#[test]
fn the_head_is_scalars_without_a_gap() {
    let (fields, size) = head();
    assert_eq!(size as usize, 4 * fields.len());
    let params = Params { scale: 0.5, layer: 7, ..Params::default() };
    let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytemuck::bytes_of(&params));
    let at = |name| fields.iter().find(|(field, _)| field == name).map(|(_, at)| *at as usize / 4);
    assert_eq!(words[at("scale").unwrap()], 0.5f32.to_bits());
    assert_eq!(words[at("layer").unwrap()], 7);
    assert_eq!(offset_of!(Params, tensors), 4 * at("a_start").unwrap());
}

#[test]
fn the_host_s_layout_is_the_shader_s_in_every_variant() {
    for form in forms() {
        assert_eq!(uniform(&form.module), head(), "{}", form.variant.name());
    }
}

/// Checks that a state's bytes are the fields that shaders/state.wgsl reads, in its order.
#[test]
fn a_state_is_laid_out_as_the_shader_reads_it() {
    let variant = Variant { state: true, ..Variant::new(Stem::Dropout) };
    let module = parsed(&variant, &variant.source());
    let (_, ty) =
        module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("State")).expect("a state");
    let TypeInner::Struct { members, span } = &ty.inner else { panic!("a struct") };
    let fields: Vec<_> =
        members.iter().map(|member| (member.name.as_deref().unwrap(), member.offset)).collect();
    let places = [
        ("threshold", 0),
        ("scale", 4),
        ("step", 8),
        ("seed_low", 12),
        ("seed_high", 16),
        ("shift", 20),
        ("dropped", 24),
    ];
    assert_eq!(fields, places);
    assert_eq!(u64::from(*span), State::SIZE);
    let key = Key { seed: 0x0123_4567_89ab_cdef, layer: 3, step: 77 };
    let mask = Mask::new(Rate::keep(0.25).unwrap(), key);
    let words = |state: State| -> Vec<u32> {
        state
            .bytes()
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    };
    assert_eq!(
        words(State::new(&Dropout::train(Mode::Inverted, mask))),
        [16384, 4f32.to_bits(), 77, 0x89ab_cdef, 0x0123_4567, 0, 0]
    );
    let alpha = AlphaDropout::train(mask);
    let [scale, shift, dropped] = [alpha.scale, alpha.shift, alpha.dropped].map(f32::to_bits);
    assert_eq!(
        words(State::alpha(&alpha)),
        [16384, scale, 77, 0x89ab_cdef, 0x0123_4567, shift, dropped]
    );
}

/// The control: checks that swapped fields, or the alignment of a vector, which differs between
/// WGSL and Rust, are detected.
#[test]
fn another_layout_is_found_out() {
    let variant = Variant::new(Stem::Dropout);
    let wgsl = variant.source();
    for (field, changed) in [
        ("    layer: u32,\n    step: u32,", "    step: u32,\n    layer: u32,"),
        ("    cols: u32,", "    @align(16) cols: u32,"),
    ] {
        // The comments at the fields' ends are not part of the layout.
        let bare: String = wgsl
            .lines()
            .map(|line| line.split("  //").next().unwrap().trim_end().to_owned() + "\n")
            .collect();
        assert!(bare.contains(field), "{field}");
        assert_ne!(uniform(&parsed(&variant, &bare.replace(field, changed))), head(), "{changed}");
    }
}

#[test]
fn every_variant_is_valid_and_has_a_name_of_its_own() {
    let mut names = HashSet::new();
    // The baseline requires nothing that an adapter may lack: no f16, no subgroups, and 64-bit
    // integers only in the variants that declare them.
    for Form { variant, wgsl, module, .. } in forms() {
        let name = variant.name();
        let needs = variant.features();
        assert!(names.insert(name.clone()), "{name} twice");
        for absent in ["enable ", "switch", "num_workgroups", "f16", "override "] {
            let code = wgsl.lines().filter_map(|line| line.split("//").next());
            let is_absent = code.into_iter().all(|line| !line.contains(absent));
            assert_eq!(
                is_absent,
                !(variant.half && ["enable ", "f16"].contains(&absent)),
                "{name} has `{absent}`, or lacks it"
            );
        }
        assert_eq!(module.entry_points.len(), 1, "{name}");
        let entry = &module.entry_points[0];
        assert_eq!(entry.name, "main", "{name}");
        assert_eq!(wgsl.contains("u64"), needs.contains(wgpu::Features::SHADER_INT64), "{name}");
        let threads: u32 = entry.workgroup_size.iter().product();
        // Needs of the tile, and those of every kernel.
        let (most_threads, most) = match variant.tile() {
            Some(tile) if tile.is_matrix() => (256, 47_104),
            Some(Tile::Large) => (256, 32_768),
            Some(tile) if tile.is_shared() => (64, 16_384),
            None if variant.stem.is_fused_attention() => (128, 16_384),
            _ => (64, 512),
        };
        assert!(threads <= most_threads, "{name}: {threads} threads");
        let shared = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup);
        let bytes: u32 =
            shared.map(|(_, variable)| module.types[variable.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= most, "{name}: {bytes} bytes of workgroup memory");
    }
    assert!(
        Stem::ALL
            .iter()
            .all(|stem| names.iter().any(|name| name.split('.').next() == Some(stem.name())))
    );
}

/// Checks that tensors are the bindings 0, 1, … of group 0, also where a choice leaves some out,
/// and that every kernel writes one.
#[test]
fn tensors_are_bound_in_order_without_a_gap() {
    for Form { variant, module, .. } in forms() {
        let storage =
            module.global_variables.iter().filter_map(|(_, variable)| match variable.space {
                AddressSpace::Storage { access } => {
                    variable.binding.map(|place| (place.group, place.binding, access))
                }
                _ => None,
            });
        let mut bindings: Vec<(u32, u32, StorageAccess)> = storage.collect();
        bindings.sort_by_key(|&(group, binding, _)| (group, binding));
        let places: Vec<(u32, u32)> =
            bindings.iter().map(|&(group, binding, _)| (group, binding)).collect();
        assert_eq!(
            places,
            (0..bindings.len() as u32).map(|binding| (0, binding)).collect::<Vec<_>>(),
            "{}",
            variant.name()
        );
        let most = match variant.choice("BOUND") {
            _ if variant.stem.is_fused_attention() => 8,
            None | Some("all") => 6,
            Some(_) => 4,
        };
        assert!(bindings.len() <= most, "{}: {} storage buffers", variant.name(), bindings.len());
        assert_eq!(bindings.len(), variant.tensors(), "{}", variant.name());
        let is_written = bindings.iter().any(|(.., access)| access.contains(StorageAccess::STORE));
        assert!(is_written, "{}", variant.name());
    }
}
