//! Every number among the settings of every call: at each end of its documented range, past it, NaN
//! and infinity, on every backend. The ranges are written here a second time, as documented.

use super::site;
use crate::common::{Form, noise, with_gpu};
use rand::{SeedableRng, rngs::StdRng};
use wgpu_dropout::call::{
    Activation, ActivationGrad, AdamW, AdamWRule, AlphaDropoutCall, Attention, AttentionGrad,
    AttentionRule, BatchNorm, BatchNormGrad, BatchStatistics, DropoutBits, DropoutBroadcast,
    DropoutCall, Features, Filter, Gather, GradInput, GradWeight, GradWeightSgd, Image, LayerNorm,
    LinearActivation, LinearForward, Moments, PatchesGrad, Pool, PoolGrad, Pooling, Sgd, SgdRule,
    SparsityGrad, Subnetworks,
};
use wgpu_dropout::{AlphaDropout, AxisMap, Backend, Cpu, Dropout, Error, Result};

/// Ends of a range: the numbers that lie at its ends within it, and those just past them.
struct Ends {
    within: &'static [f32],
    past: &'static [f32],
}

const FINITE: Ends = Ends { within: &[f32::MIN, -0.0, f32::MAX], past: &[] };
const NOT_NEGATIVE: Ends = Ends {
    within: &[0.0, -0.0, f32::from_bits(1), f32::MAX],
    past: &[-f32::from_bits(1), f32::MIN],
};
const POSITIVE: Ends =
    Ends { within: &[f32::from_bits(1), f32::MAX], past: &[0.0, -0.0, -f32::from_bits(1)] };
const UNIT: Ends = Ends { within: &[0.0, 1.0], past: &[-f32::from_bits(1), 1.0 + f32::EPSILON] };
const BELOW_ONE: Ends = Ends {
    within: &[0.0, 1.0 - f32::EPSILON / 2.0],
    past: &[-f32::from_bits(1), 1.0, 1.0 + f32::EPSILON],
};
const BETWEEN: Ends = Ends {
    within: &[f32::from_bits(1), 1.0 - f32::EPSILON / 2.0],
    past: &[0.0, 1.0, -f32::from_bits(1), 1.0 + f32::EPSILON],
};

/// Every field, its name in messages, and its range.
const FIELDS: [(&str, &str, Ends); 42] = [
    ("dropout.scale", "scale", FINITE),
    ("dropout_bits.scale", "scale", FINITE),
    ("dropout_broadcast.scale", "scale", FINITE),
    ("alpha_dropout.scale", "scale", FINITE),
    ("alpha_dropout.shift", "scale", FINITE),
    ("alpha_dropout.dropped", "scale", FINITE),
    ("linear_forward.scale", "scale", FINITE),
    ("linear_activation.scale", "scale", FINITE),
    ("activation_grad.scale", "scale", FINITE),
    ("grad_input.scale", "scale", FINITE),
    ("grad_input.through", "scale", FINITE),
    ("grad_weight.scale", "scale", FINITE),
    ("gather.scale", "scale", FINITE),
    ("subnetworks.scale", "scale", FINITE),
    ("gather.unit", "unit", FINITE),
    ("pool_grad.through", "scale", FINITE),
    ("patches_grad.through", "scale", FINITE),
    ("batch_norm.scale", "scale", FINITE),
    ("batch_norm.epsilon", "ε", POSITIVE),
    ("batch_norm_grad.epsilon", "ε", POSITIVE),
    ("batch_norm_grad.through", "scale", FINITE),
    ("batch_statistics.momentum", "momentum", UNIT),
    ("attention.scale", "scale", FINITE),
    ("attention_grad.scale", "scale", FINITE),
    ("layer_norm.epsilon", "ε", POSITIVE),
    ("sparsity_grad.target", "target", BETWEEN),
    ("sparsity_grad.weight", "weight", NOT_NEGATIVE),
    ("moments.before", "before", NOT_NEGATIVE),
    ("sgd.lr", "learning rate", NOT_NEGATIVE),
    ("sgd.momentum", "momentum", NOT_NEGATIVE),
    ("sgd.weight_decay", "weight decay", NOT_NEGATIVE),
    ("sgd.l1", "L1", NOT_NEGATIVE),
    ("sgd.max_norm", "max-norm", POSITIVE),
    ("grad_weight_sgd.lr", "learning rate", NOT_NEGATIVE),
    ("grad_weight_sgd.momentum", "momentum", NOT_NEGATIVE),
    ("grad_weight_sgd.weight_decay", "weight decay", NOT_NEGATIVE),
    ("grad_weight_sgd.l1", "L1", NOT_NEGATIVE),
    ("adamw.lr", "learning rate", NOT_NEGATIVE),
    ("adamw.beta1", "β₁", BELOW_ONE),
    ("adamw.beta2", "β₂", BELOW_ONE),
    ("adamw.epsilon", "ε", POSITIVE),
    ("adamw.weight_decay", "weight decay", NOT_NEGATIVE),
];

