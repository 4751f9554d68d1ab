//! Predictions of saved networks: by the scaled network, over sampled masks and over all of them.

use super::*;

#[test]
fn predictions_are_as_good_as_training_said() {
    let (_guard, folder) = folder();
    for device in devices() {
        let train = format!(
            "train --json --epochs 2 --hidden 32 --mode vanilla --save n --device {device}"
        );
        let epochs = lines(&succeed_quietly(&folder, &train));
        for (split, rows) in [("test", 359), ("train", 1438)] {
            let line = format!(
                "predict --model n --data digits --split {split} --output p.npy --json --device {device}"
            );
            let object = &lines(&succeed_quietly(&folder, &line))[0];
            assert_eq!((&object["rows"], &object["classes"]), (&rows.into(), &10.into()));
            let (loss, error) = (number(object, "loss"), number(object, "error"));
            assert!(
                (loss / number(&epochs[1], &format!("{split}_loss")) - 1.0).abs() < 1e-5,
                "{object}"
            );
            assert!(
                (error - number(&epochs[1], &format!("{split}_error"))).abs() < 1e-9,
                "{object}"
            );
            let p = npy::read(&folder.join("p.npy")).unwrap();
            assert_eq!(p.shape, [rows, 10]);
            assert!(p.values.chunks(10).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5));
        }
    }
}

#[test]
fn an_array_is_predicted_as_it_stands() {
    let (_guard, folder) = folder();
    succeed_quietly(&folder, "train --json --epochs 1 --hidden 8 --save n --device cpu");
    let features = DataSet::digits().unwrap().test.features_f32();
    npy::write_f32(&folder.join("x.npy"), &[359, 64], &features).unwrap();
    npy::write_f32(&folder.join("none.npy"), &[0, 64], &[]).unwrap();
    npy::write_f32(&folder.join("narrow.npy"), &[2, 3], &[0.0; 6]).unwrap();
    let predict = |data: &str, output: &str| {
        format!("predict --model n --device cpu --json --data {data} --output {output}")
    };
    succeed_quietly(&folder, &predict("digits", "p.npy"));
    let object = &lines(&succeed_quietly(&folder, &predict("x.npy", "q.npy")))[0];
    assert!(
        object.get("loss").is_none()
            && object.get("error").is_none()
            && number(object, "dispatches") > 0.0,
        "{object}"
    );
    assert_eq!(
        npy::read(&folder.join("p.npy")).unwrap(),
        npy::read(&folder.join("q.npy")).unwrap()
    );
    succeed_quietly(&folder, &predict("none.npy", "empty.npy"));
    assert_eq!(npy::read(&folder.join("empty.npy")).unwrap().shape, [0, 10]);
    assert!(
        refuse(&folder, &predict("narrow.npy", "r.npy"), 2)
            .contains("3 features a row, the network takes 64")
    );
}

type Network = BTreeMap<String, Vec<f32>>;

fn affine(network: &Network, layer: usize, x: &[f64]) -> Vec<f64> {
    let w = &network[&format!("layers.{layer}.weight")];
    let b = &network[&format!("layers.{layer}.bias")];
    let dot = |o: usize| {
        x.iter().enumerate().map(|(i, x)| x * f64::from(w[i * b.len() + o])).sum::<f64>()
    };
    b.iter().enumerate().map(|(o, &b)| f64::from(b) + dot(o)).collect()
}

/// Returns the class probabilities of a network with one hidden layer, averaged over every mask of
/// input and hidden units, in f64.
fn ensemble(
    network: &Network,
    row: &[f32],
    [input, hidden]: [Rate; 2],
    inverted: bool,
) -> Vec<f64> {
    let units = row.len() + network["layers.0.bias"].len();
    let mut mean = vec![0.0; network["layers.1.bias"].len()];
    for mask in 0..1u32 << units {
        let mut weight = 1.0;
        let mut site = |values: Vec<f64>, first: usize, rate: Rate| -> Vec<f64> {
            let keep = rate.keep_in_effect();
            let drop = |(unit, value): (usize, f64)| {
                let kept = mask >> (first + unit) & 1 == 1;
                weight *= if kept { keep } else { 1.0 - keep };
                if kept { value * if inverted { 1.0 / keep } else { 1.0 } } else { 0.0 }
            };
            values.into_iter().enumerate().map(drop).collect()
        };
        let x = site(row.iter().map(|&x| f64::from(x)).collect(), 0, input);
        let h = affine(network, 0, &x).into_iter().map(|z| z.max(0.0)).collect();
        let z = affine(network, 1, &site(h, row.len(), hidden));
        let sum: f64 = z.iter().map(|z| z.exp()).sum();
        mean.iter_mut().zip(z).for_each(|(mean, z)| *mean += weight * z.exp() / sum);
    }
    mean
}

