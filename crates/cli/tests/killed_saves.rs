//! A process killed during a save leaves the old checkpoint or the new one, whole, and the next
//! save removes any other leftovers.
//!
//! The test program is its own victim: it repeatedly starts itself with the name of a file to save
//! to, and kills that process after a random number of microseconds.
#![cfg(unix)]

mod cli;
#[path = "../../../tests/common/mod.rs"]
mod common;

use rand::Rng;
use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use wgpu_dropout::Cpu;
use wgpu_dropout::mlp::{Architecture, Mlp, Training};
use wgpu_dropout::philox::PhiloxRng;
use wgpu_dropout::{Mode, Rate};

const KILLS: usize = 25;
/// Environment variable that names the file for the process that is killed.
const FILE: &str = "WGPU_DROPOUT_TEST_KILLED_FILE";
/// Environment variable that tells that process to write in place, as a program should not.
const NAIVE: &str = "WGPU_DROPOUT_TEST_KILLED_NAIVE";

/// Returns a network of about 2 MB with its momentum, large enough to be caught while it is
/// written.
fn network() -> Mlp<Cpu> {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::KEEP_ALL);
    let architecture = Architecture {
        inputs: 8,
        hidden: vec![500, 500],
        classes: 4,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 3,
    };
    Mlp::new(Cpu::new(), architecture).unwrap()
}

/// Makes one update.
fn train(net: &mut Mlp<Cpu>) {
    net.train_step(&common::noise(1, 16), &[0, 3], &Training::default()).unwrap();
}

/// Runs in the process that is killed. It is not a test in itself.
#[test]
#[ignore = "runs until it is killed, by the test below"]
fn a_process_that_saves_for_ever() {
    let Ok(path) = std::env::var(FILE) else { return };
    let (path, naive) = (Path::new(&path), std::env::var(NAIVE).is_ok());
    let mut net =
        if path.exists() && !naive { Mlp::load(Cpu::new(), path).unwrap() } else { network() };
    let other = path.with_extension("whole");
    loop {
        train(&mut net);
        if naive {
            net.save(&other).unwrap();
            std::fs::write(path, std::fs::read(&other).unwrap()).unwrap();
        } else {
            net.save(path).unwrap();
        }
    }
}

/// Returns the number of temporary files of saves beside a file.
fn temporaries(path: &Path) -> usize {
    let entries =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|e| e == "tmp")).count()
}

/// Starts the process, waits until it has saved and, if `aimed`, until it saves again, and kills it
/// a little later.
fn start_and_kill(path: &Path, naive: bool, aimed: bool, after: Duration) {
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
    while aimed && temporaries(path) == 0 && start.elapsed() < Duration::from_secs(60) {
        std::hint::spin_loop();
    }
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Returns a random delay of less than `most` microseconds. In 12,000 µs one or two saves happen,
/// each of which takes about 2,000 µs.
fn delay(rng: &mut PhiloxRng, most: u32) -> Duration {
    Duration::from_micros(u64::from(rng.next_u32() % most))
}

#[test]
fn a_kill_at_any_moment_leaves_a_whole_checkpoint() {
    let [folder, other] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let (path, elsewhere) = (folder.path().join("n"), other.path().join("n"));
    let mut rng = PhiloxRng::at(11, 0);
    // These are the files that an uninterrupted run saves, with their steps. Each process continues
    // from the file of the one before.
    let mut net = network();
    let mut steps: HashMap<Vec<u8>, u32> = HashMap::new();
    let (mut latest, mut cut) = (0, 0);
    for kill in 0..KILLS {
        // Kills at a random moment alternate with kills during a save.
        let aimed = kill % 2 == 1;
        start_and_kill(&path, false, aimed, delay(&mut rng, if aimed { 3000 } else { 12_000 }));
        // A leftover temporary file reveals that the kill hit a save. The next process removes it.
        let left = temporaries(&path);
        assert!(left <= 1, "kill {kill}: leftovers of earlier kills are still there");
        cut += left;
        let bytes = std::fs::read(&path).unwrap();
        let step = Mlp::load(Cpu::new(), &path)
            .unwrap_or_else(|error| panic!("after kill {kill}: {error}"))
            .step();
        while net.step() < step {
            train(&mut net);
            net.save(&elsewhere).unwrap();
            steps.insert(std::fs::read(&elsewhere).unwrap(), net.step());
        }
        assert_eq!(
            steps.get(&bytes),
            Some(&step),
            "kill {kill}: the file must equal that of step {step} to the byte"
        );
        assert!(step > latest, "kill {kill}: each process must save at least once");
        latest = step;
    }
    println!("{cut} of {KILLS} kills hit a save");
    assert!(cut > 1, "fewer than two kills hit a save");
    net.save(&path).unwrap();
    assert_eq!(temporaries(&path), 0, "a save must remove the leftovers of a kill");
}

/// Control: without the temporary file, some kill leaves a torn file.
#[test]
fn a_kill_while_a_file_is_written_in_place_tears_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("n");
    let mut rng = PhiloxRng::at(12, 0);
    let torn = (0..20 * KILLS).any(|_| {
        start_and_kill(&path, true, false, delay(&mut rng, 12_000));
        Mlp::load(Cpu::new(), &path).is_err()
    });
    assert!(torn, "no kill hit a write, so the test above shows nothing");
}
