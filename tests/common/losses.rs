//! The first losses of a training on the GPU under test and on the CPU, for the bundled digits and
//! for MNIST.
#![allow(dead_code)]

use crate::common::{Form, lend};
use wgpu_dropout::data::{DataSet, Samples, Values};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Source, Training};
use wgpu_dropout::{Backend, Cpu, Mode, Rate};

pub fn architecture(inputs: usize, hidden: &[usize], classes: usize, mode: Mode) -> Architecture {
    let rate = Rate::drop(0.5).unwrap();
    let input_rate = Rate::drop(0.2).unwrap();
    Architecture {
        inputs,
        hidden: hidden.to_vec(),
        classes,
        mode,
        rate,
        input_rate,
        seed: 0xfeed_0000_0011,
    }
}

/// Returns the first `rows` rows of a part of a data set.
pub fn cut(samples: &Samples, rows: usize) -> Samples {
    let values = match &samples.values {
        Values::Bytes(bytes) => Values::Bytes(bytes[..rows * samples.cols].to_vec()),
        Values::Floats(floats) => Values::Floats(floats[..rows * samples.cols].to_vec()),
    };
    Samples { values, rows, labels: samples.labels[..rows].to_vec(), ..*samples }
}

pub fn resident<B: Backend>(backend: &mut B, samples: &Samples) -> Resident<B> {
    let source = match &samples.values {
        Values::Bytes(bytes) => Source::Bytes(bytes),
        Values::Floats(floats) => Source::Floats(floats),
    };
    Resident::new(backend, source, samples.cols, samples.unit.factor(), &samples.labels).unwrap()
}

/// Returns the losses of the first 20 mini-batches of 16.
fn first_losses<B: Backend>(backend: B, data: &DataSet) -> (B, Vec<f32>) {
    let mut net = Mlp::new(
        backend,
        architecture(data.train.cols, &[256, 256], data.classes.len(), Mode::Inverted),
    )
    .unwrap();
    let train = resident(net.backend_mut(), &cut(&data.train, 320));
    let epoch = net.train_epoch(&train, &Training { batch: 16, ..Training::default() }).unwrap();
    drop(train);
    (net.into_backend(), epoch.losses)
}

/// Checks that the losses on the GPU under test are those on the CPU.
pub fn compare_losses(data: &DataSet) {
    lend(Form::Usual, |gpu| {
        let (_, cpu_losses) = first_losses(Cpu::new(), data);
        let (gpu, gpu_losses) = first_losses(gpu, data);
        assert_eq!(gpu_losses.len(), 20);
        for (step, (c, g)) in cpu_losses.iter().zip(&gpu_losses).enumerate() {
            assert!((c - g).abs() <= 1e-4 * c.abs(), "{} step {step}: CPU {c}, GPU {g}", data.name);
        }
        assert!(
            cpu_losses.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-4 * pair[0]),
            "successive losses differ by more than the tolerance"
        );
        gpu
    });
}
