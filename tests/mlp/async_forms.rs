//! The `async` forms under an executor that never blocks and that polls the device between two
//! polls of the future. They give the results of the blocking forms to the bit, and none of them
//! waits inside.

use crate::common::{adapter, gpu, noise, same_bits};
use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{Filter, Image, Pool, Pooling};
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::mlp::{
    Architecture, BatchNormPlace, ConvNet, Front, Mlp, Resident, Shard, Sharing, Source, Stage,
    Training,
};
use wgpu_dropout::{Mode, Rate};

/// Runs a future as a browser would: polls it and the device in turn, never waiting in either.
fn run<R>(device: &wgpu::Device, future: impl Future<Output = R>) -> R {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
        device.poll(wgpu::PollType::Poll).unwrap();
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Returns true if a future waits for someone else to poll the device, and its result. Such a
/// future stays pending, however often it is polled, until the device is polled. A future that
/// waits inside is ready at its first poll.
fn awaits<R>(device: &wgpu::Device, future: impl Future<Output = R>) -> (bool, R) {
    let mut future = pin!(future);
    for _ in 0..50 {
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => return (false, result),
            Poll::Pending => std::thread::sleep(Duration::from_micros(500)),
        }
    }
    (true, run(device, future))
}

#[test]
fn nothing_is_waited_for_inside() {
    let Some(gpu) = gpu() else { return };
    let device = gpu.device().clone();
    let mut net = Mlp::new(gpu, architecture()).unwrap();
    let (x, labels) = (noise(1, 60 * 20), [0, 1, 2].repeat(20));
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 20, 1.0, &labels).unwrap();
    let training = Training { batch: 2, ..Training::default() };
    // This makes more submits than may be in flight.
    assert!(awaits(&device, net.train_epoch_async(&data, &training)).0);
    net.train_step(&x, &labels, &training).unwrap();
    assert!(awaits(&device, net.loss_async()).0);
    assert!(awaits(&device, net.evaluate_async(&data)).0);
    assert!(awaits(&device, net.predict_async(&x)).0);
    assert!(awaits(&device, net.predict_monte_carlo_async(&data, 2, Sharing::PerRow)).0);
    assert!(awaits(&device, net.parameters_async(0)).0);
    // The steps and the shards each make more submits than may be in flight.
    assert!(
        awaits(&device, async {
            for _ in 0..30 {
                net.train_step_async(&x, &labels, &training).await.unwrap()
            }
        })
        .0
    );
    let gradients = net.gradients(&x, &labels, 0, 60, &training).unwrap();
    assert!(awaits(&device, net.gradients_async(&x, &labels, 0, 60, &training)).0);
    assert!(
        awaits(&device, async {
            for _ in 0..30 {
                net.apply_gradients_async(&gradients, &training).await.unwrap()
            }
        })
        .0
    );
    let whole = Shard { index: 0, count: 1 };
    assert!(
        awaits(&device, net.train_epoch_sharded_async(&data, &training, whole, async |_| Ok(()))).0
    );
    let gpu = net.into_backend();
    let mut net =
        Mlp::new(gpu, architecture()).unwrap().with_batch_norm(BatchNormPlace::After).unwrap();
    assert!(awaits(&device, net.norm_parameters_async(0)).0);
    // The host first folds the normalization into the weights. 9,000 rows make more chunks than may
    // be in flight.
    let many = Resident::new(
        net.backend_mut(),
        Source::Floats(&noise(2, 9000 * 20)),
        20,
        1.0,
        &vec![0; 9000],
    )
    .unwrap();
    assert!(awaits(&device, net.predict_monte_carlo_async(&many, 1, Sharing::PerRow)).0);
    let mut net = ConvNet::new(net.into_backend(), &front(), architecture()).unwrap();
    let images = noise(3, 60 * 16);
    let data = Resident::new(net.backend_mut(), Source::Floats(&images), 16, 1.0, &labels).unwrap();
    assert!(awaits(&device, net.train_epoch_async(&data, &training)).0);
    assert!(
        awaits(&device, async {
            for _ in 0..30 {
                net.train_step_async(&images, &labels, &training).await.unwrap()
            }
        })
        .0
    );
    assert!(awaits(&device, net.loss_async()).0);
    assert!(awaits(&device, net.evaluate_async(&data)).0);
    assert!(awaits(&device, net.predict_async(&images)).0);
    assert!(awaits(&device, net.predict_on_async(&data)).0);
    assert!(awaits(&device, net.filters_async(0)).0);
    assert!(awaits(&device, net.parameters_async(0)).0);
    let mut gpu = net.into_backend();
    let tensor = gpu.tensor(1, 3, &[1.0f32, 2.0, 3.0]).unwrap();
    assert!(awaits(&device, gpu.read_async(&tensor)).0);
    assert!(awaits(&device, gpu.read_all_async(&[&tensor, &tensor])).0);
    assert!(awaits(&device, gpu.wait_async()).0);
    // Control: a blocking call inside a future.
    let (awaited, values) = awaits(&device, async { gpu.read(&tensor) });
    assert!(!awaited && values.unwrap() == [1.0, 2.0, 3.0]);
}