/// Returns an SGD rule with one number replaced.
fn sgd(field: &str, value: f32) -> SgdRule {
    let mut rule = SgdRule { lr: 0.1, momentum: 0.5, weight_decay: 0.1, l1: 0.1, max_norm: None };
    match field {
        "lr" => rule.lr = value,
        "momentum" => rule.momentum = value,
        "weight_decay" => rule.weight_decay = value,
        "l1" => rule.l1 = value,
        _ => rule.max_norm = Some(value),
    }
    rule
}

/// Runs a call with one of its numbers replaced.
fn call<B: Backend>(backend: &mut B, name: &str, value: f32) -> Result<()> {
    let (kernel, field) = name.split_once('.').unwrap();
    let number = |of: &str, usual: f32| if of == field { value } else { usual };
    let [x, r] = [1, 2].map(|seed| backend.tensor(6, 4, &noise(seed, 24)).unwrap());
    let weight = backend.tensor(4, 4, &noise(3, 16))?;
    let pair = backend.tensor(2, 4, &[0.5; 8])?;
    let [mut y, mut first, mut second] = [(); 3].map(|()| backend.zeros(6, 4).unwrap());
    let [mut grad_weight, mut velocity] = [(); 2].map(|()| backend.zeros(4, 4).unwrap());
    let [mut bias, mut bias_velocity] = [(); 2].map(|()| backend.zeros(1, 4).unwrap());
    let mut two = backend.zeros(2, 4)?;
    let mask = site(&mut StdRng::seed_from_u64(3)).mask.at(0, 0);
    let dropout = Dropout { mask, scale: number("scale", 2.0) };
    let activation = Activation::Silu;
    match kernel {
        "dropout" => backend.run(DropoutCall { x: &x, y: &mut y, dropout }),
        "dropout_bits" => {
            let bits = backend.zeros(6, 1)?;
            backend.run(DropoutBits { x: &x, bits: &bits, y: &mut y, scale: value })
        }
        "dropout_broadcast" => {
            let axes = &AxisMap::channels(&[3, 2, 4])?;
            backend.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout })
        }
        "alpha_dropout" => {
            let mut dropout = AlphaDropout::train(mask);
            dropout.scale = number("scale", dropout.scale);
            dropout.shift = number("shift", dropout.shift);
            dropout.dropped = number("dropped", dropout.dropped);
            backend.run(AlphaDropoutCall { x: &x, y: &mut y, dropout })
        }
        "linear_forward" => backend.run(LinearForward {
            x: &x,
            weight: &weight,
            bias: None,
            y: &mut y,
            relu: true,
            dropout,
        }),
        "linear_activation" => backend.run(LinearActivation {
            x: &x,
            weight: &weight,
            bias: None,
            residual: None,
            z: None,
            y: &mut y,
            activation,
            dropout,
        }),
        "activation_grad" => backend.run(ActivationGrad {
            grad_output: &x,
            z: &r,
            grad_z: &mut y,
            activation,
            dropout,
        }),
        "grad_input" => backend.run(GradInput {
            grad_output: &x,
            output: None,
            weight: &weight,
            grad_input: &mut y,
            dropout,
            through: Some((&r, number("through", 2.0))),
        }),
        "grad_weight" => backend.run(GradWeight {
            x: &x,
            grad_output: &r,
            output: None,
            grad_weight: &mut grad_weight,
            grad_bias: &mut bias,
            dropout,
        }),
        "gather" => {
            let [all_labels, order] = [(); 2].map(|()| backend.zeros(6, 1).unwrap());
            let mut labels = backend.zeros(6, 1)?;
            backend.run(Gather {
                data: Features::Floats(&x),
                all_labels: &all_labels,
                order: &order,
                first: 0,
                unit: number("unit", 0.5),
                x: &mut y,
                labels: &mut labels,
                dropout,
            })
        }
        "subnetworks" => {
            let (rows, scale) = (3, value);
            backend.run(Subnetworks { x: &x, y: &mut y, rows, first: 0, bit: 0, scale })
        }
        "pool_grad" => {
            let image = Image { height: 2, width: 2, channels: 1 };
            let pool = Pool::global(Pooling::Max, image);
            let grad_y = &backend.zeros(6, 1)?;
            let through = Some(value);
            backend.run(PoolGrad { x: &x, image, pool, grad_y, grad_x: &mut y, through })
        }
        "patches_grad" => {
            let image = Image { height: 2, width: 2, channels: 1 };
            let filter = Filter { side: 1, padding: 0 };
            let grad_patches = &backend.zeros(24, 1)?;
            let through = Some((&x, value));
            backend.run(PatchesGrad { grad_patches, image, filter, grad_x: &mut y, through })
        }
        "batch_norm" => backend.run(BatchNorm {
            x: &x,
            statistics: &pair,
            affine: &pair,
            y: &mut y,
            epsilon: number("epsilon", 1e-5),
            relu: true,
            dropout,
        }),
        "batch_norm_grad" => backend.run(BatchNormGrad {
            x: &x,
            statistics: &pair,
            affine: &pair,
            grad_y: &r,
            grad_affine: &mut two,
            grad_x: &mut y,
            epsilon: number("epsilon", 1e-5),
            through: Some(number("through", 2.0)),
        }),
        "batch_statistics" => {
            let mut running = backend.zeros(2, 4)?;
            let (statistics, momentum) = (&mut two, value);
            backend.run(BatchStatistics { x: &x, statistics, running: &mut running, momentum })
        }
        "attention" => {
            let rule = AttentionRule { dropout, ..AttentionRule::whole(2, 2, 3) };
            let mut logsumexp = backend.zeros(6, 2)?;
            backend.run(Attention {
                query: &x,
                key: &r,
                value: &r,
                bias: None,
                output: &mut y,
                logsumexp: &mut logsumexp,
                rule,
            })
        }
        "attention_grad" => {
            let rule = AttentionRule { dropout, ..AttentionRule::whole(2, 2, 3) };
            let logsumexp = backend.zeros(6, 2)?;
            backend.run(AttentionGrad {
                query: &x,
                key: &r,
                value: &r,
                bias: None,
                output: &x,
                logsumexp: &logsumexp,
                grad_output: &r,
                grad_query: &mut y,
                grad_key: &mut first,
                grad_value: &mut second,
                rule,
            })
        }
        "layer_norm" => {
            let mut statistics = backend.zeros(6, 2)?;
            backend.run(LayerNorm {
                x: &x,
                affine: &pair,
                y: &mut y,
                statistics: &mut statistics,
                epsilon: value,
            })
        }
        "sparsity_grad" => backend.run(SparsityGrad {
            statistics: &pair,
            grad_y: &mut y,
            target: number("target", 0.1),
            weight: number("weight", 0.1),
        }),
        "moments" => {
            let weights = backend.tensor(2, 1, &[1.0, 1.0])?;
            let mut moments = backend.zeros(3, 9)?;
            backend.run(Moments {
                logits: &mut y,
                weights: &weights,
                first: 0,
                before: value,
                moments: &mut moments,
            })
        }
        "sgd" => {
            let velocity = Some(&mut first);
            backend.run(Sgd { grad: &x, weight: &mut y, velocity, rule: sgd(field, value) })
        }
        "grad_weight_sgd" => backend.run(GradWeightSgd {
            x: &x,
            grad_z: &r,
            weight: &mut grad_weight,
            bias: &mut bias,
            velocity: Some((&mut velocity, &mut bias_velocity)),
            rule: sgd(field, value),
        }),
        _ => backend.run(AdamW {
            grad: &x,
            weight: &mut y,
            first: &mut first,
            second: &mut second,
            rule: AdamWRule {
                lr: number("lr", 0.1),
                beta1: number("beta1", 0.9),
                beta2: number("beta2", 0.99),
                epsilon: number("epsilon", 1e-8),
                weight_decay: number("weight_decay", 0.1),
            },
            step: 0,
        }),
    }?;
    backend.wait()
}

