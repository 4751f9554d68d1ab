//! CSV files as people have them, from the command line: what was taken for what, the rows to test
//! with, and an answer for every row.

use super::{folder, lines, number, saved};
use crate::cli::{command, devices, refuse, run_in, succeed, succeed_quietly};
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};
use wgpu_dropout_cli::npy;

const KINDS: [&str; 3] = ["setosa", "versicolor", "virginica"];

/// Returns a number between -0.5 and 0.5 that looks random.
fn noise(i: usize, column: usize) -> f64 {
    let mixed = (i * 7919 + column * 104_729 + 13) * 2_654_435_761 % 4_294_967_296;
    mixed as f64 / 4_294_967_296.0 - 0.5
}

/// Returns rows of two features, which lie around a point of their class, and the class.
fn rows(count: usize) -> Vec<([String; 2], usize)> {
    let row = |i: usize| {
        let class = i % 3;
        let feature =
            |column| format!("{:.3}", class as f64 * [2.0, -1.0][column] + noise(i, column));
        ([0, 1].map(feature), class)
    };
    (0..count).map(row).collect()
}

/// Returns the rows as a file with a header and the label in the last column.
fn plain(count: usize) -> String {
    let row = |([x, y], class): ([String; 2], usize)| format!("{x},{y},{}\n", KINDS[class]);
    "x,y,kind\n".to_owned() + &rows(count).into_iter().map(row).collect::<String>()
}

/// Runs a line with this input.
fn piped(folder: &Path, line: &str, input: &[u8]) -> Output {
    let mut command = command(folder, line);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "`{line}`: {stderr}");
    output
}

