//! A device of wgpu's `downlevel_defaults`: four storage buffers, 16 KiB of workgroup memory, 256
//! invocations, no features. Masks, a network's whole training and every kernel give the same
//! results as elsewhere, in more dispatches. `tests/kernels` compares each kernel with the oracle
//! on such a device.

mod common;
#[path = "common/noop.rs"]
mod noop;

use common::{downlevel, gpu, noise, same_bits};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{Activation, LinearActivation};
use wgpu_dropout::cpu::reference;
use wgpu_dropout::gpu::{Gpu, Kernels, Planner, State};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Sharing, Source, Training};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate};

fn site(keep: f64) -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(keep).unwrap(), Key { seed: 42, layer: 0, step: 0 }),
    )
}

#[test]
fn masks_are_the_contract_s() {
    let Some(mut gpu) = downlevel() else { return };
    let limits = gpu.device().limits();
    assert!(
        limits.max_storage_buffers_per_shader_stage == 4 && gpu.device().features().is_empty(),
        "{limits:?}"
    );
    let mask = site(0.5).mask;
    let kept = gpu.read_mask(mask, 1000, 1000).unwrap();
    assert_eq!(kept.iter().filter(|&&kept| kept == 1).count(), 500_239);
    assert_eq!(kept, Cpu::new().read_mask(mask, 1000, 1000).unwrap());
}

/// Trains a network and returns its losses, weights and predictions of both kinds, and the compiled
/// forms.
fn train(gpu: Gpu) -> (Vec<f32>, Vec<String>) {
    let rate = Rate::drop(0.5).unwrap();
    let input_rate = Rate::drop(0.2).unwrap();
    let architecture = Architecture {
        inputs: 20,
        hidden: vec![33, 24],
        classes: 5,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 3,
    };
    let mut net = Mlp::new(gpu, architecture).unwrap();
    let rows = 70;
    let bytes: Vec<u8> = noise(1, rows * 20).iter().map(|x| (x * 127.5 + 127.5) as u8).collect();
    let labels: Vec<u32> = (0..rows as u32).map(|row| row * 3 % 5).collect();
    let data =
        Resident::new(net.backend_mut(), Source::Bytes(&bytes), 20, 1.0 / 255.0, &labels).unwrap();
    let training = Training { batch: 32, ..Training::default() };
    let mut left = Vec::new();
    for _ in 0..3 {
        left.push(net.train_epoch(&data, &training).unwrap().running_loss as f32);
    }
    for layer in 0..3 {
        let (weight, bias) = net.parameters(layer).unwrap().unwrap();
        left.extend(weight.into_iter().chain(bias));
    }
    left.extend(net.predict_on(&data).unwrap());
    left.extend(net.predict_monte_carlo(&data, 4, Sharing::PerRow).unwrap().mean);
    (left, net.backend().kernels().compiled())
}

#[test]
fn a_network_trains_and_predicts_as_elsewhere() {
    let (Some(few), Some(usual)) = (downlevel(), gpu()) else { return };
    let ((few, forms), (usual, _)) = (train(few), train(usual));
    for (i, (a, b)) in few.iter().zip(&usual).enumerate() {
        assert!((a - b).abs() <= 1e-4 * (1.0 + b.abs()), "value {i}: {a}, elsewhere {b}");
    }
    assert!(few.len() == usual.len() && few[0] != few[2], "it learns nothing");
    for form in ["gather.bytes.few", "gather.bytes.labels", "grad_weight_sgd"] {
        assert!(forms.iter().any(|name| name.starts_with(form)), "{form}: {forms:?}");
    }
}

/// Checks that a call that this device divides follows the state as a whole: dropout applies once,
/// to the activation, and not to the residual, which is copied first.
#[test]
fn a_divided_call_reads_a_state_once() {
    let Some(gpu) = downlevel() else { return };
    let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
    let state = gpu.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: 256,
        usage,
        mapped_at_creation: false,
    });
    gpu.queue().write_buffer(&state, 0, State::new(&site(0.5)).bytes());
    let mut gpu = gpu.with_kernels(gpu.kernels().reading(&state, 0).unwrap());
    let [batch, inputs, outputs] = [9, 12, 20];
    let x = noise(1, batch * inputs);
    let weight = noise(2, inputs * outputs);
    let r = noise(3, batch * outputs);
    let a = gpu.tensor(batch, inputs, &x).unwrap();
    let b = gpu.tensor(inputs, outputs, &weight).unwrap();
    let residual = gpu.tensor(batch, outputs, &r).unwrap();
    let mut z = gpu.zeros(batch, outputs).unwrap();
    let mut y = gpu.zeros(batch, outputs).unwrap();
    gpu.run(LinearActivation {
        x: &a,
        weight: &b,
        bias: None,
        residual: Some(&residual),
        z: Some(&mut z),
        y: &mut y,
        activation: Activation::Relu,
        dropout: Dropout::NONE,
    })
    .unwrap();
    let mut sums = vec![f32::NAN; batch * outputs];
    reference::linear_forward(
        &x,
        &weight,
        None,
        &mut sums,
        [inputs, outputs],
        false,
        &Dropout::NONE,
    );
    let z = gpu.read(&z).unwrap();
    let y = gpu.read(&y).unwrap();
    assert!(z.iter().zip(&sums).all(|(a, b)| (a - b).abs() < 1e-5), "{z:?} {sums:?}");
    let activated: Vec<f32> = z.iter().map(|z| z.max(0.0)).collect();
    let mut right = vec![f32::NAN; batch * outputs];
    reference::dropout(&activated, &mut right, outputs, &site(0.5));
    right.iter_mut().zip(&r).for_each(|(y, r)| *y += r);
    same_bits("y", &y, &right).unwrap();
}

#[test]
fn what_cannot_be_done_there_says_which_limit_it_is() {
    let Some(gpu) = downlevel() else { return };
    for buffers in [3, 5] {
        match Kernels::with_planner(gpu.device(), |planner| Planner { buffers, ..planner }) {
            Err(Error::Adapter { what }) => {
                let right = format!("Planner::buffers is {buffers}: must be 4, as");
                assert!(what.contains(&right), "{what}");
                assert!(what.contains("max_storage_buffers_per_shader_stage"), "{what}");
            }
            other => panic!("{other:?}"),
        }
    }
    // The control: this device refuses a pipeline of five storage buffers.
    let bindings = (0..5)
        .map(|i| format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<u32>;\n"))
        .collect::<String>();
    let sum = (0..5).map(|i| format!("b{i}[0] = 1u;")).collect::<String>();
    let wgsl = format!("{bindings}@compute @workgroup_size(1) fn main() {{ {sum} }}");
    assert!(noop::refuses(gpu.device(), &wgsl));
}
