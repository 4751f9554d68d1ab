//! Trials of earlier runs, stored in a file in the user's cache folder, so that a machine tries its
//! tiles only once per driver and version.
//!
//! A lost file costs only a new trial, some seconds on a real GPU. A file that is missing, cannot
//! be read or written, or has other contents is therefore not an error: the trial is repeated.

use serde_json::{Map, Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;
use wgpu_dropout::gpu::{Class, Gpu, Tile, Tiles, Timing, Trial};
use wgpu_dropout::{Result, file};

/// Largest size, and largest number of trials, of a file that this program writes.
const MOST_BYTES: u64 = 1 << 20;
const MOST_TRIALS: usize = 64;
/// Time for a trial whose result is stored. It may exceed that of a trial repeated by every
/// process; compiling takes most of it.
const BUDGET: Duration = Duration::from_secs(8);

/// Returns the stored trial of the device, or runs a new one and stores it.
pub fn kept_or_new(gpu: &Gpu) -> Result<Trial> {
    let known = trials().iter().find(|entry| entry["of"] == identity(gpu)).and_then(trial);
    // This driver may be unable to run a form that another one ran.
    let runs = |trial: &Trial| gpu.kernels().replanned(|planner| trial.apply(planner)).is_ok();
    match known.filter(runs) {
        Some(trial) => Ok(trial),
        None => {
            let trial = Trial::of(gpu, Trial::budget(gpu.info()).max(BUDGET))?;
            keep(gpu, &trial);
            Ok(trial)
        }
    }
}

/// Returns a trial as JSON.
pub fn json(trial: &Trial) -> Value {
    let tiles: Map<String, Value> = Class::all()
        .map(|class| (class.to_string(), trial.tiles.get(class).to_string().into()))
        .collect();
    let timing = |timing: &Timing| json!({"what": timing.what, "choice": timing.choice, "seconds": timing.seconds});
    json!({"tiles": tiles, "int64": trial.int64, "timings": trial.timings.iter().map(timing).collect::<Vec<_>>()})
}

/// Reads a trial written by [`json`]; returns `None` for any other value.
fn trial(entry: &Value) -> Option<Trial> {
    let entry = entry.get("trial")?;
    let mut tiles = Tiles::all(Tile::Register);
    for class in Class::all() {
        tiles.set(class, entry.get("tiles")?.get(class.to_string())?.as_str()?.parse().ok()?);
    }
    let timing = |value: &Value| {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        Some(Timing {
            what: text("what")?,
            choice: text("choice")?,
            seconds: value.get("seconds")?.as_f64()?,
        })
    };
    let timings = entry.get("timings")?.as_array()?.iter().map(timing).collect::<Option<_>>()?;
    Some(Trial { tiles, int64: entry.get("int64")?.as_bool()?, timings })
}

/// Returns the key of a stored trial: the adapter, its driver, and the version of the kernels.
fn identity(gpu: &Gpu) -> Value {
    let info = gpu.info();
    json!({
        "adapter": info.name,
        "vendor": info.vendor,
        "device": info.device,
        "backend": info.backend.to_string(),
        "driver": info.driver,
        "driver_version": info.driver_info,
        "version": env!("CARGO_PKG_VERSION"),
    })
}

fn trials() -> Vec<Value> {
    let read = || -> Option<Vec<Value>> {
        let mut text = String::new();
        file::open(&path()?).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
        Some(serde_json::from_str::<Value>(&text).ok()?.get("trials")?.as_array()?.clone())
    };
    read().unwrap_or_default()
}

fn keep(gpu: &Gpu, trial: &Trial) {
    let write = || -> Option<()> {
        let (path, of) = (path()?, identity(gpu));
        let mut trials: Vec<Value> =
            trials().into_iter().filter(|entry| entry["of"] != of).collect();
        trials.drain(..trials.len().saturating_sub(MOST_TRIALS - 1));
        trials.push(json!({"of": of, "trial": json(trial)}));
        std::fs::create_dir_all(path.parent()?).ok()?;
        let text = json!({"trials": trials}).to_string();
        file::write_atomic(&path, |out| out.write_all(text.as_bytes())).ok()
    };
    // If the folder is not writable, the next run repeats the trial.
    let _ = write();
}

/// Returns `wgpu-dropout/tiles.json` in `XDG_CACHE_HOME`, else in the system's own cache folder.
fn path() -> Option<PathBuf> {
    let var =
        |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let folder = var("XDG_CACHE_HOME").or_else(|| match std::env::consts::OS {
        "windows" => var("LOCALAPPDATA"),
        "macos" => Some(var("HOME")?.join("Library/Caches")),
        _ => Some(var("HOME")?.join(".cache")),
    });
    Some(folder?.join("wgpu-dropout").join("tiles.json"))
}
