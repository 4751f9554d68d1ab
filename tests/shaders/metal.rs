//! The kernels in the form that Metal would receive: naga's MSL, compiled as C++ with a shim for
//! Metal's vectors and threads (`tests/portability/metal`), run on the CPU. A [`Gpu`] on wgpu's
//! noop backend hands its dispatches over, so that everything that runs on a device can run here.
//!
//! The threads of a workgroup run one after another, each up to the next barrier; so do the
//! workgroups. Every dispatch runs once in ascending and once in descending order. Different
//! results reveal a race, which a driver may hide. Workgroup memory starts as NaN.

use crate::noop;
use naga::back::msl;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use wgpu_dropout::call::{BatchLoss, LinearForward};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Gpu, Job, Kernels, Planner, Runner, Tile, Tiles};
use wgpu_dropout::verify::{self, Options};
use wgpu_dropout::wgpu::{DeviceType, Features, Limits};
use wgpu_dropout::{Backend, Dropout, Error, Key, Mask, Rate, Result};

/// Process of a kernel, which takes dispatches and returns buffers. The first caller compiles it;
/// before that it is `None`.
type Program = Arc<Mutex<Option<Child>>>;

/// Stand-in for Metal on the CPU, with the kernels compiled so far by their text.
#[derive(Debug, Default)]
struct Metal {
    programs: Mutex<HashMap<String, Program>>,
    /// Number of dispatches, each run in both orders.
    dispatches: AtomicUsize,
}

fn wrong(what: impl ToString) -> Error {
    Error::Device { what: what.to_string() }
}

impl Runner for Metal {
    fn run(&self, job: &Job<'_>, contents: &mut Vec<Vec<u8>>) -> Result<()> {
        let program = self.program(&job.wgsl);
        let mut program = program.lock().unwrap();
        let child = match &mut *program {
            Some(child) => child,
            none => none.insert(compile(&job.name, &job.wgsl, job.params.len())?),
        };
        let ascending = exchange(child, job, contents, false)?;
        let descending = exchange(child, job, contents, true)?;
        if ascending != descending {
            return Err(wrong(format!(
                "{}: its result depends on the order of its threads",
                job.name
            )));
        }
        *contents = ascending;
        self.dispatches.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

impl Metal {
    /// Returns the process of a kernel's text, which may not be compiled yet.
    fn program(&self, wgsl: &str) -> Program {
        self.programs.lock().unwrap().entry(wgsl.to_owned()).or_default().clone()
    }
}

/// Runs one dispatch in one order; returns the contents of all buffers after it.
fn exchange(
    child: &mut Child,
    job: &Job<'_>,
    contents: &[Vec<u8>],
    descending: bool,
) -> Result<Vec<Vec<u8>>> {
    let mut message: Vec<u8> = Vec::new();
    let mut put = |word: u32| message.extend(word.to_le_bytes());
    let [width, height] = job.grid;
    let bound = job.bindings.len() as u32;
    [u32::from(descending), width, height, bound].into_iter().for_each(&mut put);
    job.bindings.iter().flatten().copied().for_each(&mut put);
    message.extend(job.params);
    message.extend((contents.len() as u32).to_le_bytes());
    for bytes in contents {
        message.extend((bytes.len() as u32).to_le_bytes());
        message.extend(bytes);
    }
    let (Some(input), Some(output)) = (child.stdin.as_mut(), child.stdout.as_mut()) else {
        return Err(wrong("no pipe"));
    };
    let sent = input.write_all(&message).and_then(|()| input.flush());
    let mut after = contents.to_vec();
    let received = after.iter_mut().try_for_each(|bytes| output.read_exact(bytes));
    match sent.and(received) {
        Ok(()) => Ok(after),
        Err(error) => {
            let mut said = String::new();
            let _ = child.stderr.as_mut().map(|errors| errors.read_to_string(&mut said));
            Err(wrong(format!("{}: {error}: {said}", job.name)))
        }
    }
}

/// Returns the C++ compiler of this machine, if there is one.
fn compiler() -> Option<&'static str> {
    ["g++", "clang++"].into_iter().find(|name| Command::new(name).arg("--version").output().is_ok())
}

/// Compiles a kernel whose parameter block has `block` bytes, and starts its process.
fn compile(name: &str, wgsl: &str, block: usize) -> Result<Child> {
    let folder = tempfile::tempdir().map_err(wrong)?;
    let path = folder.path().join(format!("{name}.cpp"));
    std::fs::write(&path, translate(wgsl, block)).map_err(wrong)?;
    let program = path.with_extension("out");
    // In Metal, literals are floats. Contraction is off: only an explicit fma is fused.
    let output = Command::new(compiler().unwrap_or("g++"))
        .args([
            "-std=c++20",
            "-O1",
            "-w",
            "-fsingle-precision-constant",
            "-ffp-contract=off",
            "-fno-strict-aliasing",
            "-mfma",
            "-I",
        ])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/portability/metal"))
        .arg(&path)
        .arg("-o")
        .arg(&program)
        .output()
        .map_err(wrong)?;
    if !output.status.success() {
        return Err(wrong(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))));
    }
    // The folder may be deleted once the program runs.
    Command::new(&program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(wrong)
}

