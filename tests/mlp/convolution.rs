//! The network with a convolutional front: its gradient against differences of an independent f64
//! network, GPU against CPU, and training on the digits.

use crate::common;
use common::noise;
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{Filter, Image, Pool, Pooling, SgdRule};
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{
    Architecture, ConvNet, Front, Optimizer, Resident, Source, Stage, Training,
};
use wgpu_dropout::{Error, Key, Mask, Mode, Rate};

fn pool(pooling: Pooling, height: usize, width: usize) -> Stage {
    Stage::Pool(Pool { pooling, height, width })
}

fn convolution(channels: usize, side: usize, padding: usize) -> Stage {
    Stage::Convolution { channels, filter: Filter { side, padding } }
}

/// Returns a front with a convolution after another one and after pooling that leaves a remainder,
/// both kinds of pooling, with and without padding.
fn front() -> Front {
    let stages = vec![
        convolution(3, 3, 1),
        convolution(2, 2, 0),
        pool(Pooling::Max, 2, 2),
        convolution(3, 2, 1),
        pool(Pooling::Average, 3, 3),
    ];
    Front { image: Image { height: 6, width: 6, channels: 1 }, stages }
}

fn head(front: &Front, hidden: &[usize], classes: usize) -> Architecture {
    Architecture {
        inputs: front.maps().unwrap().elements(),
        hidden: hidden.to_vec(),
        classes,
        mode: Mode::Inverted,
        rate: Rate::drop(0.5).unwrap(),
        input_rate: Rate::drop(0.25).unwrap(),
        seed: 11,
    }
}

/// Weights and bias of a layer, in f64.
type Layer = (Vec<f64>, Vec<f64>);

/// Returns the mean loss computed from the equations, with the dropout of step `step` and with
/// convolutions as sums over windows.
fn loss(
    front: &Front,
    head: &Architecture,
    layers: &[Layer],
    x: &[f32],
    labels: &[u32],
    step: u32,
) -> f64 {
    let mut image = front.image;
    let mut rows = x.len() / front.image.elements();
    let mut values: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let mut layers = layers.iter();
    for &stage in &front.stages {
        let made = stage.output(image).unwrap();
        let at = |b: usize, row: isize, col: isize, channel: usize| {
            if row < 0 || col < 0 || row >= image.height as isize || col >= image.width as isize {
                return 0.0;
            }
            values[((b * image.height + row as usize) * image.width + col as usize)
                * image.channels
                + channel]
        };
        let layer = matches!(stage, Stage::Convolution { .. }).then(|| layers.next().unwrap());
        let mut next = Vec::new();
        for (b, row, col, o) in (0..rows * made.elements()).map(|i| {
            let pixel = i / made.channels;
            (
                pixel / made.pixels(),
                pixel / made.width % made.height,
                pixel % made.width,
                i % made.channels,
            )
        }) {
            let (row, col) = (row as isize, col as isize);
            next.push(match (stage, layer) {
                (
                    Stage::Convolution { channels, filter: Filter { side, padding } },
                    Some((weight, bias)),
                ) => {
                    let mut sum = bias[o];
                    for (u, v, c) in (0..side * side * image.channels).map(|i| {
                        (i / image.channels / side, i / image.channels % side, i % image.channels)
                    }) {
                        let row = row + u as isize - padding as isize;
                        let col = col + v as isize - padding as isize;
                        sum += weight[((u * side + v) * image.channels + c) * channels + o]
                            * at(b, row, col, c);
                    }
                    sum.max(0.0)
                }
                (Stage::Pool(Pool { pooling, height, width }), _) => {
                    let window = (0..height * width).map(|i| {
                        at(
                            b,
                            row * height as isize + (i / width) as isize,
                            col * width as isize + (i % width) as isize,
                            o,
                        )
                    });
                    match pooling {
                        Pooling::Max => window.fold(f64::NEG_INFINITY, f64::max),
                        Pooling::Average => window.sum::<f64>() / (height * width) as f64,
                    }
                }
                _ => unreachable!(),
            });
        }
        (values, image) = (next, made);
    }
    let widths = head.widths();
    let drop = |values: &mut Vec<f64>, site: usize| {
        let rate = head.rate_of(site);
        let mask = Mask::new(rate, Key { seed: head.seed, layer: site as u32, step });
        for (i, value) in values.iter_mut().enumerate() {
            *value *= if mask.keeps(i / widths[site], i % widths[site]) {
                65536.0 / f64::from(rate.threshold())
            } else {
                0.0
            };
        }
    };
    drop(&mut values, 0);
    let last = widths.len() - 2;
    for (index, (weight, bias)) in layers.enumerate() {
        let from = widths[index];
        let to = widths[index + 1];
        let sum = |r: usize, o: usize| {
            bias[o] + (0..from).map(|i| values[r * from + i] * weight[i * to + o]).sum::<f64>()
        };
        let mut next: Vec<f64> = (0..rows * to).map(|i| sum(i / to, i % to)).collect();
        if index < last {
            next.iter_mut().for_each(|z| *z = z.max(0.0));
            drop(&mut next, index + 1);
        }
        values = next;
    }
    rows = labels.len();
    let of = values.chunks(head.classes).zip(labels);
    of.map(|(z, &label)| z.iter().map(|z| z.exp()).sum::<f64>().ln() - z[label as usize])
        .sum::<f64>()
        / rows as f64
}

