//! Data-parallel training: shards draw the masks of the whole mini-batch to the bit, and their
//! gradients add up to those of the whole within rounding.

use crate::common::{Form, lend, noise};
use std::sync::{Barrier, Mutex};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::SgdRule;
use wgpu_dropout::mlp::{
    Architecture, Gradients, Mlp, Resident, Schedule, Schedules, Shard, Source, Training,
};
use wgpu_dropout::{Error, Mode, Rate};

const INPUTS: usize = 7;

fn architecture(mode: Mode) -> Architecture {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::drop(0.2).unwrap());
    Architecture {
        inputs: INPUTS,
        hidden: vec![33, 20],
        classes: 5,
        mode,
        rate,
        input_rate,
        seed: 0xfeed,
    }
}

fn batch(rows: usize) -> (Vec<f32>, Vec<u32>) {
    (noise(1, rows * INPUTS), (0..rows as u32).map(|row| row * 3 % 5).collect())
}

/// Returns settings that use every part of an update: momentum, penalties, max-norm and schedules.
fn training() -> Training {
    let rule =
        SgdRule { lr: 0.1, momentum: 0.9, weight_decay: 0.01, l1: 1e-4, max_norm: Some(1.5) };
    let lr = Schedule::Exponential { to: 0.5, steps: 8 };
    let momentum = Schedule::Linear { from: 0.5, to: 1.0, steps: 6 };
    let schedules = Schedules { lr, momentum, drop: Schedule::Constant };
    Training { batch: 16, rule, schedules, ..Training::default() }
}

/// Returns [`training`] with a schedule that lowers the drop rates to zero within the run.
fn scheduled() -> Training {
    let Training { schedules, .. } = training();
    Training {
        schedules: Schedules {
            drop: Schedule::Linear { from: 1.0, to: 0.0, steps: 8 },
            ..schedules
        },
        ..training()
    }
}

/// Returns the sum of the gradients of a mini-batch in shards of these sizes. `first` maps the row
/// at which a shard starts to the one that the shard is told.
fn sum<B: Backend>(net: &mut Mlp<B>, rows: &[usize], first: impl Fn(usize) -> usize) -> Gradients {
    let batch_rows = rows.iter().sum();
    let (x, labels) = batch(batch_rows);
    let (mut values, mut start) = (Vec::new(), 0);
    for rows in rows {
        let x = &x[start * INPUTS..][..rows * INPUTS];
        let labels = &labels[start..][..*rows];
        let part = net.gradients(x, labels, first(start), batch_rows, &training()).unwrap();
        values.resize(part.values.len(), 0.0);
        values.iter_mut().zip(part.values).for_each(|(sum, part)| *sum += part);
        start += rows;
    }
    Gradients { values }
}

/// Returns the largest absolute difference between numbers of order 1. NaN counts as infinite.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .map(|d| if d.is_nan() { f32::INFINITY } else { d })
        .fold(0.0, f32::max)
}

#[test]
fn gradients_of_shards_add_up_to_those_of_the_whole() {
    fn check<B: Backend>(mut backend: B) -> B {
        for mode in [Mode::None, Mode::Vanilla, Mode::Inverted] {
            let mut net = Mlp::new(backend, architecture(mode)).unwrap();
            let whole = sum(&mut net, &[24], |first| first);
            assert!(whole.loss() > 1.0 && whole.right() < 24.0, "{whole:?}");
            for rows in [&[12, 12][..], &[1, 23], &[8, 0, 9, 7], &[1; 24]] {
                let parts = sum(&mut net, rows, |first| first);
                let off = distance(&parts.values, &whole.values);
                assert!(off <= 1e-6, "{} {mode} {rows:?}: {off:e}", net.backend().name());
                // Control: each shard draws as if it were the first.
                let off = distance(&sum(&mut net, rows, |_| 0).values, &whole.values);
                assert_eq!(off > 1e-3, mode != Mode::None, "{mode} {rows:?}: {off:e}");
            }
            // Applying the gradients of the whole is a training step.
            net.apply_gradients(&whole, &training()).unwrap();
            let mut other = Mlp::new(net.into_backend(), architecture(mode)).unwrap();
            let (x, labels) = batch(24);
            other.train_step(&x, &labels, &training()).unwrap();
            let loss = other.loss().unwrap().unwrap();
            assert!((loss - whole.loss()).abs() <= 1e-6, "{loss} {}", whole.loss());
            backend = other.into_backend();
        }
        backend
    }
    check(Cpu::reference());
    check(Cpu::new());
    lend(Form::Usual, check);
}

/// Trains one shard for two epochs and returns the backend, the losses and the final parameters.
fn run<B: Backend>(
    backend: B,
    shard: Shard,
    all_reduce: impl FnMut(&mut [f32]),
) -> (B, Vec<f32>, Vec<f32>) {
    let mut net = Mlp::new(backend, architecture(Mode::Inverted)).unwrap();
    // The last mini-batch has one row, so all processes but one have no rows.
    let (x, labels) = batch(65);
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), INPUTS, 1.0, &labels).unwrap();
    let (mut losses, mut all_reduce) = (Vec::new(), all_reduce);
    for epoch in 1..=2 {
        let done = net
            .train_epoch_sharded(&data, &scheduled(), shard, |values| {
                all_reduce(values);
                Ok(())
            })
            .unwrap();
        assert_eq!((net.epoch(), net.step()), (epoch, 5 * epoch));
        losses.extend(done.losses);
    }
    let parameters = (0..3)
        .flat_map(|index| <[_; 2]>::from(net.parameters(index).unwrap().unwrap()))
        .flatten()
        .collect();
    drop(data);
    (net.into_backend(), losses, parameters)
}