fn check<B: Backend>(backend: &mut B) {
    for (name, setting, ends) in FIELDS {
        for &value in ends.within {
            if let Err(error) = call(backend, name, value) {
                panic!("{name} = {value} on {}: {error}", backend.name());
            }
        }
        for value in ends.past.iter().chain(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY]) {
            match call(backend, name, *value) {
                Err(Error::Invalid { what }) => assert!(
                    what.contains(setting) && what.contains(&format!("{value}: must be")),
                    "{name}: {what}"
                ),
                other => panic!("{name} = {value} on {}: {other:?}", backend.name()),
            }
        }
    }
}

#[test]
fn numbers_are_accepted_up_to_the_ends_of_their_ranges_and_not_past_them() {
    check(&mut Cpu::reference());
    check(&mut Cpu::new());
    with_gpu(Form::Usual, check);
}

/// Checks that the table above has every number of the calls: a field of type f32, or of a rule or
/// dropout site, in each call's file.
#[test]
fn the_table_has_every_number_of_every_call() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/call");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let Some((_, body)) =
            text.split_once("<P: Place> {\n").or_else(|| text.split_once(", P: Place> {\n"))
        else {
            continue;
        };
        let fields = body.split_once("\n}").unwrap().0;
        for line in fields.lines().filter(|line| line.starts_with("    pub ")) {
            let (field, kind) = line["    pub ".len()..].split_once(": ").unwrap();
            let wanted: &[&str] = match kind.trim_end_matches(',') {
                "Dropout" => &["scale"],
                "AlphaDropout" => &["scale", "shift", "dropped"],
                // It refuses any max-norm.
                "SgdRule" if stem == "grad_weight_sgd" => &["lr", "momentum", "weight_decay", "l1"],
                "SgdRule" => &["lr", "momentum", "weight_decay", "l1", "max_norm"],
                "AdamWRule" => &["lr", "beta1", "beta2", "epsilon", "weight_decay"],
                kind if kind.contains("f32") && !kind.contains("<f32>") => &[field],
                kind if kind.ends_with(", f32)>") => &[field],
                _ => &[],
            };
            for field in wanted {
                let name = format!("{stem}.{field}");
                assert!(FIELDS.iter().any(|(known, ..)| *known == name), "{name} is not tried");
            }
        }
    }
}
