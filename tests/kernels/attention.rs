//! `attention` and `attention_grad`.

#[path = "attention/masks.rs"]
mod masks;

use crate::common::{Form, noise, poisoned, same_bits};
use crate::{mask, on_backends};
use wgpu_dropout::call::{Attention, AttentionGrad, AttentionRule, Dropped, Reach, Sequences};
use wgpu_dropout::cpu::reference::{AttentionFactors, AttentionResults};
use wgpu_dropout::oracle;
use wgpu_dropout::{AttentionPlace, Backend, Dropout, Error, Mode};

/// Sizes and rule of an attention.
#[derive(Clone, Copy)]
struct Case<'a> {
    rule: AttentionRule<'a>,
    /// Rows of the queries and of the keys.
    rows: [usize; 2],
    width: usize,
    /// Rows and columns of the bias.
    bias: Option<[usize; 2]>,
}

/// Values of an attention's tensors.
struct Values {
    query: Vec<f32>,
    key: Vec<f32>,
    value: Vec<f32>,
    bias: Option<Vec<f32>>,
    grad: Vec<f32>,
}

/// Results of both passes: O, L, dQ, dK, dV.
type Results = [Vec<f32>; 5];

impl<'a> Case<'a> {
    /// Sequences of equal lengths with `heads` query heads over `key_heads`.
    fn new(sequences: usize, [heads, key_heads]: [usize; 2], sizes: [usize; 3]) -> Self {
        let [queries, keys, width] = sizes;
        let rule = AttentionRule {
            key_heads,
            dropout: Dropout::train(Mode::Inverted, mask(0.7)),
            ..AttentionRule::whole(sequences, heads, queries)
        };
        Self { rule, rows: [sequences * queries, sequences * keys], width, bias: None }
    }

    fn values(&self) -> Values {
        let Self { rule, rows: [queries, keys], width, bias } = *self;
        let (q, k) = (rule.heads * width, rule.key_heads * width);
        let scaled = |seed, len, by: f32| noise(seed, len).iter().map(|x| x * by).collect();
        Values {
            query: scaled(1, queries * q, 2.0),
            key: scaled(2, keys * k, 2.0),
            value: noise(3, keys * k),
            bias: bias.map(|[rows, cols]| scaled(4, rows * cols, 3.0)),
            grad: noise(5, queries * q),
        }
    }

    fn factors<'v>(&self, values: &'v Values) -> AttentionFactors<'v> {
        AttentionFactors {
            query: &values.query,
            key: &values.key,
            value: &values.value,
            bias: values.bias.as_deref().map(|bias| (bias, self.bias.unwrap()[1])),
            width: self.width,
        }
    }

    /// Runs both passes; the backward pass reads `output` in place of its own if it is given.
    fn run<B: Backend>(
        &self,
        backend: &mut B,
        values: &Values,
        output: Option<&[f32]>,
    ) -> Result<Results, Error> {
        let Self { rule, rows: [queries, keys], width, bias } = *self;
        let (q, k) = (rule.heads * width, rule.key_heads * width);
        let query = backend.tensor(queries, q, &values.query)?;
        let key = backend.tensor(keys, k, &values.key)?;
        let value = backend.tensor(keys, k, &values.value)?;
        let bias = match (&values.bias, bias) {
            (Some(values), Some([rows, cols])) => Some(backend.tensor(rows, cols, values)?),
            _ => None,
        };
        let mut o = poisoned(backend, queries, q);
        let mut logsumexp = poisoned(backend, queries, rule.heads);
        backend.run(Attention {
            query: &query,
            key: &key,
            value: &value,
            bias: bias.as_ref(),
            output: &mut o,
            logsumexp: &mut logsumexp,
            rule,
        })?;
        let forward = [backend.read(&o)?, backend.read(&logsumexp)?];
        if let Some(output) = output {
            backend.write(&mut o, output)?;
        }
        let grad = backend.tensor(queries, q, &values.grad)?;
        let mut grads =
            [(queries, q), (keys, k), (keys, k)].map(|(rows, cols)| poisoned(backend, rows, cols));
        let [grad_query, grad_key, grad_value] = &mut grads;
        backend.run(AttentionGrad {
            query: &query,
            key: &key,
            value: &value,
            bias: bias.as_ref(),
            output: &o,
            logsumexp: &logsumexp,
            grad_output: &grad,
            grad_query,
            grad_key,
            grad_value,
            rule,
        })?;
        let [output, logsumexp] = forward;
        let [dq, dk, dv] = &grads;
        Ok([output, logsumexp, backend.read(dq)?, backend.read(dk)?, backend.read(dv)?])
    }

    /// Returns true if all results lie within the oracle's bounds for a rule.
    fn check(&self, values: &Values, got: &Results, rule: &AttentionRule<'_>) -> Result<(), Error> {
        let factors = self.factors(values);
        let results =
            AttentionResults { output: &got[0], logsumexp: &got[1], grad_output: &values.grad };
        let forward = oracle::attention(&factors, rule).into_iter().zip(["O", "L"]);
        let backward = oracle::attention_grad(&factors, &results, rule);
        let backward = backward.into_iter().zip(["dQ", "dK", "dV"]);
        for ((exact, what), got) in forward.chain(backward).zip(got) {
            exact.check(what, got)?;
        }
        Ok(())
    }
}

