//! Unit, features and classes of a saved network: what its file says, and which data it takes.

use super::*;
use crate::cli::{run_in, succeed};
use safetensors::tensor::TensorView;

/// Pixels of an image.
const PIXELS: usize = 6;

/// Returns the bytes of image `i`.
fn image(i: usize) -> Vec<u8> {
    (0..PIXELS).map(|pixel| (i * 37 + pixel * 91 + i * pixel * 13) as u8).collect()
}

/// Writes an IDX folder with the first `rows` images as training set and the first ten as test set.
fn write_idx(folder: &Path, rows: usize) {
    for (part, rows) in [("train", rows), ("t10k", 10)] {
        let count = (rows as u32).to_be_bytes();
        let images: Vec<u8> = (0..rows).flat_map(image).collect();
        let labels: Vec<u8> = (0..rows).map(|i| (i % 3) as u8).collect();
        let header = [&[0, 0, 8, 3][..], &count, &[0, 0, 0, 2, 0, 0, 0, 3]].concat();
        std::fs::write(folder.join(format!("{part}-images-idx3-ubyte")), [header, images].concat())
            .unwrap();
        let labels = [&[0, 0, 8, 1][..], &count, &labels].concat();
        std::fs::write(folder.join(format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
}

/// Writes a CSV of ten equal rows, whose labels are in rotation.
fn write_equal_rows(path: &Path, values: &[f32]) {
    let values: String = values.iter().map(|value| format!("{value},")).collect();
    let rows: String = (0..10).map(|row| format!("{values}{}\n", row % 2)).collect();
    std::fs::write(path, rows).unwrap();
}

/// Rewrites a saved network's metadata.
fn rewrite(path: &Path, change: impl FnOnce(&mut BTreeMap<String, String>)) {
    let bytes = std::fs::read(path).unwrap();
    let (_, mut metadata) = saved(path);
    change(&mut metadata);
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let views: Vec<(String, TensorView<'_>)> =
        tensors.iter().map(|(name, view)| (name.to_owned(), view)).collect();
    let bytes = safetensors::serialize(views, Some(metadata.into_iter().collect())).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Removes the description of the data, as in files of older versions.
fn age(path: &Path) {
    rewrite(path, |metadata| {
        metadata.retain(|key, _| !["unit", "features", "classes", "split"].contains(&&**key));
    });
}

fn bundled() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/digits.csv.gz");
    path.to_str().unwrap().to_owned()
}

/// Returns the probabilities that a line writes to `p.npy`.
fn predicted(folder: &Path, line: &str) -> Vec<f32> {
    succeed(folder, &format!("predict --json --output p.npy {line}"));
    npy::read(&folder.join("p.npy")).unwrap().values
}

#[test]
fn a_saved_network_says_what_it_was_trained_on() {
    let (_guard, folder) = folder();
    write_idx(&folder, 30);
    write_csv(&folder);
    let digits = "[\"0\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]";
    for device in devices() {
        for (options, unit, features, classes) in [
            ("--data digits", "1/16", "64", digits),
            ("--data digits --unit 1", "1", "64", digits),
            ("--data .", "1/255", "6", "[\"0\",\"1\",\"2\"]"),
            ("--data d.csv", "1", "3", "[\"0\",\"1\"]"),
            ("--data d.csv --unit 1/16", "1/16", "3", "[\"0\",\"1\"]"),
            ("--data d.csv --unit 1/255", "1/255", "3", "[\"0\",\"1\"]"),
        ] {
            for epochs in ["0", "1"] {
                let line = format!("train {options} --hidden 4 --epochs {epochs} --save n");
                succeed_quietly(&folder, &format!("{line} --json --device {device}"));
                let (_, metadata) = saved(&folder.join("n"));
                let found = ["unit", "features", "classes"].map(|key| metadata[key].as_str());
                assert_eq!(found, [unit, features, classes], "{options}");
                assert!(!metadata["split"].is_empty());
            }
        }
    }
    refuse(&folder, "train --data d.csv --unit 1/256 --json", 2);
}

#[test]
fn the_same_values_in_any_file_give_the_same_predictions() {
    let (_guard, folder) = folder();
    write_idx(&folder, 60);
    let bytes: Vec<u8> = (0..10).flat_map(image).collect();
    let floats = |unit: f32| bytes.iter().map(|&byte| f32::from(byte) * unit).collect::<Vec<_>>();
    npy::write_u8(&folder.join("bytes.npy"), &[10, PIXELS], &bytes).unwrap();
    for (name, unit) in [("raw.npy", 1.0), ("divided.npy", 1.0 / 255.0)] {
        npy::write_f32(&folder.join(name), &[10, PIXELS], &floats(unit)).unwrap();
    }
    let by_numpy: Vec<f32> = bytes.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    npy::write_f32(&folder.join("numpy.npy"), &[10, PIXELS], &by_numpy).unwrap();
    for device in devices() {
        let train = "train --data . --hidden 16 --epochs 4 --save n --json";
        succeed_quietly(&folder, &format!("{train} --device {device}"));
        let of = |data: &str| predicted(&folder, &format!("--model n --device {device} {data}"));
        let right = of("--data .");
        for data in [
            "--data bytes.npy",
            "--data divided.npy",
            "--data divided.npy --unit 1",
            "--data raw.npy --unit 1/255",
            "--data . --unit 1/255",
        ] {
            assert_eq!(of(data), right, "{data} on {device}");
        }
        let quotients = of("--data numpy.npy");
        let off = quotients.iter().zip(&right).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off < 1e-5, "{off}: a quotient may differ in its last bit, and no more");
        for data in ["--data raw.npy", "--data bytes.npy --unit 1", "--data . --unit 1/16"] {
            assert_ne!(of(data), right, "control: {data} is in another unit");
        }
        for i in 0..10 {
            let row = &right[3 * i..][..3];
            for (values, unit) in [
                (image(i).iter().map(|&byte| f32::from(byte)).collect::<Vec<_>>(), "1/255"),
                (floats(1.0 / 255.0)[i * PIXELS..][..PIXELS].to_vec(), "1"),
            ] {
                write_equal_rows(&folder.join("rows.csv"), &values);
                let p = of(&format!("--data rows.csv --unit {unit}"));
                assert!(!p.is_empty() && p.chunks(3).all(|p| p == row), "image {i}, --unit {unit}");
            }
        }
        let line = format!("predict --model n --data rows.csv --output q.npy --device {device}");
        let error = refuse(&folder, &line, 2);
        for named in ["rows.csv", "n was trained", "--unit 1/255", "--unit 1 "] {
            assert!(error.contains(named), "{named}: {error}");
        }
    }
}

#[test]
fn a_network_of_a_csv_takes_the_values_of_a_csv() {
    let (_guard, folder) = folder();
    // The same pixels, undivided in both files.
    let csv = bundled();
    for device in devices() {
        let train = format!("train --data {csv} --hidden 16 --epochs 1 --lr 0.001 --save n --json");
        succeed_quietly(&folder, &format!("{train} --device {device}"));
        let pixels = DataSet::digits().unwrap().test;
        let wgpu_dropout::data::Values::Bytes(bytes) = &pixels.values else { panic!("no bytes") };
        let model = format!("--model n --device {device}");
        let p = predicted(&folder, &format!("{model} --data digits"));
        for i in [0, 100, 358] {
            let row: Vec<f32> = bytes[64 * i..][..64].iter().map(|&byte| byte.into()).collect();
            write_equal_rows(&folder.join("rows.csv"), &row);
            let same = predicted(&folder, &format!("{model} --data rows.csv"));
            assert!(same.chunks(10).all(|row| row == &p[10 * i..][..10]), "image {i}");
        }
    }
}

#[test]
fn a_resumed_network_is_not_wrecked_by_another_unit() {
    let (_guard, folder) = folder();
    let csv = bundled();
    for device in devices() {
        let device = format!("--device {device} --json");
        let line = format!("train --hidden 32 --drop 0.1 --epochs 4 --save n {device}");
        let before = lines(&succeed_quietly(&folder, &line));
        let before = number(before.last().unwrap(), "train_error");
        let resumed = format!("train --resume n --data {csv} --epochs 5 {device}");
        let error = refuse(&folder, &resumed, 2);
        for named in ["digits.csv.gz", "n was trained", "--unit 1/16", "--unit 1 "] {
            assert!(error.contains(named), "{named}: {error}");
        }
        let after = |unit: &str| {
            let line = format!("{resumed} --save m --unit {unit}");
            number(&lines(&succeed(&folder, &line))[0], "train_error")
        };
        let (right, wrong) = (after("1/16"), after("1"));
        assert!(before < 12.0 && right < before + 3.0, "{before} {right}");
        assert!(wrong > right + 20.0, "control: {wrong}");
        // The network's unit is that of its features, whichever factor the new data needed.
        assert_eq!(saved(&folder.join("m")).1["unit"], "1/16");
    }
}

#[test]
fn test_rows_that_may_be_known_are_told() {
    let (_guard, folder) = folder();
    let quiet = "--epochs 1 --hidden none --device cpu --json --save n";
    succeed_quietly(&folder, &format!("train {quiet}"));
    let resumed =
        format!("train --resume n --epochs 2 --device cpu --json --data {} --unit 1/16", bundled());
    let output = run_in(&folder, &resumed);
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.lines().count() == 1, "{told}");
    assert!(told.contains("test rows are chosen otherwise") && told.contains("bundled"), "{told}");
}

#[test]
fn a_file_of_an_older_version_opens_as_before_with_a_line() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    let pixels = DataSet::digits().unwrap().test;
    let wgpu_dropout::data::Values::Bytes(bytes) = &pixels.values else { panic!("no bytes") };
    npy::write_u8(&folder.join("bytes.npy"), &[359, 64], bytes).unwrap();
    npy::write_f32(&folder.join("x.npy"), &[359, 64], &pixels.features_f32()).unwrap();
    for device in devices() {
        let train = format!("--hidden 8 --epochs 1 --device {device} --json --save");
        succeed_quietly(&folder, &format!("train {train} n"));
        succeed_quietly(&folder, &format!("train --data d.csv {train} c"));
        let model = format!("--device {device} --model");
        let right = ["n --data digits", "c --data d.csv"]
            .map(|data| predicted(&folder, &format!("{model} {data}")));
        let resume = |name: &str| {
            let line =
                format!("train --resume n --epochs 2 --device {device} --json --save {name}");
            let output = run_in(&folder, &line);
            assert!(output.status.success());
            String::from_utf8(output.stderr).unwrap()
        };
        assert_eq!(resume("new"), "");
        age(&folder.join("n"));
        age(&folder.join("c"));
        let told = |data: &str, unit: &str| {
            let line = format!("predict --json --output p.npy {model} {data}");
            let output = run_in(&folder, &line);
            let told = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success() && told.lines().count() == 1, "{data}: {told}");
            assert!(told.contains("saved without the unit"), "{told}");
            assert!(told.contains(&format!("with unit {unit}\n")), "{told}");
            npy::read(&folder.join("p.npy")).unwrap().values
        };
        assert_eq!(told("n --data digits", "1/16"), right[0]);
        assert_eq!(told("n --data x.npy", "1"), right[0]);
        assert_eq!(told("n --data bytes.npy --unit 1/16", "1/16"), right[0]);
        assert_eq!(told("c --data d.csv", "1"), right[1]);
        let line = format!("predict --output q.npy {model} n --data bytes.npy");
        let error = refuse(&folder, &line, 2);
        assert!(error.contains("n does not say") && error.contains("--unit 1/255"), "{error}");
        // Resumed, it becomes the network of a new file, to the byte.
        assert!(resume("old").contains("saved without the unit"));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(read("old"), read("new"));
    }
}

