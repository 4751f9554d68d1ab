//! Faults from outside: a device lost at any call, processes killed while they save, full disks,
//! read-only folders, two writers of one file, and threads that submit at once. Each must end in a
//! typed error or in the right result. Nothing may hang, and no file may be a mixture of two.

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;
#[cfg(target_os = "linux")]
#[path = "faults/outputs.rs"]
mod outputs;
#[cfg(unix)]
#[path = "faults/refused.rs"]
mod refused;
#[cfg(unix)]
#[path = "faults/streams.rs"]
mod streams;
#[cfg(unix)]
#[path = "faults/writers.rs"]
mod writers;

use cli::{command, files};
use common::raw::Raw;
use common::{noise, same_bits};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{DropoutCall, LinearForward};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Gpu, Kernels, View};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Sharing, Source, Training};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate, Result};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a whole number"))
}

fn mask(step: u32) -> Mask {
    Mask::new(Rate::keep(0.5).unwrap(), Key { seed: 4, layer: 1, step })
}

fn small() -> Architecture {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::KEEP_ALL);
    Architecture {
        inputs: 20,
        hidden: vec![16],
        classes: 3,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 1,
    }
}

/// Makes the calls of a typical run of a network. `before` is called before each step.
fn work(net: &mut Mlp<Gpu>, before: &mut dyn FnMut(&Gpu)) -> Result<()> {
    let (x, labels) = (noise(1, 9 * 20), [0, 1, 2, 0, 1, 2, 0, 1, 2]);
    before(net.backend());
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 20, 1.0, &labels)?;
    for _ in 0..2 {
        before(net.backend());
        net.train_step(&x, &labels, &Training::default())?;
    }
    before(net.backend());
    net.train_epoch(&data, &Training::default())?;
    before(net.backend());
    net.evaluate(&data)?;
    before(net.backend());
    net.predict(&x)?;
    before(net.backend());
    net.predict_monte_carlo(&data, 3, Sharing::PerRow)?;
    before(net.backend());
    net.parameters(0)?;
    before(net.backend());
    let gpu = net.backend_mut();
    gpu.read_mask(mask(0), 9, 99)?;
    before(gpu);
    let mut y = gpu.zeros::<f32>(9, 20)?;
    before(gpu);
    let x = gpu.tensor(9, 20, &x)?;
    before(gpu);
    gpu.run(DropoutCall { x: &x, y: &mut y, dropout: Dropout::NONE })?;
    before(gpu);
    gpu.submit()?;
    before(gpu);
    gpu.read(&y).map(drop)
}

#[test]
fn a_device_lost_at_any_step_is_an_error_and_nothing_hangs() {
    let Some(gpu) = common::gpu() else { return };
    let mut steps = 0;
    work(&mut Mlp::new(gpu, small()).unwrap(), &mut |_| steps += 1).unwrap();
    for lost in 0..steps {
        let mut net = Mlp::new(common::gpu().unwrap(), small()).unwrap();
        let (mut step, start, mut gone) = (0, Instant::now(), Instant::now());
        let outcome = work(&mut net, &mut |gpu| {
            if step == lost {
                gpu.device().destroy();
                gone = Instant::now();
            }
            step += 1;
        });
        let took = gone.elapsed();
        assert!(took < Duration::from_secs(1), "lost before step {lost}: {took:?} until the error");
        let error = outcome.expect_err("a lost device must give no result");
        assert!(
            matches!(error, Error::Device { .. } | Error::OutOfMemory { .. }),
            "lost before step {lost}: {error:?}"
        );
        // It stays lost, and every later call returns an error.
        assert!(
            net.predict(&noise(1, 20)).is_err() && net.backend_mut().wait().is_err(),
            "lost before step {lost}"
        );
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "lost before step {lost}: {:?}",
            start.elapsed()
        );
    }
    println!("lost before each of {steps} steps");
}