/// The places, reaches and forms of a small attention, and ragged sizes.
fn cases() -> Vec<(&'static str, Case<'static>)> {
    let base = Case::new(2, [3, 3], [5, 37, 8]);
    let with = |change: &dyn Fn(&mut Case<'static>)| {
        let mut case = base;
        change(&mut case);
        case
    };
    let key_at = |key| with(&|case| case.rule.place.key = key);
    vec![
        ("base", base),
        ("no dropout", with(&|case| case.rule.dropout = Dropout::NONE)),
        (
            "all dropped",
            with(&|case| {
                case.rule.dropout = Dropout::train(Mode::Vanilla, mask(0.0));
            }),
        ),
        (
            "all scores dropped",
            with(&|case| {
                case.rule.dropout = Dropout::train(Mode::Inverted, mask(0.0));
                case.rule.dropped = Dropped::Scores;
            }),
        ),
        ("scores dropped", with(&|case| case.rule.dropped = Dropped::Scores)),
        (
            "head shard",
            with(&|case| {
                case.rule.place = AttentionPlace {
                    sequence: 4,
                    head: 2,
                    heads: 7,
                    query: 3,
                    pitch: 11,
                    ..AttentionPlace::whole(7, 0)
                };
            }),
        ),
        ("keys from 24", key_at(24)),
        ("keys from 13", key_at(13)),
        (
            "far",
            with(&|case| {
                case.rule.place.sequence = (1 << 27) - 2;
                case.rule.place.pitch = 8;
                case.rule.place.key = (1 << 35) - 37;
            }),
        ),
        ("causal", with(&|case| case.rule.reach = Reach::Causal)),
        (
            "causal, keys before",
            with(&|case| {
                case.rule.reach = Reach::Causal;
                case.rule.place.query = 30;
                case.rule.place.pitch = 35;
            }),
        ),
        (
            "causal, keys after",
            with(&|case| {
                case.rule.reach = Reach::Causal;
                case.rule.place.key = 2;
            }),
        ),
        (
            "window",
            with(&|case| {
                case.rule.reach = Reach::Window(4);
                case.rule.place.query = 20;
                case.rule.place.pitch = 25;
            }),
        ),
        ("bias of all", with(&|case| case.bias = Some([15, 37]))),
        ("bias of each", with(&|case| case.bias = Some([30, 37]))),
        (
            "biased and causal",
            with(&|case| {
                case.bias = Some([30, 37]);
                case.rule.reach = Reach::Causal;
                case.rule.dropped = Dropped::Scores;
            }),
        ),
        ("one number", Case::new(1, [1, 1], [1, 1, 1])),
        ("groups", Case::new(2, [6, 2], [33, 65, 16])),
        ("one key head", Case::new(1, [5, 1], [64, 64, 20])),
        ("odd head", Case::new(1, [2, 2], [70, 129, 13])),
        ("head of 64", Case::new(1, [2, 1], [130, 200, 64])),
        ("head of 128", Case::new(1, [1, 1], [67, 66, 128])),
        ("head of 150", Case::new(1, [2, 1], [40, 70, 150])),
        ("no keys", Case::new(2, [1, 1], [3, 0, 4])),
        ("no queries", Case::new(2, [1, 1], [0, 3, 4])),
        ("causal tiles", {
            let mut case = Case::new(1, [2, 2], [200, 200, 32]);
            case.rule.reach = Reach::Causal;
            case
        }),
        ("window tiles", {
            let mut case = Case::new(1, [2, 1], [200, 230, 24]);
            case.rule.reach = Reach::Window(70);
            case.rule.place = AttentionPlace { query: 30, pitch: 230, ..case.rule.place };
            case
        }),
    ]
}

