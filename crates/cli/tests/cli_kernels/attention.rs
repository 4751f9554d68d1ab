//! `attention`, forward and backward.

use super::cli::{devices, refuse, succeed};
use super::{load, load_mask, save};
use crate::common::noise;
use std::path::Path;
use tempfile::TempDir;
use wgpu_dropout::call::{AttentionRule, Dropped, Reach};
use wgpu_dropout::cpu::reference::{AttentionFactors, AttentionResults};
use wgpu_dropout::{AttentionPlace, Dropout, Key, Mask, Mode, Rate, oracle};

const SHAPE: [usize; 4] = [2, 5, 4, 6];
const KEYS: [usize; 4] = [2, 37, 2, 6];
const FILES: &str = "--query q.npy --key k.npy --value v.npy --output o.npy --logsumexp l.npy";
const GRADIENTS: &str =
    "--grad-output do.npy --grad-query dq.npy --grad-key dk.npy --grad-value dv.npy";

fn len(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// Saves the arrays of an attention, and returns Q, K, V, dO and both biases.
fn arrays(folder: &Path) -> [Vec<f32>; 6] {
    let of_all = [4, 5, 37];
    let of_each = [2, 4, 5, 37];
    let values = [
        ("q.npy", &SHAPE[..]),
        ("k.npy", &KEYS),
        ("v.npy", &KEYS),
        ("do.npy", &SHAPE),
        ("all.npy", &of_all),
        ("each.npy", &of_each),
    ];
    let mut seed = 0;
    values.map(|(name, shape)| {
        seed += 1;
        let values = noise(seed, len(shape));
        save(folder, name, shape, &values);
        values
    })
}

#[test]
fn every_option_agrees_with_the_oracle_forward_and_backward() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let [query, key, value, grad, all, each] = arrays(folder);
    let mask = |rate| Mask::new(rate, Key { seed: 7, layer: 2, step: 3 });
    let dropout = Dropout::train(Mode::Inverted, mask(Rate::drop(0.3).unwrap()));
    let base = AttentionRule { key_heads: 2, dropout, ..AttentionRule::whole(2, 4, 5) };
    let placed = AttentionPlace { sequence: 3, head: 2, heads: 9, query: 30, key: 13, pitch: 50 };
    let cases: [(&str, Option<&Vec<f32>>, AttentionRule<'_>); 8] = [
        ("--drop 0.3", None, base),
        ("", None, AttentionRule { dropout: Dropout::NONE, ..base }),
        ("--keep 0.7 --causal", None, AttentionRule { reach: Reach::Causal, ..base }),
        (
            "--drop 0.3 --sequence-offset 3 --head-offset 2 --heads 9 --query-offset 30 --key-offset 13 --pitch 50 --causal --window 9",
            None,
            AttentionRule { place: placed, reach: Reach::Window(9), ..base },
        ),
        ("--drop 0.3 --bias all.npy", Some(&all), base),
        ("--drop 0.3 --bias each.npy", Some(&each), base),
        ("--drop 0.3 --drop-logits", None, AttentionRule { dropped: Dropped::Scores, ..base }),
        (
            "--drop 1",
            None,
            AttentionRule {
                dropout: Dropout::train(Mode::Inverted, mask(Rate::drop(1.0).unwrap())),
                ..base
            },
        ),
    ];
    for device in devices() {
        for (options, bias, rule) in &cases {
            let line = format!(
                "attention --device {device} --seed 7 --layer 2 --step 3 {FILES} {GRADIENTS} {options}"
            );
            succeed(folder, &line);
            let read = |name: &str, shape: &[usize]| {
                let array = load(folder, name);
                assert_eq!(array.shape, shape, "{name}");
                array.values
            };
            let factors = AttentionFactors {
                query: &query,
                key: &key,
                value: &value,
                bias: bias.map(|bias| (&bias[..], 37)),
                width: 6,
            };
            let (output, logsumexp) = (read("o.npy", &SHAPE), read("l.npy", &SHAPE[..3]));
            let results =
                AttentionResults { output: &output, logsumexp: &logsumexp, grad_output: &grad };
            let [o, l] = oracle::attention(&factors, rule);
            o.check(&line, &output).unwrap();
            l.check(&line, &logsumexp).unwrap();
            let exact = oracle::attention_grad(&factors, &results, rule);
            let names = [("dq.npy", &SHAPE), ("dk.npy", &KEYS), ("dv.npy", &KEYS)];
            for (exact, (name, shape)) in exact.iter().zip(names) {
                exact.check(&line, &read(name, shape)).unwrap();
            }
            // The control: another step.
            if rule.dropout.mask.rate.threshold() % 65536 != 0 {
                let mut other = *rule;
                other.dropout.mask.key.step = 4;
                assert!(oracle::attention(&factors, &other)[0].check("", &output).is_err());
            }
        }
    }
}

#[test]
fn queries_of_zero_show_the_mask_that_mask_prints() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    // Weights are 1/32, values a row of the unit matrix: O·16 is the mask.
    save(folder, "q.npy", &[1, 5, 2, 32], &[0.0; 320]);
    save(folder, "k.npy", &[1, 32, 1, 32], &noise(1, 1024));
    let unit: Vec<f32> = (0..1024).map(|i| if i / 32 == i % 32 { 1.0 } else { 0.0 }).collect();
    save(folder, "v.npy", &[1, 32, 1, 32], &unit);
    let place = "--seed 5 --layer 1 --keep 0.5 --head-offset 1 --heads 6 --query-offset 2 --pitch 9 --key-offset 13 --sequence-offset 4";
    for device in devices() {
        succeed(folder, &format!("attention --device {device} {FILES} {place}"));
        succeed(
            folder,
            &format!(
                "mask --device {device} --attention 1,2,5,32 {place} --format npy --output m.npy"
            ),
        );
        let (shape, mask) = load_mask(folder, "m.npy");
        assert_eq!(shape, [1, 2, 5, 32]);
        let output = load(folder, "o.npy").values;
        for (at, kept) in mask.iter().enumerate() {
            let [head, query, key] = [at / 160, at / 32 % 5, at % 32];
            assert_eq!(output[(query * 2 + head) * 32 + key] * 16.0, f32::from(*kept), "{at}");
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    arrays(folder);
    save(folder, "q3.npy", &[10, 4, 6], &noise(1, 240));
    save(folder, "k3.npy", &[2, 37, 3, 6], &noise(1, 2 * 37 * 18));
    save(folder, "kd.npy", &[2, 37, 2, 5], &noise(1, 2 * 37 * 10));
    save(folder, "none.npy", &[2, 5, 0, 6], &[]);
    for (options, status, said) in [
        ("--window 3", 2, "--causal"),
        ("--pitch 4", 2, "the pitch must be at least that"),
        ("--heads 3", 2, "query heads up to 4 of 3"),
        ("--drop 2", 2, "--drop"),
        ("--drop 0.1 --keep 0.9", 2, "--keep"),
        ("--grad-query dq.npy", 2, "--grad-output"),
        ("--grad-output do.npy", 2, "--grad"),
        ("--bias q.npy", 1, "(4, 5, 37) or (2, 4, 5, 37)"),
        ("--grad-output k.npy --grad-key dk.npy", 1, "that of the queries"),
    ] {
        let error = refuse(folder, &format!("attention {FILES} {options}"), status);
        assert!(error.contains(said), "{options}: {error}");
    }
    for (files, said) in [
        ("--query q3.npy --key k.npy --value v.npy", "4 axes: B, T, H, D"),
        ("--query q.npy --key k3.npy --value k3.npy", "divides 4"),
        ("--query q.npy --key kd.npy --value kd.npy", "(2, S, G, 6)"),
        ("--query q.npy --key k.npy --value q.npy", "that of the keys"),
        ("--query none.npy --key k.npy --value k.npy", "expected heads"),
    ] {
        let error = refuse(folder, &format!("attention {files} --output o.npy"), 1);
        assert!(error.contains(said), "{files}: {error}");
    }
    refuse(folder, "attention --query q.npy --key k.npy --value v.npy", 2);
}
