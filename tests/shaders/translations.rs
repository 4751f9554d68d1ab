//! Every kernel in every form that a language can express. Each is translated as wgpu translates it
//! for Vulkan, OpenGL ES, Metal and DX12, and checked by the tools installed on the machine: Tint
//! (WGSL, as browsers read it), `spirv-val` and `glslangValidator`. MSL and HLSL must be written
//! without error. Their own compilers run elsewhere.
//!
//! Each checker has a control: a text with a planted fault, which it must reject.

use crate::shaders::{Form, forms, validated};
use naga::ShaderStage;
use naga::back::{glsl, hlsl, msl, spv};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use rayon::prelude::*;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use wgpu_dropout::gpu::{Division, Stem, Tile, Variant};
use wgpu_dropout::wgpu::Features;

/// Language in which shaders are written or to which they are translated.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Language {
    /// Standard WGSL. 64-bit integers are an extension of naga.
    Wgsl,
    Spirv,
    /// Metal 2.4, with 64-bit integers, subgroups and f16.
    Msl,
    /// Shader model 6.2, compiled by DXC.
    Hlsl,
    /// Shader model 5.1, compiled by FXC: only the baseline.
    Hlsl51,
    /// OpenGL ES 3.1: only the baseline.
    GlslEs,
}

impl Language {
    /// Returns the features beyond the baseline that a language can express.
    fn features(self) -> Features {
        match self {
            Self::Wgsl => Features::SHADER_F16 | Features::SUBGROUP,
            Self::Spirv | Self::Msl | Self::Hlsl => {
                Features::SHADER_F16 | Features::SUBGROUP | Features::SHADER_INT64
            }
            Self::Hlsl51 | Self::GlslEs => Features::empty(),
        }
    }

    /// Returns the forms of kernels that the language can express.
    fn forms(self) -> Vec<&'static Form> {
        forms().iter().filter(|form| self.features().contains(form.variant.features())).collect()
    }
}

const STAGE: ShaderStage = ShaderStage::Compute;
const CHECKED: BoundsCheckPolicies = BoundsCheckPolicies {
    index: BoundsCheckPolicy::Restrict,
    buffer: BoundsCheckPolicy::Restrict,
    image_load: BoundsCheckPolicy::Restrict,
    binding_array: BoundsCheckPolicy::Unchecked,
};

fn spirv(form: &Form) -> Vec<u8> {
    let options = spv::Options {
        lang_version: (1, 3),
        flags: spv::WriterFlags::empty(),
        bounds_check_policies: CHECKED,
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        ..Default::default()
    };
    let entry = spv::PipelineOptions { shader_stage: STAGE, entry_point: "main".to_owned() };
    let words = spv::write_vec(&form.module, &form.info, &options, Some(&entry)).unwrap();
    words.into_iter().flat_map(u32::to_le_bytes).collect()
}

fn gles(form: &Form) -> String {
    let options = glsl::Options {
        version: glsl::Version::new_gles(310),
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let entry = glsl::PipelineOptions {
        shader_stage: STAGE,
        entry_point: "main".to_owned(),
        multiview: None,
    };
    let mut text = String::new();
    glsl::Writer::new(&mut text, &form.module, &form.info, &options, &entry, CHECKED)
        .unwrap()
        .write()
        .unwrap();
    text
}

fn metal(form: &Form) -> String {
    let options = msl::Options {
        lang_version: (2, 4),
        bounds_check_policies: CHECKED,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((STAGE, "main".to_owned())),
        ..Default::default()
    };
    msl::write_string(&form.module, &form.info, &options, &entry).unwrap().0
}

fn directx(form: &Form, shader_model: hlsl::ShaderModel) -> String {
    let options = hlsl::Options {
        shader_model,
        zero_initialize_workgroup_memory: false,
        ..Default::default()
    };
    let entry = hlsl::PipelineOptions { entry_point: Some((STAGE, "main".to_owned())) };
    let mut text = String::new();
    hlsl::Writer::new(&mut text, &options, &entry).write(&form.module, &form.info, None).unwrap();
    text
}

/// Returns the folder of a language's files, which are kept so that a rejected one can be
/// inspected.
fn folder(language: Language) -> PathBuf {
    let folder =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{language:?}").to_lowercase());
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Returns true if a checker is installed, else reports the check as skipped.
fn there(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok()
        || Command::new(program).arg("--help").output().is_ok();
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED: {program} is not installed");
    }
    found
}

/// Writes each form to a file of its own, runs the checker on it, and returns the rejections.
/// Without a `checker`, nothing is checked.
fn refused(
    language: Language,
    extension: &str,
    write: impl Fn(&Form) -> Vec<u8> + Sync,
    checker: Option<&(dyn Fn(&Path) -> Command + Sync)>,
) -> Vec<String> {
    let forms = language.forms();
    assert!(
        forms.len() >= 100
            && Stem::ALL.iter().all(|&stem| forms.iter().any(|form| form.variant.stem == stem)),
        "{}",
        forms.len()
    );
    let folder = folder(language);
    let refusals = forms.par_iter().filter_map(|form| {
        let path = folder.join(format!("{}.{extension}", form.variant.name()));
        let text = write(form);
        assert!(!text.is_empty());
        std::fs::write(&path, text).unwrap();
        checker.and_then(|checker| refusal(&mut checker(&path)))
    });
    let refusals = refusals.collect();
    println!("{language:?}: {} forms", forms.len());
    refusals
}

/// Returns a checker's output if it rejects a file.
fn refusal(checker: &mut Command) -> Option<String> {
    let output = checker.output().unwrap();
    let text = [&output.stdout[..], &output.stderr].concat();
    (!output.status.success()).then(|| format!("{checker:?}: {}", String::from_utf8_lossy(&text)))
}

/// Returns a form as a browser requires it: with the directive for subgroups, which naga cannot
/// read.
fn browser(form: &Form) -> Vec<u8> {
    let subgroups = form.variant.features().contains(Features::SUBGROUP);
    format!("{}{}", if subgroups { "enable subgroups; " } else { "" }, form.wgsl).into_bytes()
}

fn tint(path: &Path) -> Command {
    let mut command = Command::new("tint");
    command.args(["--format", "wgsl", "-o"]).arg(path.with_extension("out.wgsl")).arg(path);
    command
}

fn spirv_val(path: &Path) -> Command {
    let mut command = Command::new("spirv-val");
    command.args(["--target-env", "vulkan1.1"]).arg(path);
    command
}

fn glslang(path: &Path) -> Command {
    let mut command = Command::new("glslangValidator");
    command.args(["-S", "comp"]).arg(path);
    command
}

#[test]
fn browsers_accept_every_form() {
    if !there("tint") {
        return;
    }
    let refused = refused(Language::Wgsl, "wgsl", browser, Some(&tint));
    assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0]);
}