/// Returns all parameters in order, the front's first.
fn parameters<B: Backend>(net: &mut ConvNet<B>) -> Vec<Layer> {
    let wide = |(weight, bias): (Vec<f32>, Vec<f32>)| {
        let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        (wide(weight), wide(bias))
    };
    let stages = net.front().unwrap().stages.len();
    let filters: Vec<Layer> =
        (0..stages).filter_map(|stage| net.filters(stage).unwrap().map(wide)).collect();
    let layers = (0..).map_while(|layer| net.parameters(layer).unwrap().map(wide));
    filters.into_iter().chain(layers).collect()
}

fn flat(layers: &[Layer]) -> Vec<f64> {
    layers.iter().flat_map(|(weight, bias)| weight.iter().chain(bias)).copied().collect()
}

/// Checks the gradient, which is the update of one step at learning rate 1. The control:
/// differences with the masks of another step.
#[test]
fn the_gradient_is_the_slope_of_an_independent_network() {
    fn check<B: Backend>(backend: B) {
        let front = front();
        let head = head(&front, &[5], 3);
        let x = noise(5, 4 * front.image.elements());
        let labels = [2, 0, 1, 1];
        let mut net = ConvNet::new(backend, &front, head.clone()).unwrap();
        let before = parameters(&mut net);
        assert_eq!(flat(&before[..3]).len(), front.parameters().unwrap());
        let training = Training { rule: SgdRule::plain(1.0), ..Training::default() };
        net.train_step(&x, &labels, &training).unwrap();
        let name = net.head().backend().name();
        let right = loss(&front, &head, &before, &x, &labels, 0);
        assert!((f64::from(net.loss().unwrap().unwrap()) - right).abs() < 1e-5, "{name}: the loss");
        let gradient: Vec<f64> =
            flat(&before).iter().zip(flat(&parameters(&mut net))).map(|(a, b)| a - b).collect();
        let off = |step: u32| {
            let h = 1e-5;
            let mut layers = before.clone();
            let mut most = 0.0f64;
            let mut place = 0;
            for layer in 0..layers.len() {
                for index in 0..layers[layer].0.len() + layers[layer].1.len() {
                    let mut at = |by: f64| {
                        let (weight, bias) = &mut layers[layer];
                        let weights = weight.len();
                        *(if index < weights {
                            &mut weight[index]
                        } else {
                            &mut bias[index - weights]
                        }) += by;
                        loss(&front, &head, &layers, &x, &labels, step)
                    };
                    let slope = (at(h) - at(-2.0 * h)) / (2.0 * h);
                    at(h);
                    most = most.max((slope - gradient[place]).abs());
                    place += 1;
                }
            }
            most
        };
        assert!(
            gradient[..flat(&before[..1]).len()].iter().any(|g| g.abs() > 1e-3),
            "{name}: the gradient reaches the first filters"
        );
        assert!(off(0) < 1e-5, "{name}: off by {}", off(0));
        assert!(off(1) > 1e-2, "{name}: {}", off(1));
    }
    check(Cpu::reference());
    check(Cpu::new());
    common::lend(common::Form::Usual, |gpu| {
        let again = gpu.with_kernels(wgpu_dropout::gpu::Kernels::new(gpu.device()).unwrap());
        check(gpu);
        again
    });
}