#[test]
fn both_passes_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for (name, case) in cases() {
            let what = format!("{} {name}", backend.name());
            let values = case.values();
            let got = case.run(backend, &values, None).unwrap_or_else(|e| panic!("{what}: {e}"));
            case.check(&values, &got, &case.rule).unwrap_or_else(|e| panic!("{what}: {e}"));
            // The controls: heads counted in the shard in place of the whole, and the softmax of
            // dropped scores in place of dropped weights.
            let mut wrong = case.rule;
            match name {
                "head shard" => wrong.place.heads = 5,
                "base" | "causal" | "bias of each" => wrong.dropped = Dropped::Scores,
                _ => continue,
            }
            assert!(case.check(&values, &got, &wrong).is_err(), "{what}");
        }
    }
    on_backends!(check, [Form::Usual, Form::Fused, Form::Limbs, Form::Downlevel]);
}

#[test]
fn a_gradient_from_an_output_without_dropout_is_wrong() {
    fn check<B: Backend>(backend: &mut B) {
        let case = Case::new(2, [3, 3], [5, 37, 8]);
        let values = case.values();
        let rule = AttentionRule { dropout: Dropout::NONE, ..case.rule };
        let [output, ..] = Case { rule, ..case }.run(backend, &values, None).unwrap();
        let got = case.run(backend, &values, Some(&output)).unwrap();
        let error = case.check(&values, &got, &case.rule).unwrap_err().to_string();
        assert!(error.starts_with("dQ"), "{error}");
    }
    // Devices without the fused kernels do not read the output.
    on_backends!(check, [Form::Fused]);
}

/// The slope of `Σ dO·O` along one number, by central differences of the oracle with the mask held.
fn slope(case: &Case<'_>, values: &mut Values, tensor: usize, at: usize) -> f64 {
    const STEP: f32 = 1.0 / 512.0;
    let mut loss = |step: f32| {
        let tensors = [&mut values.query, &mut values.key, &mut values.value];
        let before = tensors[tensor][at];
        let tensors = [&mut values.query, &mut values.key, &mut values.value];
        tensors.into_iter().nth(tensor).unwrap()[at] = before + step;
        let [output, _] = oracle::attention(&case.factors(values), &case.rule);
        let tensors = [&mut values.query, &mut values.key, &mut values.value];
        tensors.into_iter().nth(tensor).unwrap()[at] = before;
        output.values.iter().zip(&values.grad).map(|(o, grad)| o * f64::from(*grad)).sum::<f64>()
    };
    (loss(STEP) - loss(-STEP)) / f64::from(2.0 * STEP)
}

#[test]
fn the_oracle_s_gradients_are_differences_of_its_outputs() {
    for (name, case) in cases() {
        if case.rows.iter().any(|rows| *rows > 80) || name.starts_with("no ") {
            continue;
        }
        let mut values = case.values();
        // Whole multiples of 2^-12, so that a step is exact in f32.
        for tensor in [&mut values.query, &mut values.key, &mut values.value] {
            tensor.iter_mut().for_each(|x| *x = (*x * 4096.0).round() / 4096.0);
        }
        let [output, logsumexp] = oracle::attention(&case.factors(&values), &case.rule)
            .map(|exact| exact.values.iter().map(|x| *x as f32).collect::<Vec<_>>());
        let results =
            AttentionResults { output: &output, logsumexp: &logsumexp, grad_output: &values.grad };
        let grads = oracle::attention_grad(&case.factors(&values), &results, &case.rule);
        for (tensor, exact) in grads.iter().enumerate() {
            let len = exact.values.len();
            for at in (0..len).step_by((len / 5).max(1)) {
                let (found, given) = (slope(&case, &mut values, tensor, at), exact.values[at]);
                let size = exact.values.iter().fold(0.0f64, |most, x| most.max(x.abs()));
                assert!(
                    (found - given).abs() <= 1e-4 * size + 1e-9,
                    "{name} {tensor} {at}: {found} {given}"
                );
                // The control: the gradient of another element.
                let other = exact.values[(at + 1) % len];
                if (other - given).abs() > 1e-2 * size {
                    assert!((found - other).abs() > 1e-4 * size, "{name} {tensor} {at}");
                }
            }
        }
    }
}