/// Returns the fields of a table of answers.
fn table(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_table_comes_back_row_for_row_from_a_pipe_to_a_pipe() {
    let (_guard, folder) = folder();
    let count = 151;
    let row = |([x, y], class): ([String; 2], usize)| format!("{};{x};{y}\r\n", KINDS[class]);
    let text = "species;sepal length;sepal width\r\n".to_owned()
        + &rows(count).into_iter().map(row).collect::<String>();
    for device in devices() {
        let train = format!(
            "train --data - --label first --hidden 16 --drop 0.1 --epochs 20 --batch 16 --save n \
             --device {device}"
        );
        let told = String::from_utf8(piped(&folder, &train, text.as_bytes()).stdout).unwrap();
        for line in [
            "data     stdin: 121 training rows, 30 test rows, 2 features, 3 classes, unit 1",
            "columns  separated by `;`, header in line 1, label in column 1 `species`",
            "classes  setosa, versicolor, virginica",
            "test     0.2 of each class, split seed 0",
        ] {
            assert!(told.lines().any(|told| told == line), "{line} in {told}");
        }
        let (_, metadata) = saved(&folder.join("n"));
        assert_eq!(metadata["classes"], r#"["setosa","versicolor","virginica"]"#);

        let predict = format!("predict --model n --data - --label species --device {device}");
        let to_pipe = format!("{predict} --format csv --output -");
        let output = piped(&folder, &to_pipe, text.as_bytes());
        let answers = String::from_utf8(output.stdout).unwrap();
        let answers = table(&answers);
        let head =
            ["class", "probability_setosa", "probability_versicolor", "probability_virginica"];
        assert_eq!(answers[0], head);
        assert_eq!(answers.len(), 1 + count);
        let right = answers[1..].iter().zip(rows(count)).filter(|(a, (_, c))| a[0] == KINDS[*c]);
        assert!(right.count() > count * 95 / 100, "{answers:?}");
        // The heading is on stderr, since stdout holds the table.
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("stdin: all rows (151); separated by `;`, header in line 1"),
            "{told}"
        );

        // The same rows backwards have the same answers backwards, with or without their labels.
        let backwards: String =
            rows(count).into_iter().rev().map(|([x, y], _)| format!("{x}\t{y}\n")).collect();
        let without = format!("predict --model n --data - --output p.csv --device {device}");
        piped(&folder, &without, backwards.as_bytes());
        let again = table(&std::fs::read_to_string(folder.join("p.csv")).unwrap());
        assert_eq!(again.len(), answers.len());
        assert!(answers[1..].iter().eq(again[1..].iter().rev()), "on {device}");
        // Control: the rows differ, so that another order would be seen.
        assert!(!answers[1..].iter().eq(&again[1..]));
    }
}

#[test]
fn every_row_has_an_answer_labeled_or_not() {
    let (_guard, folder) = folder();
    std::fs::write(folder.join("d.csv"), plain(60)).unwrap();
    let train = "train --data d.csv --hidden 8 --epochs 10 --batch 8 --save n --device cpu --json";
    succeed_quietly(&folder, train);
    let of = |rows: &[([String; 2], usize)], label: &dyn Fn(usize) -> String| -> String {
        rows.iter().map(|([x, y], class)| format!("{x},{y}{}\n", label(*class))).collect()
    };
    let all = rows(60);
    std::fs::write(folder.join("bare.csv"), of(&all, &|_| String::new())).unwrap();
    std::fs::write(folder.join("one.csv"), of(&all[7..8], &|_| String::new())).unwrap();
    std::fs::write(folder.join("named.csv"), of(&all[7..8], &|c| format!(",{}", KINDS[c])))
        .unwrap();
    let some =
        |class: usize| if class == 1 { ",".to_owned() } else { format!(",{}", KINDS[class]) };
    std::fs::write(folder.join("some.csv"), of(&all, &some)).unwrap();
    let features: Vec<f32> = all.iter().flat_map(|(f, _)| f).map(|f| f.parse().unwrap()).collect();
    npy::write_f32(&folder.join("x.npy"), &[60, 2], &features).unwrap();
    for device in devices() {
        let predict = |data: &str| {
            let line =
                format!("predict --model n --data {data} --output p.npy --json --device {device}");
            let object = lines(&succeed_quietly(&folder, &line)).remove(0);
            let array = npy::read(&folder.join("p.npy")).unwrap();
            assert_eq!(array.shape, [object["rows"].as_u64().unwrap() as usize, 3]);
            assert_eq!(object["class_names"], serde_json::json!(KINDS));
            (array.values, object)
        };
        let (answers, object) = predict("d.csv");
        assert_eq!((&object["rows"], &object["labels"]), (&60.into(), &60.into()));
        for (data, labels) in [("bare.csv", 0), ("x.npy", 0), ("some.csv", 40)] {
            let (same, object) = predict(data);
            assert_eq!(same, answers, "{data} on {device}");
            assert_eq!(object.get("labels").map_or(0, |n| n.as_u64().unwrap()), labels, "{data}");
            assert_eq!(object.get("loss").is_some(), labels > 0, "{data}");
        }
        for (data, measured) in [("one.csv", false), ("named.csv", true)] {
            let (one, object) = predict(data);
            assert_eq!(one, answers[21..24], "{data} on {device}");
            assert_eq!(object.get("error").is_some(), measured);
        }
        // The parts are those of the training, and together they are all rows.
        let (test, of_test) = predict("d.csv --split test");
        let (training, of_train) = predict("d.csv --split train");
        assert_eq!((of_test["rows"].as_u64(), of_train["rows"].as_u64()), (Some(12), Some(48)));
        let total = number(&of_test, "loss") * 12.0 + number(&of_train, "loss") * 48.0;
        assert!((total / 60.0 - number(&object, "loss")).abs() < 1e-9);
        let mut merged: Vec<&[f32]> = test.chunks(3).chain(training.chunks(3)).collect();
        let mut all: Vec<&[f32]> = answers.chunks(3).collect();
        for rows in [&mut merged, &mut all] {
            rows.sort_by(|a, b| a.partial_cmp(b).unwrap());
        }
        assert_eq!(merged, all);
        assert_ne!(test, predict("d.csv --split test --split-seed 1").0);
    }
    // A network with test rows in a file of their own does not know others.
    succeed(&folder, &train.replace("--save n", "--test-file named.csv --save f"));
    let line = "predict --model f --data d.csv --output q.npy --device cpu --split test";
    let error = refuse(&folder, line, 2);
    assert!(
        error.contains("does not say which share") && error.contains("--test-share"),
        "{error}"
    );
    succeed_quietly(&folder, &format!("{line} --test-share 0.5 --json").replace("q.npy", "p.npy"));
    for (data, status, what) in [
        ("d.csv --test-share 0.5", 2, "--test-share: goes with --split test or train"),
        ("d.csv --split all --split-seed 1", 2, "--split-seed: goes with --split"),
        ("x.npy --test-share 0.5", 2, "--test-share: goes with"),
        ("bare.csv --split test", 2, "not every row has a label"),
        ("x.npy --split train", 2, "without parts"),
        ("x.npy --label last", 2, "--label: x.npy is not a CSV file"),
        ("d.csv --label x", 1, "column 1 `x`: label `"),
        ("d.csv --label w", 2, "--label w: the first row has no such name: `x`, `y`, `kind`"),
        ("bare.csv --label last", 2, "the network takes 2 features"),
    ] {
        let line = format!("predict --model n --data {data} --output q.npy --device cpu");
        let error = refuse(&folder, &line, status);
        assert!(error.contains(what), "{error}");
    }
}

#[test]
fn the_heading_says_which_rows_are_answered() {
    let (_guard, folder) = folder();
    std::fs::write(folder.join("d.csv"), plain(60)).unwrap();
    succeed_quietly(
        &folder,
        "train --data d.csv --hidden 8 --epochs 1 --save c --device cpu --json",
    );
    succeed_quietly(&folder, "train --hidden none --epochs 1 --save n --device cpu --json");
    for (line, what) in [
        ("c --data d.csv", "data     d.csv: all rows (60); separated by `,`, header in line 1"),
        ("c --data d.csv --split test", "data     d.csv: test rows (12);"),
        ("n --data digits", "data     digits: test rows (359)\n"),
        ("n --data digits --split train", "data     digits: training rows (1438)\n"),
        ("n --data digits --split all", "data     digits: all rows (1797)\n"),
    ] {
        let line = format!("predict --output p.npy --device cpu --model {line}");
        let told = succeed_quietly(&folder, &line);
        assert!(told.contains(what), "{what} in {told}");
        assert!(told.contains("\nanswers  "), "{told}");
    }
    // All digits stand in the order of their file: the fifth is the first test row.
    let all = npy::read(&folder.join("p.npy")).unwrap().values;
    succeed_quietly(&folder, "predict --output t.npy --device cpu --model n --data digits");
    assert_eq!(all[40..50], npy::read(&folder.join("t.npy")).unwrap().values[..10]);
}

#[test]
fn an_average_over_masks_comes_with_its_spread() {
    let (_guard, folder) = folder();
    std::fs::write(folder.join("d.csv"), plain(30)).unwrap();
    succeed_quietly(
        &folder,
        "train --data d.csv --hidden 8 --epochs 2 --save n --device cpu --json",
    );
    for device in devices() {
        let line = format!(
            "predict --model n --data d.csv --samples 20 --json --device {device} --spread s.npy \
             --output"
        );
        succeed_quietly(&folder, &format!("{line} p.npy"));
        succeed_quietly(&folder, &format!("{line} p.tsv"));
        let text = std::fs::read_to_string(folder.join("p.tsv")).unwrap();
        let mut lines = text.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let head = lines.next().unwrap();
        assert_eq!((head[4], head[7], head[8]), ("spread_setosa", "entropy", "information"));
        let [mean, spread] = ["p.npy", "s.npy"].map(|name| npy::read(&folder.join(name)).unwrap());
        let mut count = 0;
        for ((fields, mean), spread) in
            lines.zip(mean.values.chunks(3)).zip(spread.values.chunks(3))
        {
            let numbers: Vec<f32> =
                fields[1..].iter().map(|field| field.parse().unwrap()).collect();
            assert_eq!((&numbers[..3], &numbers[3..6]), (mean, spread), "on {device}");
            let largest = mean.iter().copied().reduce(f32::max).unwrap();
            assert_eq!(fields[0], KINDS[mean.iter().position(|p| *p == largest).unwrap()]);
            count += 1;
        }
        assert_eq!(count, 30);
    }
}

#[test]
fn one_table_in_any_form_trains_the_same_network() {
    let (_guard, folder) = folder();
    let plain = plain(30);
    let wide = |bytes: fn(u16) -> [u8; 2], mark: &str| -> Vec<u8> {
        format!("{mark}{plain}").encode_utf16().flat_map(bytes).collect()
    };
    let first: String = plain
        .lines()
        .map(|line| {
            let (features, label) = line.rsplit_once(',').unwrap();
            format!("{label},{features}\n")
        })
        .collect();
    let (_, bare) = plain.split_once('\n').unwrap();
    let forms: [(&str, Vec<u8>, &str); 13] = [
        ("a.csv", plain.clone().into_bytes(), ""),
        ("semicolons.txt", plain.replace(',', ";").into_bytes(), ""),
        ("tabs.tsv", plain.replace(',', "\t").into_bytes(), ""),
        ("told.csv", plain.replace(',', ";").into_bytes(), "--separator ;"),
        ("marked.csv", format!("\u{feff}{plain}").into_bytes(), ""),
        ("little.csv", wide(u16::to_le_bytes, "\u{feff}"), ""),
        ("big.csv", wide(u16::to_be_bytes, "\u{feff}"), ""),
        ("unmarked.csv", wide(u16::to_le_bytes, ""), ""),
        ("dos.csv", plain.replace('\n', "\r\n").into_bytes(), ""),
        ("mac.csv", plain.replace('\n', "\r").into_bytes(), ""),
        ("first.csv", first.into_bytes(), "--label kind"),
        ("bare.csv", bare.as_bytes().to_vec(), "--label 3 --header no"),
        ("quoted.csv", plain.replace("setosa", "\"setosa\"").into_bytes(), "--header yes"),
    ];
    let mut networks = Vec::new();
    for (name, bytes, options) in &forms {
        std::fs::write(folder.join(name), bytes).unwrap();
        succeed_quietly(
            &folder,
            &format!(
                "train --data {name} --hidden 4 --epochs 2 --save n --device cpu --json {options}"
            ),
        );
        networks.push(std::fs::read(folder.join("n")).unwrap());
    }
    for (network, (name, ..)) in networks.iter().zip(&forms) {
        assert_eq!(*network, networks[0], "{name}");
    }
    // Control: another order of the rows is another network.
    let turned: Vec<&str> = bare.lines().rev().collect();
    std::fs::write(folder.join("turned.csv"), turned.join("\n")).unwrap();
    succeed_quietly(
        &folder,
        "train --data turned.csv --hidden 4 --epochs 2 --save n --device cpu --json",
    );
    assert_ne!(std::fs::read(folder.join("n")).unwrap(), networks[0]);
}

#[test]
fn every_class_is_on_both_sides_whatever_the_order_of_the_rows() {
    let (_guard, folder) = folder();
    for classes in [2, 3, 5, 10] {
        let row = |i: usize| {
            let class = i % classes;
            format!("{:.3},{:.3},{class}\n", class as f64 + 0.3 * noise(i, 0), 0.3 * noise(i, 1))
        };
        for (order, step) in [("rotation", 1), ("sorted", classes)] {
            let text: String = match step {
                1 => (0..300).map(row).collect(),
                _ => (0..classes).flat_map(|c| (c..300).step_by(classes)).map(row).collect(),
            };
            std::fs::write(folder.join("d.csv"), text).unwrap();
            let opened = wgpu_dropout_cli::data::open(folder.join("d.csv"), &Default::default());
            let test = opened.unwrap().set.test;
            let of = |class| test.labels.iter().filter(|label| **label == class).count();
            let per_class: Vec<usize> = (0..classes as u32).map(of).collect();
            assert_eq!(per_class, vec![60 / classes; classes], "{order}");
        }
    }
    // Labels in rotation can be learned; every fifth row as a test row gave 100 % error.
    let row = |i: usize| {
        let class = i % 5;
        let at = |column: usize| [[0, 0], [4, 0], [0, 4], [4, 4], [2, 8]][class][column] as f64;
        format!("{:.3},{:.3},{class}\n", at(0) + noise(i, 0), at(1) + noise(i, 1))
    };
    std::fs::write(folder.join("d.csv"), (0..500).map(row).collect::<String>()).unwrap();
    for device in devices() {
        let line = format!(
            "train --data d.csv --hidden 32 --epochs 20 --drop 0.1 --json --device {device}"
        );
        let epochs = lines(&succeed_quietly(&folder, &line));
        assert!(number(&epochs[19], "test_error") < 5.0, "{}", epochs[19]);
    }
}

#[test]
fn a_resumed_run_keeps_the_test_rows() {
    let (_guard, folder) = folder();
    std::fs::write(folder.join("d.csv"), plain(60)).unwrap();
    let split = "--test-share 0.4 --split-seed 9";
    let train = "train --data d.csv --hidden 4 --device cpu --json";
    succeed_quietly(&folder, &format!("{train} --epochs 4 --save whole {split}"));
    succeed_quietly(&folder, &format!("{train} --epochs 2 --save part {split}"));
    let (_, metadata) = saved(&folder.join("part"));
    assert_eq!(metadata["split"], "share=0.4 seed=9");
    succeed_quietly(&folder, &format!("{train} --epochs 4 --resume part --save part"));
    let [whole, part] = ["whole", "part"].map(|name| std::fs::read(folder.join(name)).unwrap());
    assert_eq!(whole, part);
    let predict = "predict --model part --data d.csv --output p.npy --json --device cpu";
    let rows = |more: &str| {
        lines(&succeed_quietly(&folder, &format!("{predict} {more}")))[0]["rows"].clone()
    };
    assert_eq!((rows("--split test"), rows("--split train")), (24.into(), 36.into()));
    assert_eq!(rows("--split test --test-share 0.1"), 6);
}

#[test]
fn what_a_table_cannot_be_read_as_is_said() {
    let (_guard, folder) = folder();
    let kaggle: String = (0..30).map(|i| format!("{},{},0\n", i % 3, i * 5)).collect();
    std::fs::write(folder.join("kaggle.csv"), format!("label,pixel0,pixel1\n{kaggle}")).unwrap();
    std::fs::write(folder.join("d.csv"), plain(30)).unwrap();
    std::fs::write(folder.join("latin.csv"), b"gr\xf6\xdfe,kind\n1,a\n2,b\n").unwrap();
    std::fs::write(folder.join("comma.csv"), "x;y;kind\n1,5;2;a\n2;3;b\n").unwrap();
    std::fs::write(folder.join("alone.csv"), "1,a\n2,b\n").unwrap();
    for (options, status, what) in [
        (
            "kaggle.csv",
            1,
            "one class: every label is `0` (separated by `,`, header in line 1, label",
        ),
        ("latin.csv", 1, "line 1: byte 0xf6 is not UTF-8: save the file as UTF-8 or UTF-16"),
        ("comma.csv", 1, "column 1 `x`: `1,5`: expected a number, with a point for the decimals"),
        ("alone.csv", 1, "--test-file"),
        ("d.csv --label 0", 2, "`first`, `last`, a number from 1, or a name"),
        ("d.csv --label 4", 2, "--label 4: the file has 3 columns"),
        ("d.csv --separator :", 2, "--separator"),
        ("d.csv --header maybe", 2, "--header"),
        ("d.csv --test-share 0", 2, "between 0 and 1"),
        ("d.csv --test-share 1", 2, "between 0 and 1"),
        ("d.csv --test-share nan", 2, "between 0 and 1"),
        ("d.csv --split-seed -1", 2, "whole number"),
        ("d.csv --test-file d.csv --test-share 0.5", 2, "--test-share"),
        ("d.csv --test-file digits", 2, "--test-file digits"),
        ("d.csv --test-file none.csv", 1, "none.csv: not found"),
        (
            "digits --test-share 0.5",
            2,
            "--test-share: digits has training and test rows of its own",
        ),
        ("digits --split-seed 1", 2, "--split-seed: digits has"),
        ("digits --test-file d.csv", 2, "--test-file: digits has"),
        ("digits --label last", 2, "--label: digits is not a CSV file"),
    ] {
        let line = format!("train --epochs 1 --hidden 4 --device cpu --data {options}");
        let error = refuse(&folder, &line, status);
        assert!(error.contains(what), "`{options}`: {error}");
    }
    let train = "train --epochs 1 --hidden 4 --device cpu --data kaggle.csv --label";
    for label in ["first", "1", "label"] {
        let told = succeed(&folder, &format!("{train} {label}"));
        assert!(told.contains("label in column 1 `label`\nclasses  0, 1, 2\n"), "{told}");
    }
    // Another column that looks like the label is mentioned, unless an option says which.
    std::fs::write(folder.join("kaggle.csv"), "label,pixel0\n5,0\n5,0\n6,1\n6,1\n").unwrap();
    let unsaid = "train --epochs 1 --hidden 4 --device cpu --data kaggle.csv";
    succeed_quietly(&folder, &format!("{unsaid} --label 2"));
    let output = run_in(&folder, unsaid);
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        told,
        "note: column 2 `pixel0` is taken for the label, although there is column 1 `label`: add \
         --label 2 or --label 1\n"
    );
    // Answers from the wrong columns would look like any others.
    std::fs::write(folder.join("kaggle.csv"), format!("label,pixel0,pixel1\n{kaggle}")).unwrap();
    succeed(&folder, &format!("{train} first --save n"));
    let predict = "predict --model n --device cpu --output p.npy --data kaggle.csv";
    let error = refuse(&folder, predict, 2);
    assert!(error.contains("add --label 3 or --label 1"), "{error}");
    succeed(&folder, &format!("{predict} --label first"));
}