/// A lost device is an error too if it belongs to an owner with an error handler of their own.
#[test]
fn an_owner_s_device_that_is_lost_is_an_error_too() {
    let Some(raw) = Raw::open() else { return };
    let heard = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = heard.clone();
    raw.device.on_uncaptured_error(Arc::new(move |_| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let mut gpu = Gpu::on(raw.device.clone(), raw.queue.clone()).unwrap();
    assert!(gpu.read_mask(mask(0), 9, 99).is_ok());
    raw.device.destroy();
    assert!(gpu.read_mask(mask(0), 9, 99).is_err());
    assert!(gpu.wait().is_err() || gpu.read_mask(mask(1), 3, 3).is_err());
}

fn epoch_of(path: &Path) -> u32 {
    Mlp::load(Cpu::new(), path).unwrap_or_else(|error| panic!("half a file: {error}")).epoch()
}

/// Writes so few rows that an epoch takes less time than saving.
fn data(folder: &Path) {
    let row = |i: u32| format!("{}.5,-0.{},{},{}\n", i % 3, i % 7, (i * i) % 5, i % 2);
    std::fs::write(folder.join("d.csv"), (0..40).map(row).collect::<String>()).unwrap();
}

const ENDLESS: &str = "train --device cpu --data d.csv --hidden 64,64 --epochs 1000000";

fn quietly(mut command: Command) -> Child {
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// A process killed at any moment leaves its last save intact: the old network or the new one.
/// `WGPU_DROPOUT_KILLS=1000` kills more often.
#[test]
fn a_process_killed_while_it_saves_leaves_the_old_network_or_the_new_one() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    data(folder);
    let path = folder.join("net");
    command(folder, "train --device cpu --data d.csv --hidden 64,64 --epochs 1 --save net")
        .output()
        .unwrap();
    let (mut last, mut moved) = (epoch_of(&path), 0);
    let kills = setting("WGPU_DROPOUT_KILLS", 40);
    let mut random = StdRng::seed_from_u64(2026);
    for kill in 0..kills {
        let mut child = quietly(command(folder, &format!("{ENDLESS} --resume net --save net")));
        std::thread::sleep(Duration::from_micros(random.random_range(0..80_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let epoch = epoch_of(&path);
        assert!(epoch >= last, "kill {kill}: epoch {last} is lost, the file is of epoch {epoch}");
        moved += u64::from(epoch > last);
        last = epoch;
    }
    // A killed process's temporary file does not hinder the next process.
    let left = files(folder)
        .keys()
        .filter(|path| path.extension().is_some_and(|end| end == "tmp"))
        .count();
    println!("{kills} kills, {moved} after a save, {left} temporary files left, epoch {last}");
    assert!(moved > kills / 10, "only {moved} of {kills} kills came after a save");
}

/// If two runs save to one file, it always holds a whole network of one or the other. (Windows may
/// refuse to replace an open file.)
#[test]
#[cfg(unix)]
fn two_processes_that_save_to_one_file_leave_a_whole_one() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    data(folder);
    let path = folder.join("net");
    let run = |width: u32| {
        quietly(command(
            folder,
            &format!(
                "train --device cpu --data d.csv --hidden {width} --epochs 200 --save net --seed {width}"
            ),
        ))
    };
    let mut children = [run(30), run(50)];
    let mut seen = std::collections::BTreeSet::new();
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        if path.exists() {
            let net =
                Mlp::load(Cpu::new(), &path).unwrap_or_else(|error| panic!("half a file: {error}"));
            assert_eq!(u64::from(net.architecture().hidden[0] as u32), net.architecture().seed);
            seen.insert(net.architecture().seed);
        }
    }
    for child in &mut children {
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(epoch_of(&path), 200);
    assert!(!seen.is_empty());
}

/// Runs a command line under a shell's limit.
#[cfg(unix)]
fn limited(folder: &Path, limit: &str, line: &str) -> std::process::Output {
    let script = format!("{limit}; exec \"$@\"");
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_wgpu-dropout")])
        .args(line.split(' '))
        .current_dir(folder);
    shell.stdin(Stdio::null()).output().unwrap()
}

/// On a disk that takes four kilobytes, every file that a command writes keeps its old content or
/// stays absent.
#[test]
#[cfg(unix)]
fn a_full_disk_ends_in_an_error_and_leaves_the_old_file() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    data(folder);
    for line in [
        "train --device cpu --data d.csv --hidden 64,64 --epochs 2 --save out",
        "mask --device cpu --rows 100 --cols 1000 --keep 0.5 --format npy --output out",
    ] {
        for old in [None, Some("kept")] {
            let _ = std::fs::remove_file(folder.join("out"));
            old.map_or(Ok(()), |text| std::fs::write(folder.join("out"), text)).unwrap();
            let before = files(folder);
            let output = limited(folder, "trap '' XFSZ; ulimit -f 8", line);
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "`{line}`: {stderr}");
            assert!(
                stderr.starts_with("error: out: ") && stderr.lines().count() <= 2,
                "`{line}`: {stderr}"
            );
            assert_eq!(files(folder), before, "`{line}`");
        }
        // Control: with enough room it is written.
        assert_eq!(limited(folder, "ulimit -f unlimited", line).status.code(), Some(0), "`{line}`");
    }
    // A standard output that accepts no bytes.
    if Path::new("/dev/full").exists() {
        let output =
            limited(folder, "exec >/dev/full", "mask --device cpu --rows 9 --cols 9 --keep 0.5");
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "));
    }
}

/// A folder that cannot take a new file, and a file that its owner protects, are reported before
/// any work is done. The superuser may write anywhere, so the test then runs as another user.
#[test]
#[cfg(unix)]
fn a_folder_that_cannot_be_written_is_refused_before_the_work() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    data(&inner);
    let allow = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    for (name, mode) in [("old", 0o666), ("protected", 0o444)] {
        std::fs::write(inner.join(name), "kept").unwrap();
        allow(&inner.join(name), mode);
    }
    allow(folder.path(), 0o755);
    allow(&inner, 0o555);
    let root = std::fs::write(inner.join("root"), "").is_ok();
    // This copy is where the other user can reach it. If this process wrote it, a process started
    // meanwhile by another test might hold it open, so that it could not be run.
    let program = folder.path().join("program");
    let copy = Command::new("cp").arg(env!("CARGO_BIN_EXE_wgpu-dropout")).arg(&program).status();
    assert!(copy.unwrap().success());
    let before = files(&inner);
    let endless = format!("{ENDLESS} --save");
    let lines = [
        endless.as_str(),
        "mask --device cpu --rows 100000 --cols 100000 --keep 0.5 --output",
        "bench --full --device cpu --html",
        "demo --device cpu --output",
    ];
    let files_to_write = ["new", "old", "protected"];
    for (line, file) in lines.iter().flat_map(|line| files_to_write.map(|file| (line, file))) {
        // The file is refused also in a folder that is open to all.
        allow(&inner, if file == "protected" { 0o777 } else { 0o555 });
        let why = if file == "protected" {
            "protected: cannot be written"
        } else {
            "cannot write in the folder"
        };
        let line = format!("{line} {file}");
        let mut shell =
            Command::new(if root { "setpriv" } else { env!("CARGO_BIN_EXE_wgpu-dropout") });
        if root {
            shell.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(&program);
        }
        let Ok(output) =
            shell.args(line.split(' ')).current_dir(&inner).stdin(Stdio::null()).output()
        else {
            return common::skipped("setpriv is not installed");
        };
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
        assert_eq!(files(&inner), before);
    }
    allow(&inner, 0o755);
}

/// Eight threads share a device and its kernels, and each records and submits its own work.
/// `WGPU_DROPOUT_THREAD_SECONDS=60` runs them for a minute.
#[test]
fn eight_threads_that_submit_at_once_get_what_one_gets() {
    let Some(raw) = Raw::open() else { return };
    let kernels = Kernels::new(&raw.device).unwrap();
    let until = Instant::now() + Duration::from_secs(setting("WGPU_DROPOUT_THREAD_SECONDS", 2));
    let (raw, kernels) = (&raw, &kernels);
    let rounds = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u32)
            .map(|thread| scope.spawn(move || submit_until(raw, kernels, thread, until)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    println!("rounds of each thread: {rounds:?}");
    assert!(rounds.iter().all(|&rounds| rounds > 0));
}

fn submit_until(raw: &Raw, kernels: &Kernels, thread: u32, until: Instant) -> u32 {
    let (rows, inner, cols) = (5 + thread as usize, 17, 24 + thread as usize);
    let [x, weight] = [(1, rows * inner), (2, inner * cols)]
        .map(|(seed, count)| common::small_integers(seed, count));
    let (a, b) = (raw.buffer(&x), raw.buffer(&weight));
    let mut rounds = 0;
    while Instant::now() < until {
        let dropout = Dropout::train(Mode::Inverted, mask(1000 * thread + rounds));
        let [c, d] = [(); 2].map(|()| raw.buffer(&vec![f32::NAN; rows * cols]));
        let y = View::new(&c, rows, cols);
        let (a, b) = (View::new(&a, rows, inner), View::new(&b, inner, cols));
        let first =
            kernels.prepare(&LinearForward { x: a, weight: b, bias: None, y, relu: true, dropout });
        let second = kernels.prepare(&DropoutCall { x: y, y: View::new(&d, rows, cols), dropout });
        let mut encoder = raw.device.create_command_encoder(&Default::default());
        {
            let mut pass = encoder.begin_compute_pass(&Default::default());
            first.unwrap().record(&mut pass);
            second.unwrap().record(&mut pass);
        }
        raw.queue.submit([encoder.finish()]);
        let mut right = vec![f32::NAN; rows * cols];
        let mut twice = vec![f32::NAN; rows * cols];
        reference::linear_forward(&x, &weight, None, &mut right, [inner, cols], true, &dropout);
        reference::dropout(&right, &mut twice, cols, &dropout);
        same_bits(&format!("thread {thread}, round {rounds}"), &raw.read(&d), &twice).unwrap();
        rounds += 1;
    }
    rounds
}