/// Trains all `count` shards on threads that meet at a barrier, and returns the losses and
/// parameters, which are the same on each.
fn run_together(count: usize) -> (Vec<f32>, Vec<f32>) {
    let (barrier, total) = (Barrier::new(count), Mutex::new((0, Vec::<f32>::new())));
    let all_reduce = |values: &mut [f32]| {
        {
            let mut total = total.lock().unwrap();
            if total.0 == 0 {
                total.1 = vec![0.0; values.len()];
            }
            total.0 += 1;
            total.1.iter_mut().zip(&*values).for_each(|(sum, value)| *sum += value);
        }
        barrier.wait();
        values.copy_from_slice(&total.lock().unwrap().1);
        if barrier.wait().is_leader() {
            total.lock().unwrap().0 = 0;
        }
        barrier.wait();
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|index| scope.spawn(move || run(Cpu::new(), Shard { index, count }, all_reduce)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (_, losses, parameters) in &results {
        assert_eq!(
            (losses, parameters),
            (&results[0].1, &results[0].2),
            "replicas must be equal to the bit"
        );
    }
    (results[0].1.clone(), results[0].2.clone())
}

#[test]
fn an_epoch_in_shards_is_an_epoch() {
    let mut net = Mlp::new(Cpu::new(), architecture(Mode::Inverted)).unwrap();
    let (x, labels) = batch(65);
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), INPUTS, 1.0, &labels).unwrap();
    let mut losses = Vec::new();
    for _ in 0..2 {
        losses.extend(net.train_epoch(&data, &scheduled()).unwrap().losses);
    }
    let parameters: Vec<f32> = (0..3)
        .flat_map(|index| <[_; 2]>::from(net.parameters(index).unwrap().unwrap()))
        .flatten()
        .collect();
    for count in [1, 2, 3] {
        let (sharded_losses, sharded_parameters) = run_together(count);
        assert!(
            distance(&sharded_losses, &losses) <= 1e-5,
            "{count}: {sharded_losses:?} {losses:?}"
        );
        assert!(distance(&sharded_parameters, &parameters) <= 1e-4, "{count}");
    }
    // Control: a shard whose gradients are not reduced learns something else.
    let (_, alone, _) = run(Cpu::new(), Shard { index: 0, count: 2 }, |_| {});
    assert!(distance(&alone, &losses) > 1e-2, "{alone:?}");
    lend(Form::Usual, |gpu| {
        let (gpu, on_gpu, _) = run(gpu, Shard { index: 0, count: 1 }, |_| {});
        assert!(distance(&on_gpu, &losses) <= 1e-4, "{on_gpu:?} {losses:?}");
        gpu
    });
}

#[test]
fn every_row_is_in_one_shard() {
    for count in [1, 2, 3, 7] {
        for rows in [0, 1, 2, 6, 7, 64, 65] {
            let all: Vec<usize> =
                (0..count).flat_map(|index| Shard { index, count }.rows(rows)).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
            let sizes = (0..count).map(|index| Shard { index, count }.rows(rows).len());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }
    assert_eq!(Shard { index: 1, count: 2 }.rows(usize::MAX).end, usize::MAX);
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut net = Mlp::new(Cpu::new(), architecture(Mode::Inverted)).unwrap();
    let (x, labels) = batch(4);
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), INPUTS, 1.0, &labels).unwrap();
    assert!(matches!(net.gradients(&x, &labels, 1, 4, &training()), Err(Error::Shape { .. })));
    assert!(matches!(
        net.gradients(&x, &labels, usize::MAX, usize::MAX, &training()),
        Err(Error::TooLarge { .. } | Error::Shape { .. })
    ));
    assert!(matches!(net.gradients(&x, &labels[..3], 0, 4, &training()), Err(Error::Shape { .. })));
    assert!(matches!(
        net.gradients(&x, &[0, 1, 2, 5], 0, 4, &training()),
        Err(Error::Invalid { .. })
    ));
    let short = Gradients { values: vec![0.0; 3] };
    assert!(matches!(net.apply_gradients(&short, &training()), Err(Error::Shape { .. })));
    for shard in [Shard { index: 2, count: 2 }, Shard { index: 0, count: 0 }] {
        assert!(matches!(
            net.train_epoch_sharded(&data, &training(), shard, |_| Ok(())),
            Err(Error::Invalid { .. })
        ));
    }
    let failed = net.train_epoch_sharded(&data, &training(), Shard { index: 0, count: 1 }, |_| {
        Err(Error::Invalid { what: "the network is down".to_owned() })
    });
    assert_eq!(failed.unwrap_err().to_string(), "the network is down");
    assert_eq!((net.step(), net.epoch()), (0, 0));
}
