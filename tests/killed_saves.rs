//! A process that is killed in the midst of a save leaves the old checkpoint or the new one, whole.
//!
//! The test program is its own victim: it starts itself with the name of a file to save to, again and again, and kills that process after
//! as many microseconds as a generator says.
#![cfg(all(feature = "cli", unix))]

mod common;

use rand::Rng;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wgpu_dropout::cpu::Cpu;
use wgpu_dropout::mlp::{Architecture, Mlp, Training};
use wgpu_dropout::philox::PhiloxRng;
use wgpu_dropout::{Mode, Rate};

const KILLS: usize = 25;
/// Names the file for the process that is killed.
const FILE: &str = "WGPU_DROPOUT_TEST_KILLED_FILE";
/// Tells it to write in place, as one should not.
const NAIVE: &str = "WGPU_DROPOUT_TEST_KILLED_NAIVE";

/// A network of some 2 MB with its momentum: large enough to be caught while it is written.
fn network() -> Mlp<Cpu> {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::KEEP_ALL);
    let architecture =
        Architecture { inputs: 8, hidden: vec![500, 500], classes: 4, mode: Mode::Inverted, rate, input_rate, seed: 3 };
    Mlp::new(Cpu::new(), architecture).unwrap()
}

/// One update.
fn train(net: &mut Mlp<Cpu>) {
    net.train_step(&common::noise(1, 16), &[0, 3], &Training::default()).unwrap();
}

/// Not a test of its own: what the killed process does, until it is.
#[test]
#[ignore = "runs until it is killed, by the test below"]
fn a_process_that_saves_for_ever() {
    let Ok(path) = std::env::var(FILE) else { return };
    let (path, naive) = (Path::new(&path), std::env::var(NAIVE).is_ok());
    let mut net = if path.exists() && !naive { Mlp::load(Cpu::new(), path).unwrap() } else { network() };
    let other = path.with_extension("whole");
    loop {
        train(&mut net);
        match naive {
            false => net.save(path).unwrap(),
            true => {
                net.save(&other).unwrap();
                std::fs::write(path, std::fs::read(&other).unwrap()).unwrap();
            }
        }
    }
}

/// Starts the process, waits until it has saved, and kills it a little later.
fn start_and_kill(path: &Path, naive: bool, after: Duration) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "a_process_that_saves_for_ever", "--ignored"])
        .env(FILE, path)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if naive {
        command.env(NAIVE, "1");
    }
    let stamp = || std::fs::metadata(path).and_then(|file| file.modified()).ok();
    let before = stamp();
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while stamp() == before && start.elapsed() < Duration::from_secs(60) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        std::thread::sleep(Duration::from_micros(200));
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A time to wait of up to 12 ms, in which a save or two happen.
fn delay(rng: &mut PhiloxRng) -> Duration {
    Duration::from_micros(u64::from(rng.next_u32() % 12_000))
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let (path, reference) = (folder.path().join("n"), folder.path().join("reference"));
    let mut rng = PhiloxRng::at(11, 0);
    // What a run that is never killed saves after each step: each process goes on where the file of the one before says.
    let mut net = network();
    let mut steps: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut latest = 0;
    for kill in 0..KILLS {
        start_and_kill(&path, false, delay(&mut rng));
        let bytes = std::fs::read(&path).unwrap();
        let step = Mlp::load(Cpu::new(), &path).unwrap_or_else(|error| panic!("after kill {kill}: {error}")).step();
        while net.step() < step {
            train(&mut net);
            net.save(&reference).unwrap();
            steps.insert(std::fs::read(&reference).unwrap(), net.step());
        }
        assert_eq!(steps.get(&bytes), Some(&step), "kill {kill}: the file is that of step {step}, to the byte");
        assert!(step > latest, "kill {kill}: each process saved at least once");
        latest = step;
    }
    // What a kill in the midst of a save leaves beside the file tells that there were such kills.
    let cut = std::fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|e| e == "tmp"));
    assert!(cut.count() > 0, "no kill hit a save");
}

/// The control: without the temporary file some kill leaves a torn one.
#[test]
fn a_kill_while_a_file_is_written_in_place_tears_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n");
    let mut rng = PhiloxRng::at(12, 0);
    let torn = (0..20 * KILLS).any(|_| {
        start_and_kill(&path, true, delay(&mut rng));
        Mlp::load(Cpu::new(), &path).is_err()
    });
    assert!(torn, "no kill hit a write, so the test above shows nothing");
}