#[test]
fn equal_calls_give_equal_bits_on_any_number_of_threads() {
    let mut case = Case::new(1, [2, 1], [300, 260, 40]);
    case.rule.reach = Reach::Causal;
    let values = case.values();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| case.run(&mut wgpu_dropout::Cpu::new(), &values, None).unwrap())
    };
    let first = run(1);
    for threads in (1..=5).cycle().take(25) {
        for (a, b) in first.iter().zip(&run(threads)) {
            same_bits(&format!("{threads} threads"), a, b).unwrap();
        }
    }
    let again = |backend: &mut wgpu_dropout::gpu::Gpu| {
        let first = case.run(backend, &values, None).unwrap();
        for _ in 0..20 {
            for (a, b) in first.iter().zip(&case.run(backend, &values, None).unwrap()) {
                same_bits("again", a, b).unwrap();
            }
        }
    };
    for form in [Form::Usual, Form::Fused] {
        crate::common::with_gpu(form, again);
    }
}

#[test]
fn a_query_without_a_key_has_no_output_and_adds_nothing() {
    fn check<B: Backend>(backend: &mut B) {
        let mut case = Case::new(1, [1, 1], [70, 80, 8]);
        case.rule.reach = Reach::Causal;
        case.rule.place.key = 3;
        let mut values = case.values();
        // Keys that no query meets: what is there must reach nothing.
        values.value[68 * 8..].fill(f32::INFINITY);
        values.key[68 * 8..].fill(f32::NAN);
        let got = case.run(backend, &values, None).unwrap();
        let name = backend.name();
        assert!(got[0][..3 * 8].iter().chain(&got[2][..3 * 8]).all(|x| *x == 0.0), "{name}");
        assert!(got[1][..3].iter().all(|l| l.to_bits() == 0xff80_0000), "{name}");
        assert!(got[1][3..].iter().all(|l| l.is_finite()), "{name}");
        for tensor in &got {
            assert!(tensor.iter().all(|x| !x.is_nan()), "{name}");
        }
        assert!(got[3][67 * 8..].iter().chain(&got[4][67 * 8..]).all(|x| *x == 0.0), "{name}");
        // A bias of −∞ for all keys is the same as no key.
        case.bias = Some([70, 80]);
        values.bias = Some(vec![0.0; 70 * 80]);
        values.bias.as_mut().unwrap()[20 * 80..21 * 80].fill(f32::NEG_INFINITY);
        let got = case.run(backend, &values, None).unwrap();
        assert!(got[0][20 * 8..21 * 8].iter().all(|x| *x == 0.0), "{name}");
        assert_eq!(got[1][20], f32::NEG_INFINITY, "{name}");
        // The control: NaN in a key that is met is seen.
        values.key[0] = f32::NAN;
        let got = case.run(backend, &values, None).unwrap();
        assert!(got[0][5 * 8].is_nan(), "{name}");
    }
    on_backends!(check, [Form::Usual, Form::Fused]);
}

#[test]
fn shapes_that_do_not_fit_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let case = Case::new(2, [4, 2], [6, 7, 8]);
        let values = case.values();
        case.run(backend, &values, None).unwrap();
        let refused = |backend: &mut B, change: &dyn Fn(&mut Case<'static>)| {
            let mut case = case;
            change(&mut case);
            let values = case.values();
            case.run(backend, &values, None).unwrap_err()
        };
        let changes: [&dyn Fn(&mut Case<'static>); 7] = [
            &|case| case.rule.key_heads = 3,
            &|case| case.rule.key_heads = 0,
            &|case| case.rule.sequences = Sequences::Equal(5),
            &|case| case.rule.sequences = Sequences::Equal(0),
            &|case| case.bias = Some([24, 8]),
            &|case| case.bias = Some([12, 7]),
            &|case| case.width = 0,
        ];
        for (index, change) in changes.into_iter().enumerate() {
            let error = refused(backend, change);
            assert!(matches!(error, Error::Shape { .. }), "{index}: {error}");
        }
        let error = refused(backend, &|case| case.rule.place.pitch = 5);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        let error = refused(backend, &|case| case.rule.place.sequence = 1 << 32);
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
        let error = refused(backend, &|case| case.rule.dropout.scale = f32::NAN);
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
    }
    on_backends!(check, [Form::Usual, Form::Fused]);
}