/// Checks training on the digits with momentum, max-norm and AdamW: the error must be far below
/// that of guessing, and the losses equal on the GPU and the CPU.
#[test]
fn it_learns_the_digits_alike_on_both_backends() {
    fn train<B: Backend>(backend: B, optimizer: Optimizer, epochs: usize) -> (Vec<f64>, f64) {
        let set = DataSet::digits().unwrap();
        let stages = vec![
            convolution(6, 3, 1),
            pool(Pooling::Max, 2, 2),
            convolution(8, 3, 1),
            pool(Pooling::Max, 2, 2),
        ];
        let front = Front { image: Image { height: 8, width: 8, channels: 1 }, stages };
        let rate = Rate::drop(0.2).unwrap();
        let head = Architecture { rate, input_rate: Rate::KEEP_ALL, ..head(&front, &[32], 10) };
        let mut net = ConvNet::new(backend, &front, head).unwrap();
        let features = set.train.features_f32();
        let rows = 512;
        let source = Source::Floats(&features[..rows * 64]);
        let train =
            Resident::new(net.backend_mut(), source, 64, 1.0, &set.train.labels[..rows]).unwrap();
        let test = set.test.features_f32();
        let test =
            Resident::new(net.backend_mut(), Source::Floats(&test), 64, 1.0, &set.test.labels)
                .unwrap();
        let rule = match optimizer {
            Optimizer::Sgd => {
                SgdRule { momentum: 0.9, max_norm: Some(3.0), ..SgdRule::plain(0.05) }
            }
            Optimizer::AdamW { .. } => {
                SgdRule { momentum: 0.9, weight_decay: 0.01, ..SgdRule::plain(0.003) }
            }
        };
        let training = Training { batch: 48, rule, optimizer, ..Training::default() };
        let losses =
            (0..epochs).map(|_| net.train_epoch(&train, &training).unwrap().running_loss).collect();
        (losses, net.evaluate(&test).unwrap().error)
    }
    for optimizer in [Optimizer::Sgd, Optimizer::ADAMW] {
        let (losses, error) = train(Cpu::new(), optimizer, 12);
        assert!(
            error < 20.0 && losses[11] < 0.5 * losses[0],
            "{optimizer}: {error} % after {losses:?}"
        );
        let (right, _) = train(Cpu::new(), optimizer, 1);
        let reference = train(Cpu::reference(), optimizer, 1).0;
        assert!((reference[0] - right[0]).abs() < 1e-3, "{optimizer}: {reference:?} {right:?}");
        if let Some(gpu) = common::gpu() {
            let (losses, _) = train(gpu, optimizer, 1);
            assert!((losses[0] - right[0]).abs() < 1e-3, "{optimizer}: {losses:?} {right:?}");
        }
    }
}

#[test]
fn fronts_that_do_not_fit_are_refused() {
    let net = |front: &Front, inputs: usize| {
        let architecture = Architecture { inputs, ..head(&self::front(), &[4], 3) };
        ConvNet::new(Cpu::new(), front, architecture).err()
    };
    assert!(net(&front(), 3).is_none());
    assert!(matches!(net(&front(), 4), Some(Error::Shape { .. })));
    let with = |stages: &[Stage]| Front { stages: stages.to_vec(), ..front() };
    // The stages do not end with pooling, there are none, a window does not fit, there are no
    // channels.
    assert!(matches!(net(&with(&[convolution(1, 3, 1)]), 36), Some(Error::Invalid { .. })));
    assert!(matches!(net(&with(&[]), 36), Some(Error::Invalid { .. })));
    assert!(matches!(net(&with(&[pool(Pooling::Max, 7, 1)]), 1), Some(Error::Shape { .. })));
    assert!(matches!(
        net(&with(&[convolution(0, 1, 0), pool(Pooling::Max, 1, 1)]), 1),
        Some(Error::Shape { .. })
    ));
    let mut net = ConvNet::new(Cpu::new(), &front(), head(&front(), &[], 3)).unwrap();
    assert!(matches!(net.predict(&[0.0; 35]), Err(Error::Shape { .. })));
    assert_eq!(net.predict(&[0.0; 72]).unwrap().len(), 6);
    assert!(matches!(
        net.train_step(&[0.0; 36], &[3], &Training::default()),
        Err(Error::Invalid { .. })
    ));
}