#[test]
fn the_exact_ensemble_is_every_mask_and_samples_come_near_it() {
    let (_guard, folder) = folder();
    write_csv(&folder);
    let rates = [Rate::drop(0.2).unwrap(), Rate::drop(0.4).unwrap()];
    let path = folder.join("d.csv");
    let data = data::open(&path, &Options::default()).unwrap().set;
    let test = data.test;
    for (mode, inverted) in [("inverted", true), ("vanilla", false)] {
        let options = format!("--hidden 4 --drop 0.4 --input-drop 0.2 --mode {mode}");
        succeed_quietly(
            &folder,
            &format!("train --data d.csv --json --epochs 8 --save n --device cpu {options}"),
        );
        let (network, _) = saved(&folder.join("n"));
        let rows: Vec<Vec<f64>> = test
            .features_f32()
            .chunks(3)
            .map(|row| ensemble(&network, row, rates, inverted))
            .collect();
        let load = |name: &str| npy::read(&folder.join(name)).unwrap().values;
        for device in devices() {
            let predict =
                format!("predict --model n --data d.csv --split test --json --device {device}");
            let object = &lines(&succeed_quietly(
                &folder,
                &format!("{predict} --output e.npy --ensemble exact --spread es.npy"),
            ))[0];
            let (exact, exact_spread) = (load("e.npy"), load("es.npy"));
            assert_eq!(exact.len(), 24);
            for (&computed, &wanted) in exact.iter().zip(rows.iter().flatten()) {
                assert!(
                    (f64::from(computed) - wanted).abs() < 1e-5,
                    "{mode} on {device}: {computed}, expected {wanted}"
                );
            }
            let mut passes = Vec::new();
            let loss = rows
                .iter()
                .zip(&test.labels)
                .map(|(p, &label)| -p[label as usize].ln())
                .sum::<f64>()
                / 12.0;
            assert!((number(object, "loss") - loss).abs() < 1e-5, "{object}");

            for masks in ["", "--masks pass"] {
                let files = "--output m.npy --samples 900 --spread s.npy --entropy h.npy --information i.npy";
                let object =
                    &lines(&succeed_quietly(&folder, &format!("{predict} {files} {masks}")))[0];
                let mean = load("m.npy");
                let spread = load("s.npy");
                let entropy = load("h.npy");
                // A sample takes at least four dispatches, of which one submit holds about a
                // thousand.
                assert!(
                    number(object, "submits") <= 7.0 && number(object, "dispatches") >= 3600.0,
                    "{object}"
                );
                for ((mean, &entropy), &information) in
                    mean.chunks(2).zip(&entropy).zip(&load("i.npy"))
                {
                    let right: f32 = mean.iter().map(|p| -p * p.ln()).sum();
                    assert!(
                        (entropy - right).abs() < 1e-5
                            && information > 0.0
                            && information < entropy,
                        "{entropy} {information}"
                    );
                }
                assert!(spread.iter().any(|&spread| spread > 0.01));
                for (((mean, spread), exact), exact_spread) in
                    mean.iter().zip(&spread).zip(&exact).zip(&exact_spread)
                {
                    // The tolerance is five standard errors of 900 samples. The standard error of a
                    // variance of numbers between 0 and 1 is at most spread / √900.
                    assert!(
                        (mean - exact).abs() <= exact_spread * 5.0 / 30.0 + 1e-6,
                        "{mode} on {device}: {mean}, {exact} ± {exact_spread}"
                    );
                    let off = (spread.powi(2) - exact_spread.powi(2)).abs();
                    assert!(
                        off <= exact_spread * 5.0 / 30.0 + 1e-6,
                        "{mode} on {device}: {spread}, expected {exact_spread}"
                    );
                }
                passes.push(mean);
            }
            assert_ne!(
                passes.pop(),
                passes.pop(),
                "one mask per pass must differ from one per row"
            );
        }
    }
    // The masks use the network's seed unless another is given.
    let sample = |seed: &str| {
        succeed_quietly(
            &folder,
            &format!(
                "predict --model n --data d.csv --output m.npy --samples 3 --device cpu {seed}"
            ),
        );
        std::fs::read(folder.join("m.npy")).unwrap()
    };
    assert_eq!(sample(""), sample("--seed 0"));
    assert_ne!(sample(""), sample("--seed 1"));
}

#[test]
fn another_seed_changes_the_masks_of_samples_alone() {
    let (_guard, folder) = folder();
    for device in devices() {
        for network in ["", "--batch-norm before", "--batch-norm after --mode vanilla"] {
            let train = format!("train --epochs 1 --hidden 16 --seed 5 --save n {network} --json");
            succeed_quietly(&folder, &format!("{train} --device {device}"));
            let sample = |seed: &str| {
                let line =
                    format!("predict --model n --data digits --output p.npy --samples 3 {seed}");
                succeed_quietly(&folder, &format!("{line} --device {device}"));
                std::fs::read(folder.join("p.npy")).unwrap()
            };
            assert_eq!(sample(""), sample("--seed 5"), "{network} on {device}");
            assert_ne!(sample(""), sample("--seed 6"), "{network} on {device}");
        }
    }
}

#[test]
fn without_an_output_the_figures_are_printed_and_nothing_is_written() {
    let (_guard, folder) = folder();
    succeed(&folder, "train --epochs 1 --hidden 8 --save n --device cpu");
    for device in devices() {
        let line = format!("predict --model n --data digits --json --device {device}");
        let object = &lines(&succeed_quietly(&folder, &line))[0];
        let written = succeed_quietly(&folder, &format!("{line} --output p.npy"));
        assert_eq!(object, &lines(&written)[0]);
        std::fs::remove_file(folder.join("p.npy")).unwrap();
        let text = succeed(&folder, &line.replace(" --json", ""));
        assert!(text.contains("359 rows: loss "), "{text}");
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
    }
    let told = refuse(&folder, "predict --model n --data digits --format csv", 2);
    assert!(told.contains("--output"), "{told}");
}