#[test]
fn spirv_is_valid() {
    let refused = refused(Language::Spirv, "spv", spirv, there("spirv-val").then_some(&spirv_val));
    assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0]);
}

#[test]
fn glsl_es_is_valid() {
    let refused = refused(
        Language::GlslEs,
        "comp",
        |form| gles(form).into_bytes(),
        there("glslangValidator").then_some(&glslang),
    );
    assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0]);
}

#[test]
fn metal_s_and_directx_s_languages_are_written() {
    let write = |language| {
        move |form: &Form| {
            let text = match language {
                Language::Msl => metal(form),
                Language::Hlsl => directx(form, hlsl::ShaderModel::V6_2),
                _ => directx(form, hlsl::ShaderModel::V5_1),
            };
            let threads = form.module.entry_points[0].workgroup_size[0];
            let says = if language == Language::Msl {
                "kernel void main_".to_owned()
            } else {
                format!("numthreads({threads}, 1, 1)")
            };
            assert!(text.contains(&says), "{}", form.variant.name());
            text.into_bytes()
        }
    };
    for (language, extension) in
        [(Language::Msl, "metal"), (Language::Hlsl, "hlsl"), (Language::Hlsl51, "hlsl")]
    {
        refused(language, extension, write(language), None);
    }
}

/// Returns forms with barriers, each with a planted `return` of one thread before the first
/// barrier.
fn planted_returns() -> Vec<(Variant, String)> {
    let in_tile = |stem, tile| Variant { division: Division::Tile(tile), ..Variant::new(stem) };
    let with_barriers = [
        in_tile(Stem::LinearForward, Tile::Workgroup),
        in_tile(Stem::GradInput, Tile::Large),
        in_tile(Stem::GradWeight, Tile::Tall),
        Variant::new(Stem::BatchLoss),
    ];
    let plant = |variant: Variant| {
        let wgsl = variant.source();
        assert!(wgsl.contains("workgroupBarrier();"), "{}", variant.name());
        (
            variant,
            wgsl.replacen("begin(workgroup);", "begin(workgroup); if lane == 3u { return; }", 1),
        )
    };
    with_barriers.map(plant).to_vec()
}

/// Controls of the tests above. naga accepts the planted `return`. Tint rejects it before a GPU
/// sees it.
#[test]
fn each_checker_refuses_a_planted_fault() {
    let planted = |name: &str, text: &[u8]| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    if there("tint") {
        for (variant, wgsl) in planted_returns() {
            validated(&variant, &wgsl);
            let refusal =
                refusal(&mut tint(&planted(&format!("{}.wgsl", variant.name()), wgsl.as_bytes())));
            assert!(
                refusal.is_some_and(|text| text.contains("uniform control flow")),
                "{}",
                variant.name()
            );
        }
    }
    let form = Form::new(Variant::new(Stem::Dropout));
    if there("spirv-val") {
        let whole = spirv(&form);
        // The last instruction ends the last function.
        assert!(refusal(&mut spirv_val(&planted("cut.spv", &whole[..whole.len() - 4]))).is_some());
    }
    if there("glslangValidator") {
        let text = gles(&form).replacen("uint", "float", 1);
        assert!(refusal(&mut glslang(&planted("wrong.comp", text.as_bytes()))).is_some());
    }
}

/// Compiles HLSL with Microsoft's compiler, if `WGPU_DROPOUT_DXC` names its library
/// (`libdxcompiler.so`). Each file has a process of its own, since the compiler may crash on a text
/// that it rejects.
#[test]
#[ignore = "takes minutes and requires DXC"]
fn dxc_accepts_every_form() {
    let Some(library) = std::env::var_os("WGPU_DROPOUT_DXC") else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: WGPU_DROPOUT_DXC names no libdxcompiler.so");
        return;
    };
    let dxc = |path: &Path| {
        let mut python = Command::new("python3");
        python
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/portability/dxc.py"))
            .arg(&library)
            .arg(path);
        python
    };
    let write = |form: &Form| directx(form, hlsl::ShaderModel::V6_2).into_bytes();
    let refused = refused(Language::Hlsl, "hlsl", write, Some(&dxc));
    assert!(refused.is_empty(), "{} refused: {}", refused.len(), refused[0]);
    let wrong = folder(Language::Hlsl).join("wrong.hlsl");
    std::fs::write(&wrong, "[numthreads(64, 1, 1)] void main() { nothing = 1; }").unwrap();
    assert!(refusal(&mut dxc(&wrong)).is_some_and(|text| text.contains("nothing")));
}