/// Translates a kernel to MSL and adds the C++ that binds its arguments.
fn translate(wgsl: &str, block: usize) -> String {
    let module = naga::front::wgsl::parse_str(wgsl).unwrap();
    let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_INT64)
        .validate(&module)
        .unwrap();
    let mut resources = msl::EntryPointResources { sizes_buffer: Some(30), ..Default::default() };
    for (_, variable) in module.global_variables.iter() {
        if let Some(binding) = variable.binding {
            let target = msl::BindTarget {
                buffer: Some((16 * binding.group + binding.binding) as u8),
                mutable: true,
                ..Default::default()
            };
            resources.resources.insert(binding, target);
        }
    }
    let options = msl::Options {
        lang_version: (2, 4),
        per_entry_point_map: [("main".to_owned(), resources)].into(),
        zero_initialize_workgroup_memory: false,
        fake_missing_bindings: false,
        ..Default::default()
    };
    let entry = msl::PipelineOptions {
        entry_point: Some((naga::ShaderStage::Compute, "main".to_owned())),
        ..Default::default()
    };
    let (text, _) = msl::write_string(&module, &info, &options, &entry).unwrap();
    let body: String = text
        .lines()
        .filter(|line| !line.starts_with("#include"))
        .map(|line| format!("{line}\n"))
        .collect();
    // A swizzle is a method in C++.
    let swizzles = ["xy", "zw", "yzw", "yzww"]
        .into_iter()
        .flat_map(|name| [")", ",", ";", " "].map(|end| (name, end)));
    let body = swizzles.fold(body, |body, (name, end)| {
        body.replace(&format!(".{name}{end}"), &format!(".{name}(){end}"))
    });
    // The sizes of run-time arrays, which MSL takes in fields numbered by the variables.
    let mut sizes = String::new();
    for (handle, variable) in module.global_variables.iter() {
        let field = format!("size{}", handle.index());
        if let (Some(binding), true) = (variable.binding, body.contains(&format!("uint {field};")))
        {
            let _ = write!(sizes, "sizes.{field} = bytes[{}]; ", binding.binding);
        }
    }
    let mut arguments = Vec::new();
    let mut variables = 0;
    let head = body
        .split_once("kernel void main_(")
        .and_then(|(_, rest)| rest.split_once("\n)"))
        .map(|(head, _)| head)
        .unwrap();
    for line in
        head.lines().map(|line| line.trim_start_matches([',', ' '])).filter(|line| !line.is_empty())
    {
        let buffer = line
            .split_once("[[buffer(")
            .and_then(|(_, rest)| rest.split_once(')'))
            .map(|(n, _)| n.parse::<u32>().unwrap());
        arguments.push(match buffer {
            Some(30) => "sizes".to_owned(),
            Some(16) => "shim::Any{const_cast<void*>(block)}".to_owned(),
            Some(n) => format!("shim::Any{{at[{n}]}}"),
            None if line.contains("threadgroup_position_in_grid") => "workgroup".to_owned(),
            None if line.contains("thread_index_in_threadgroup") => "lane".to_owned(),
            None if line.starts_with("threadgroup ") => {
                variables += 1;
                format!("shim::shared_variable({})", variables - 1)
            }
            None => panic!("an argument that the shim does not know: {line}"),
        });
    }
    let threads = module.entry_points[0].workgroup_size[0];
    let (barriers, arguments) = (body.contains("threadgroup_barrier("), arguments.join(", "));
    let sizes_type = if sizes.is_empty() { "" } else { "static shader::_mslBufferSizes sizes;" };
    format!(
        "#include \"threads.hpp\"\nnamespace shader {{\n{body}}}\nstatic std::vector<void*> at; static const void* block; {sizes_type}\n\
         static void one(metal::uint3 workgroup, unsigned lane) {{ shader::main_({arguments}); }}\n\
         int main() {{ shim::serve({threads}, {variables}, {barriers}, {block}, [](const std::vector<void*>& to, \
         const std::vector<uint32_t>& bytes, const void* parameters) {{ at = to; block = parameters; {sizes}}}, one); }}\n"
    )
}

/// Returns a device whose backend computes nothing, with the CPU in its place.
fn metal() -> (Gpu, Arc<Metal>) {
    let (device, queue) =
        noop::pretend(Features::SHADER_INT64, &Limits::default(), DeviceType::IntegratedGpu);
    let metal = Arc::new(Metal::default());
    (Gpu::on(device, queue).unwrap().with_runner(metal.clone()), metal)
}