#[test]
fn other_features_and_other_classes_are_wrong_usage() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    write_idx(&folder, 30);
    let train = "--hidden 4 --epochs 1 --device cpu --json --save";
    succeed_quietly(&folder, &format!("train {train} n"));
    succeed_quietly(&folder, &format!("train --data . {train} i"));
    let check = |line: &str, named: &[&str]| {
        let predict = format!("predict --output q.npy --device cpu --model {line}");
        let train = format!("train --epochs 2 --device cpu --json --save m --resume {line}");
        for line in [predict, train] {
            let error = refuse(&folder, &line, 2);
            assert!(named.iter().all(|name| error.contains(name)), "{named:?}: {error}");
        }
    };
    check("n --data d.csv --unit 1", &["d.csv: ", "the network takes 64"]);
    check("n --data .", &["6 features a row", "takes 64"]);
    check("i --data digits", &["digits: 64 features a row", "takes 6"]);
    // Labels up to 3, as the network has classes 0 to 2.
    let rows: String = (0..40).map(|row| format!("{row},2,3,4,5,6,{}\n", row % 4)).collect();
    std::fs::write(folder.join("four.csv"), rows).unwrap();
    check("i --data four.csv --unit 1/255", &["four.csv: class `3` is none of", "i has 0, 1, 2"]);

    // Classes of other names, and the same classes in another order.
    let named = |names: Value| {
        std::fs::copy(folder.join("i"), folder.join("j")).unwrap();
        rewrite(&folder.join("j"), |metadata| {
            metadata.insert("classes".to_owned(), names.to_string());
        });
    };
    named(serde_json::json!(["cat", "dog", "1"]));
    check("j --data .", &["class `0` is none of", "cat, dog, 1"]);
    let measured = |model: &str| {
        let line = format!("predict --json --device cpu --data . --output q.npy --model {model}");
        let object = lines(&succeed_quietly(&folder, &line)).remove(0);
        ["loss", "error"].map(|key| number(&object, key))
    };
    let right = measured("i");
    named(serde_json::json!(["1", "2", "0"]));
    assert_ne!(measured("j"), right, "control: the answers now mean other classes");
    let labels = |order: [u8; 3]| -> Vec<u8> { (0..10).map(|i| order[i % 3]).collect() };
    let header = [&[0, 0, 8, 1][..], &10u32.to_be_bytes()].concat();
    std::fs::write(folder.join("t10k-labels-idx1-ubyte"), [header, labels([1, 2, 0])].concat())
        .unwrap();
    assert_eq!(measured("j"), right);
}

#[test]
fn damaged_descriptions_are_refused() {
    let (_guard, folder) = folder();
    succeed_quietly(&folder, "train --hidden 4 --epochs 0 --device cpu --json --save whole");
    for (key, value, named) in [
        ("unit", "1/17", "metadata `unit` is `1/17`"),
        ("unit", "", "metadata `unit` is ``"),
        ("features", "65", "metadata `features` is 65, the first layer takes 64"),
        ("features", "many", "metadata `features` is `many`"),
        ("classes", "0,1", "metadata `classes` is `0,1`: expected a JSON array of names"),
        ("classes", "[0,1]", "expected a JSON array of names"),
        ("classes", "[\"0\",\"1\"]", "metadata `classes`: 2 names for 10 classes"),
    ] {
        std::fs::copy(folder.join("whole"), folder.join("n")).unwrap();
        rewrite(&folder.join("n"), |metadata| {
            assert!(metadata.insert(key.to_owned(), value.to_owned()).is_some());
        });
        let line = "predict --model n --data digits --output q.npy --device cpu";
        let error = refuse(&folder, line, 1);
        assert!(error.contains(named), "{key} {value}: {error}");
    }
}
