//! Result of an arm with one seed, as a line of JSON, and the file of these lines from which a
//! stopped run resumes.

use crate::failure::Failure;
use crate::outputs::{self, Transaction};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use wgpu_dropout::mlp::Evaluation;

/// Figures by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Found {
    /// Single figures.
    pub values: BTreeMap<String, f64>,
    /// Ordered series, such as one figure per epoch.
    pub series: BTreeMap<String, Vec<f64>>,
}

impl Found {
    /// Adds a single figure.
    pub fn value(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_owned(), value);
    }

    /// Adds an epoch's errors and losses on training and test rows as a point of the curves. The
    /// last epoch's are also the figures of the arm. The best epoch is not used: chosen on the test
    /// set, it would flatter every arm.
    pub fn epoch(&mut self, epoch: u32, seen: Evaluation, unseen: Evaluation) {
        self.push("epoch", f64::from(epoch));
        for (name, value) in [
            ("train_error", seen.error),
            ("train_loss", seen.loss),
            ("test_error", unseen.error),
            ("test_loss", unseen.loss),
        ] {
            self.push(name, value);
            self.value(name, value);
        }
    }

    /// Adds one figure to a series.
    pub fn push(&mut self, name: &str, value: f64) {
        self.series.entry(name.to_owned()).or_default().push(value);
    }
}

/// Identity of a result: equal keys have equal results.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Name of the study.
    pub study: String,
    /// Name of the arm within the study.
    pub arm: String,
    /// Seed.
    pub seed: u64,
    /// All settings and the data, in words.
    pub of: String,
    /// Device.
    pub device: String,
}

impl Key {
    /// Returns a short digest for file names.
    fn digest(&self) -> String {
        Sha256::digest(format!("{self:?}"))
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// Result of an arm with one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Arm, settings, seed and device.
    pub key: Key,
    /// Seconds of work, without waiting.
    pub seconds: f64,
    /// Figures; empty if the training diverged.
    pub found: Found,
}

impl Record {
    /// Returns the record as a JSON object.
    pub fn json(&self) -> Value {
        let Key { study, arm, seed, of, device } = &self.key;
        json!({
            "study": study, "arm": arm, "seed": seed, "of": of, "device": device, "seconds": self.seconds,
            "values": self.found.values, "series": self.found.series,
        })
    }

    /// Reads an object made by [`json`](Self::json); `None` for anything else.
    pub fn read(value: &Value) -> Option<Self> {
        let text = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let map = |key: &str| value.get(key)?.as_object();
        let numbers =
            |value: &Value| value.as_array()?.iter().map(number).collect::<Option<Vec<f64>>>();
        let values =
            map("values")?.iter().map(|(name, value)| Some((name.clone(), number(value)?)));
        let series =
            map("series")?.iter().map(|(name, value)| Some((name.clone(), numbers(value)?)));
        Some(Self {
            key: Key {
                study: text("study")?,
                arm: text("arm")?,
                seed: value.get("seed")?.as_u64()?,
                of: text("of")?,
                device: text("device")?,
            },
            seconds: value.get("seconds")?.as_f64()?,
            found: Found {
                values: values.collect::<Option<_>>()?,
                series: series.collect::<Option<_>>()?,
            },
        })
    }
}

/// Reads a number; null is NaN, since JSON has no NaN and it is written as null.
fn number(value: &Value) -> Option<f64> {
    if value.is_null() { Some(f64::NAN) } else { value.as_f64() }
}

/// File of finished arms.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    records: Vec<Record>,
}

impl Store {
    /// Reads the records of an existing file, or starts empty. Skips lines that are not records,
    /// such as one cut off in the middle.
    ///
    /// # Errors
    ///
    /// If the file exists but cannot be read.
    pub fn open(path: PathBuf) -> Result<Self, Failure> {
        let bytes = contents(&path)?;
        let records = String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| Record::read(&serde_json::from_str(line).ok()?))
            .collect();
        Ok(Self { path, records })
    }

    /// Returns the finished record of a key.
    pub fn get(&self, key: &Key) -> Option<&Record> {
        self.records.iter().rev().find(|record| record.key == *key)
    }

    /// Adds a finished record. It is on disk before it counts as finished.
    pub fn add(&mut self, record: Record) -> Result<(), Failure> {
        // Another process may have added records since the file was read.
        let mut bytes = contents(&self.path)?;
        // Ends a line that was cut off before the next one begins.
        if bytes.last().is_some_and(|&last| last != b'\n') {
            bytes.push(b'\n');
        }
        bytes.extend(format!("{}\n", record.json()).bytes());
        outputs::write(&self.path, &bytes)?;
        self.records.push(record);
        Ok(())
    }
}