/// Returns true if there is a compiler; otherwise it announces that the test is skipped.
fn there() -> bool {
    let found = compiler().is_some();
    if !found {
        let _ = writeln!(std::io::stderr(), "SKIPPED: neither g++ nor clang++ is installed");
    }
    found
}

/// Runs the conformance suite of `wgpu-dropout verify --quick` with fewer masks: every kernel,
/// in the tiles that need no subgroups.
#[test]
#[ignore = "takes minutes: some 250 kernels are compiled"]
fn the_suite_passes() {
    if !there() {
        return;
    }
    let options = Options { masks: 100, layers: 40, draws: 1 << 14, ..Options::quick(7) };
    let (gpu, metal) = metal();
    let report = verify::gpu(&gpu, &options, &mut |check| println!("{check}")).unwrap();
    println!("{} dispatches in both orders", metal.dispatches.load(Ordering::Relaxed));
    assert!(report.passed(), "{:?}", report.failure());
}

/// Computes a shard's mask, a product through workgroup memory and a sum of losses; for each,
/// returns true if it is right to the bit.
fn right(gpu: &mut Gpu) -> Result<[bool; 3]> {
    let mask =
        Mask::new(Rate::keep(0.25)?, Key { seed: u64::MAX, layer: 5, step: 123_456 }).at(100, 1000);
    let drawn = gpu.read_mask(mask, 33, 77)? == mask.bytes(33, 77)?;
    let (batch, inputs, outputs) = (64, 48, 64);
    let whole = |seed: usize, count: usize| {
        (0..count).map(|i| ((i * 7 + i / 5 + seed) % 9) as f32 - 4.0).collect::<Vec<_>>()
    };
    let a = whole(1, batch * inputs);
    let b = whole(2, inputs * outputs);
    let losses = whole(3, 2 * 640);
    let mut product = vec![f32::NAN; batch * outputs];
    reference::linear_forward(&a, &b, None, &mut product, [inputs, outputs], true, &Dropout::NONE);
    let x = gpu.tensor(batch, inputs, &a)?;
    let weight = gpu.tensor(inputs, outputs, &b)?;
    let mut y = gpu.tensor(batch, outputs, &vec![f32::NAN; batch * outputs])?;
    gpu.run(LinearForward {
        x: &x,
        weight: &weight,
        bias: None,
        y: &mut y,
        relu: true,
        dropout: Dropout::NONE,
    })?;
    let total = [0, 1].map(|column| losses.iter().skip(column).step_by(2).sum::<f32>());
    let losses = gpu.tensor(640, 2, &losses)?;
    let mut totals = gpu.tensor(1, 2, &[f32::NAN; 2])?;
    gpu.run(BatchLoss { losses: &losses, totals: &mut totals, slot: 0 })?;
    Ok([drawn, gpu.read(&y)? == product, gpu.read(&totals)? == total])
}

/// The result depends on the order of the threads if a barrier is removed, and also with a race
/// between two neighbouring threads, which stays hidden when they run in lockstep. A changed
/// constant of Philox shows in the mask.
#[test]
fn kernels_are_right_and_races_show() {
    if !there() {
        return;
    }
    let (gpu, _) = metal();
    let tiled = |planner| Planner { tiles: Tiles::all(Tile::Workgroup), ..planner };
    let edited = |from: &str, to: &str| {
        let kernels = Kernels::with_planner(gpu.device(), tiled).unwrap();
        right(&mut gpu.with_kernels(kernels.edited(from, to)))
    };
    assert_eq!(edited("no such text", "").unwrap(), [true; 3]);
    assert_eq!(edited("D2511F53", "D2511F52").unwrap(), [false, true, true]);
    let barrier = "workgroupBarrier();";
    let stored =
        "store(buffer, load, lane, next[load], next_k, tile_row, tile_col);\n        }\n        ";
    let races = [
        (format!("    {barrier}\n    var buffer"), "\n    var buffer".to_owned(), "linear_forward"),
        (format!("{stored}{barrier}"), stored.to_owned(), "linear_forward"),
        (
            format!("partial[lane] = sum;\n    {barrier}"),
            "partial[lane] = sum;\n".to_owned(),
            "batch_loss",
        ),
        (
            format!("{barrier}\n    if lane"),
            format!("{barrier}\n    partial[lane] += partial[lane ^ 1u];\n    if lane"),
            "batch_loss",
        ),
    ];
    for (from, to, kernel) in races {
        let error = edited(&from, &to).unwrap_err().to_string();
        assert!(
            error.contains(kernel) && error.contains("depends on the order of its threads"),
            "{error}"
        );
    }
}
