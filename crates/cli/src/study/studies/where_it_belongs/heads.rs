//! Two heads on the same convolutional front: a fully connected one, and global average pooling
//! followed by the last layer alone.

use super::Network;
use crate::study::draw::drawn;
use crate::study::plan::{Arm, Computation, Compute, Scene};
use crate::study::record::Found;
use crate::study::training::is_point;
use crate::train::session::upload;
use wgpu_dropout::call::{Filter, Image, Pool, Pooling, SgdRule};
use wgpu_dropout::mlp::{Architecture, ConvNet, Front, Schedule, Schedules, Stage, Training};
use wgpu_dropout::{Backend, Error, Mode, Rate, Result};

/// Number of rows of a mini-batch.
const BATCH: usize = 50;
/// Keep rate of the arms with dropout.
pub const KEEP: f64 = 0.5;
/// Side of the smallest images that are tried, in pixels.
const SMALLEST: usize = 20;
/// Number of points of a learning curve.
const POINTS: u32 = 4;

/// Network behind the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Head {
    /// Hidden layer of ReLUs, with dropout of its units.
    Connected,
    /// Mean of each map, with dropout of these means.
    Average,
}

/// Returns the arms; none unless the data are square images of sufficient size.
pub fn arms(scene: &Scene) -> Vec<Arm> {
    let arm = |head: Head, keep: f64, compute: Compute| Arm {
        name: name(head, keep),
        ..Arm::compute("", keep, compute)
    };
    let all = [
        arm(Head::Connected, 1.0, |scene, device, seed, keep| {
            net(scene, seed, Head::Connected, keep).on_device(device)
        }),
        arm(Head::Connected, KEEP, |scene, device, seed, keep| {
            net(scene, seed, Head::Connected, keep).on_device(device)
        }),
        arm(Head::Average, 1.0, |scene, device, seed, keep| {
            net(scene, seed, Head::Average, keep).on_device(device)
        }),
        arm(Head::Average, KEEP, |scene, device, seed, keep| {
            net(scene, seed, Head::Average, keep).on_device(device)
        }),
    ];
    if front(scene).is_some() {
        all.into_iter().map(|arm| Arm { point: None, ..arm }).collect()
    } else {
        Vec::new()
    }
}

/// Returns the name of an arm.
pub fn name(head: Head, keep: f64) -> String {
    let head = match head {
        Head::Connected => "fully connected head",
        Head::Average => "global average pooling",
    };
    format!("{head}: {}", if keep < 1.0 { "dropout" } else { "none" })
}

/// Returns two convolutions, each with pooling. Below [`Extent::Full`](crate::study::plan::Extent),
/// the images are halved first to save time. `None` if a row of the data is not a square image
/// large enough to leave maps to average.
pub fn front(scene: &Scene) -> Option<Front> {
    let side = scene.data.train.cols.isqrt();
    let image = Image { height: side, width: side, channels: 1 };
    let pool = |pooling| Stage::Pool(Pool { pooling, height: 2, width: 2 });
    let (size, [few, many]) = scene.pick((3, [8, 32]), (5, [32, 64]));
    let filter = Filter { side: size, padding: size / 2 };
    let convolution = |channels| Stage::Convolution { channels, filter };
    let halved = scene.order_alone().then_some(pool(Pooling::Average));
    let stages = [convolution(few), pool(Pooling::Max), convolution(many), pool(Pooling::Max)];
    let front = Front { image, stages: halved.into_iter().chain(stages).collect() };
    (side * side == scene.data.train.cols && side >= SMALLEST).then_some(front)
}

/// Returns a front with the network behind it. The head decides how the front ends.
pub fn shapes(
    scene: &Scene,
    front: Front,
    head: Head,
    keep: f64,
    seed: u64,
) -> Result<(Front, Architecture)> {
    let mut front = front;
    let rate = Rate::keep(keep)?;
    let all = Rate::KEEP_ALL;
    let maps = front.maps()?;
    let (hidden, input_rate) = match head {
        Head::Connected => (vec![scene.pick(256, 1024)], all),
        Head::Average => {
            front.stages.push(Stage::Pool(Pool::global(Pooling::Average, maps)));
            (Vec::new(), rate)
        }
    };
    let inputs = front.maps()?.elements();
    Ok((
        front,
        Architecture {
            inputs,
            hidden,
            classes: scene.data.classes.len(),
            mode: Mode::Inverted,
            rate,
            input_rate,
            seed,
        },
    ))
}

/// Returns the parameters of both networks by kind of layer; `None` if the data are not images.
pub fn networks(scene: &Scene) -> Option<[Network; 2]> {
    let of = |head: Head, name: &'static str| {
        let (front, architecture) = shapes(scene, front(scene)?, head, 1.0, 0).ok()?;
        let parameters = |pair: &[usize]| ((pair[0] + 1) * pair[1]) as u64;
        let mut connected: Vec<u64> = architecture.widths().windows(2).map(parameters).collect();
        let classes = connected.pop()?;
        Some(Network {
            name,
            convolution: front.parameters().ok()? as u64,
            hidden: connected.iter().sum(),
            classes,
        })
    };
    Some([
        of(Head::Connected, "here, fully connected")?,
        of(Head::Average, "here, global average pooling")?,
    ])
}

struct Net<'a> {
    scene: &'a Scene,
    seed: u64,
    head: Head,
    keep: f64,
}

fn net(scene: &Scene, seed: u64, head: Head, keep: f64) -> Net<'_> {
    Net { scene, seed, head, keep }
}

impl Computation for Net<'_> {
    fn on<B: Backend>(&self, backend: B) -> Result<(B, Found)> {
        let Self { scene, seed, head, keep } = *self;
        let (rows, updates) = scene.pick((500, 400), (60_000, 24_000));
        let samples = drawn(&scene.data.train, scene.rows(rows), seed);
        let Some(front) = front(scene) else { return Ok((backend, Found::default())) };
        let (front, architecture) = shapes(scene, front, head, keep, seed)?;
        let mut net = ConvNet::new(backend, &front, architecture)?;
        let train = upload(net.backend_mut(), &samples)?;
        let test = upload(net.backend_mut(), &scene.data.test)?;
        let steps = samples.rows.div_ceil(BATCH).max(1) as u32;
        let epochs = scene.updates(updates).div_ceil(steps).max(1);
        let training = Training {
            batch: BATCH,
            rule: SgdRule { momentum: 0.9, ..SgdRule::plain(0.1) },
            schedules: Schedules {
                lr: Schedule::Exponential { to: 0.02, steps: steps * epochs },
                ..Schedules::default()
            },
            ..Training::default()
        };
        let mut found = Found::default();
        for epoch in 1..=epochs {
            match net.train_epoch(&train, &training) {
                // Divergence is a result too, one without figures.
                Err(Error::Diverged { .. }) => return Ok((net.into_backend(), Found::default())),
                trained => trained?,
            };
            if is_point(epoch, epochs, POINTS) {
                found.epoch(epoch, net.evaluate(&train)?, net.evaluate(&test)?);
            }
        }
        Ok((net.into_backend(), found))
    }
}