/// Returns the bytes of a file; none if it does not exist.
fn contents(path: &Path) -> Result<Vec<u8>, Failure> {
    match std::fs::read(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        read => read.map_err(|error| Failure::Run(format!("{}: {error}", path.display()))),
    }
}

/// Arms that were stopped before their end: each one's network, and its figures so far.
#[derive(Debug, Clone)]
pub struct Partial {
    folder: PathBuf,
}

impl Partial {
    /// Keeps the files in `folder`.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// Returns the path of an arm's network.
    pub fn network(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("stopped-{}.safetensors", key.digest()))
    }

    fn figures(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("stopped-{}.json", key.digest()))
    }

    /// Saves an arm's network at an epoch, and its figures so far.
    pub fn keep(&self, record: &Record, epoch: u32, network: &[u8]) -> Result<(), Failure> {
        let figures = json!({"record": record.json(), "epoch": epoch}).to_string();
        let paths = [self.network(&record.key), self.figures(&record.key)];
        let mut outputs = Transaction::default();
        outputs.add(&paths[0], |out| out.write_all(network));
        outputs.add(&paths[1], |out| out.write_all(figures.as_bytes()));
        outputs.write()
    }

    /// Returns the saved figures of a key's arm, and the epoch that its network must have.
    pub fn of(&self, key: &Key) -> Option<(Record, u32)> {
        let value: Map<String, Value> =
            serde_json::from_slice(&std::fs::read(self.figures(key)).ok()?).ok()?;
        let record = Record::read(value.get("record")?)?;
        let epoch = u32::try_from(value.get("epoch")?.as_u64()?).ok()?;
        (record.key == *key && self.network(key).is_file()).then_some((record, epoch))
    }

    /// Removes both files of a finished arm.
    pub fn remove(&self, key: &Key) {
        // A file that cannot be removed does no harm: its key is finished, so it is never resumed.
        let _ = std::fs::remove_file(self.figures(key));
        let _ = std::fs::remove_file(self.network(key));
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn record(arm: &str, seed: u64, error: f64) -> Record {
        let mut found = Found::default();
        found.value("test_error", error);
        found.push("epoch", 1.0);
        let text = str::to_owned;
        let key = Key {
            study: text("ladder"),
            arm: text(arm),
            seed,
            of: text("a recipe"),
            device: text("CPU backend"),
        };
        Record { key, seconds: 1.5, found }
    }

    #[test]
    fn a_record_reads_back_as_it_was_written_nan_included() {
        let mut written = record("none", 3, 0.1);
        let read =
            Record::read(&serde_json::from_str(&written.json().to_string()).unwrap()).unwrap();
        assert_eq!(read, written);
        written.found.value("test_error", f64::NAN);
        let read =
            Record::read(&serde_json::from_str(&written.json().to_string()).unwrap()).unwrap();
        assert!(read.found.values["test_error"].is_nan());
        assert!(Record::read(&json!({"study": "ladder"})).is_none());
    }

    #[test]
    fn finished_arms_are_found_by_all_that_they_depend_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.jsonl");
        let mut store = Store::open(path.clone()).unwrap();
        store.add(record("none", 0, 5.0)).unwrap();
        // A process was killed while it wrote this line.
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(b"{\"study\": \"lad");
        std::fs::write(&path, bytes).unwrap();
        let mut store = Store::open(path.clone()).unwrap();
        store.add(record("half", 0, 4.0)).unwrap();

        let store = Store::open(path).unwrap();
        let error =
            |record: Record| store.get(&record.key).map(|record| record.found.values["test_error"]);
        assert_eq!(error(record("none", 0, 0.0)), Some(5.0));
        assert_eq!(error(record("half", 0, 0.0)), Some(4.0));
        assert_eq!(error(record("half", 1, 0.0)), None, "another seed");
        let mut other = record("half", 0, 0.0);
        other.key.of += " with one more epoch";
        assert_eq!(error(other), None);
    }

    #[test]
    fn a_stopped_arm_goes_on_alone_where_its_network_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let partial = Partial::new(folder.path());
        let stopped = record("none", 0, 5.0);
        partial.keep(&stopped, 7, b"a network").unwrap();
        let network = partial.network(&stopped.key);
        std::fs::remove_file(&network).unwrap();
        assert!(partial.of(&stopped.key).is_none(), "no network");
        partial.keep(&stopped, 7, b"a network").unwrap();
        assert_eq!(std::fs::read(&network).unwrap(), b"a network");
        assert_eq!(partial.of(&stopped.key), Some((stopped.clone(), 7)));
        assert!(partial.of(&record("none", 1, 5.0).key).is_none());
        partial.remove(&stopped.key);
        assert!(partial.of(&stopped.key).is_none() && !partial.network(&stopped.key).exists());
    }
}