fn architecture() -> Architecture {
    let (rate, input_rate) = (Rate::drop(0.5).unwrap(), Rate::KEEP_ALL);
    Architecture {
        inputs: 20,
        hidden: vec![5, 4],
        classes: 3,
        mode: Mode::Inverted,
        rate,
        input_rate,
        seed: 1,
    }
}

/// Returns a convolution and a pool of 4×4 images, which feed a network of 20 inputs.
fn front() -> Front {
    let filter = Filter { side: 3, padding: 1 };
    let pool = Pool { pooling: Pooling::Max, height: 2, width: 2 };
    let stages = vec![Stage::Convolution { channels: 5, filter }, Stage::Pool(pool)];
    Front { image: Image { height: 4, width: 4, channels: 1 }, stages }
}

/// Makes every call that reads back, in its blocking form if `waits` is set, else in its `async`
/// form.
async fn day<B: Backend>(mut net: Mlp<B>, waits: bool) -> wgpu_dropout::Result<Vec<f32>> {
    let rows = 300;
    let (x, labels) =
        (noise(1, rows * 20), (0..rows as u32).map(|row| row % 3).collect::<Vec<_>>());
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 20, 1.0, &labels)?;
    let training = Training { batch: 16, ..Training::default() };
    net.train_step(&x, &labels, &training)?;
    let mut seen = Vec::new();
    if waits {
        seen.extend(net.loss()?);
        seen.extend(net.train_epoch(&data, &training)?.losses);
        seen.push(net.evaluate(&data)?.loss as f32);
        seen.extend(net.predict(&x)?);
        seen.extend(net.predict_on(&data)?);
        seen.extend(net.predict_monte_carlo(&data, 3, Sharing::PerRow)?.mean);
        seen.extend(net.predict_ensemble(&data)?.mean);
        seen.extend(net.parameters(0)?.unwrap().0);
    } else {
        seen.extend(net.loss_async().await?);
        seen.extend(net.train_epoch_async(&data, &training).await?.losses);
        seen.push(net.evaluate_async(&data).await?.loss as f32);
        seen.extend(net.predict_async(&x).await?);
        seen.extend(net.predict_on_async(&data).await?);
        seen.extend(net.predict_monte_carlo_async(&data, 3, Sharing::PerRow).await?.mean);
        seen.extend(net.predict_ensemble_async(&data).await?.mean);
        seen.extend(net.parameters_async(0).await?.unwrap().0);
    }
    let shard = Shard { index: 1, count: 2 };
    let twice = |sums: &mut [f32]| sums.iter_mut().for_each(|sum| *sum *= 2.0);
    let calls = RefCell::new(0);
    if waits {
        let gradients = net.gradients(&x, &labels, 0, rows, &training)?;
        net.apply_gradients(&gradients, &training)?;
        seen.extend(gradients.values);
        let all_reduce = |sums: &mut [f32]| {
            *calls.borrow_mut() += 1;
            twice(sums);
            Ok(())
        };
        seen.extend(net.train_epoch_sharded(&data, &training, shard, all_reduce)?.losses);
    } else {
        let gradients = net.gradients_async(&x, &labels, 0, rows, &training).await?;
        net.apply_gradients_async(&gradients, &training).await?;
        seen.extend(gradients.values);
        // Like a reduction over a network, it is pending at the first poll.
        let all_reduce = async |sums: &mut [f32]| {
            *calls.borrow_mut() += 1;
            let mut asked = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut asked, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            twice(sums);
            Ok(())
        };
        seen.extend(
            net.train_epoch_sharded_async(&data, &training, shard, all_reduce).await?.losses,
        );
    }
    seen.push(*calls.borrow() as f32);
    let mut net =
        Mlp::new(net.into_backend(), architecture())?.with_batch_norm(BatchNormPlace::Before)?;
    if waits {
        net.train_step(&x, &labels, &training)?;
        let norm = net.norm_parameters(1)?.unwrap();
        seen.extend([norm.weight, norm.bias, norm.running_mean, norm.running_var].concat());
        seen.extend(net.predict_monte_carlo(&data, 3, Sharing::PerPass)?.mean);
    } else {
        net.train_step_async(&x, &labels, &training).await?;
        let norm = net.norm_parameters_async(1).await?.unwrap();
        seen.extend([norm.weight, norm.bias, norm.running_mean, norm.running_var].concat());
        seen.extend(net.predict_monte_carlo_async(&data, 3, Sharing::PerPass).await?.mean);
    }
    seen.extend(
        images(&mut ConvNet::new(net.into_backend(), &front(), architecture())?, waits).await?,
    );
    Ok(seen)
}

/// Does the same as [`day`] with a convolutional network.
async fn images<B: Backend>(net: &mut ConvNet<B>, waits: bool) -> wgpu_dropout::Result<Vec<f32>> {
    let (x, labels) = (noise(5, 30 * 16), [0, 1, 2].repeat(10));
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 16, 1.0, &labels)?;
    let training = Training { batch: 8, ..Training::default() };
    let mut seen = Vec::new();
    if waits {
        net.train_step(&x, &labels, &training)?;
        seen.extend(net.loss()?);
        seen.extend(net.train_epoch(&data, &training)?.losses);
        seen.push(net.evaluate(&data)?.loss as f32);
        seen.extend(net.predict(&x)?);
        seen.extend(net.predict_on(&data)?);
        seen.extend(net.filters(0)?.unwrap().0);
        seen.extend(net.parameters(1)?.unwrap().0);
    } else {
        net.train_step_async(&x, &labels, &training).await?;
        seen.extend(net.loss_async().await?);
        seen.extend(net.train_epoch_async(&data, &training).await?.losses);
        seen.push(net.evaluate_async(&data).await?.loss as f32);
        seen.extend(net.predict_async(&x).await?);
        seen.extend(net.predict_on_async(&data).await?);
        seen.extend(net.filters_async(0).await?.unwrap().0);
        seen.extend(net.parameters_async(1).await?.unwrap().0);
    }
    let backend = net.backend_mut();
    let tensor = backend.tensor(1, 3, &[1.0f32, 2.0, 3.0])?;
    let both = [&tensor, &tensor];
    seen.extend(
        if waits { backend.read_all(&both)? } else { backend.read_all_async(&both).await? }
            .concat(),
    );
    Ok(seen)
}

#[test]
fn the_async_forms_give_what_the_blocking_ones_give() {
    let on_cpu = |waits| {
        pollster::block_on(day(Mlp::new(Cpu::new(), architecture()).unwrap(), waits)).unwrap()
    };
    same_bits("CPU", &on_cpu(false), &on_cpu(true)).unwrap();
    let Some(choice) = adapter() else { return };
    let Some(waiting) = gpu() else { return };
    // Opening needs no device to poll. Natively no permission is requested, so it is ready at once.
    let gpu = pollster::block_on(Gpu::open_async(&choice)).unwrap();
    let device = gpu.device().clone();
    let awaited = run(&device, day(Mlp::new(gpu, architecture()).unwrap(), false)).unwrap();
    let blocked =
        pollster::block_on(day(Mlp::new(waiting, architecture()).unwrap(), true)).unwrap();
    same_bits("GPU", &awaited, &blocked).unwrap();
}

/// A dropped read leaves nothing behind that harms the next one.
#[test]
fn a_read_that_is_given_up_harms_nothing() {
    let Some(mut gpu) = gpu() else { return };
    let values = noise(3, 1000);
    let tensor = gpu.tensor(10, 100, &values).unwrap();
    for _ in 0..3 {
        let mut future = Box::pin(gpu.read_async(&tensor));
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(future);
        same_bits("read", &gpu.read(&tensor).unwrap(), &values).unwrap();
    }
    let device = gpu.device().clone();
    same_bits("read", &run(&device, gpu.read_async(&tensor)).unwrap(), &values).unwrap();
}

/// A lost device ends every pending wait within a second.
#[test]
fn a_lost_device_ends_what_awaits_it() {
    let Some(mut gpu) = gpu() else { return };
    let tensor = gpu.zeros::<f32>(100, 100).unwrap();
    let device = gpu.device().clone();
    device.destroy();
    let start = Instant::now();
    assert!(
        run(&device, gpu.read_async(&tensor)).is_err() && run(&device, gpu.wait_async()).is_err()
    );
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}
