//! Criterion benchmarks of the two kernels that matter most, beside the ceilings that they cannot pass, on the CPU and, where there
//! is an adapter, on the GPU. `wgpu-dropout bench` times more, in turns, and by the device's own clock.

use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime};
use std::time::{Duration, Instant};
use wgpu_dropout::call::{DropoutCall, LinearForward};
use wgpu_dropout::cpu::Cpu;
use wgpu_dropout::gpu::{AdapterChoice, Gpu};
use wgpu_dropout::init::he_uniform;
use wgpu_dropout::{Backend, Dropout, Key, Mask, Mode, Rate, Result};

/// Calls in one submit.
const BATCH: u64 = 64;

fn benchmarks(criterion: &mut Criterion) {
    on(criterion, "cpu", &mut Cpu::new());
    match Gpu::open(&AdapterChoice::Best) {
        Ok(mut gpu) => on(criterion, &gpu.name(), &mut gpu),
        Err(error) => eprintln!("no GPU benchmarks: {error}"),
    }
}

fn on<B: Backend>(criterion: &mut Criterion, device: &str, backend: &mut B) {
    let rate = Rate::drop(0.5).expect("0.5 is a rate");
    let dropout = Dropout::train(Mode::Inverted, Mask::new(rate, Key::default()));
    elementwise(criterion, device, backend, dropout).expect("the elementwise kernels run");
    layer(criterion, device, backend, dropout).expect("the layer runs");
}

/// `copy` and `dropout`: the same 8 bytes an element.
fn elementwise<B: Backend>(criterion: &mut Criterion, device: &str, backend: &mut B, dropout: Dropout) -> Result<()> {
    let (rows, cols) = (1024, 1024);
    let x = backend.tensor(rows, cols, &he_uniform(0, 0, rows, cols))?;
    let mut y = backend.zeros(rows, cols)?;
    let mut group = group(criterion, format!("elementwise {rows}×{cols}/{device}"), Throughput::Bytes(8 * (rows * cols) as u64));
    time(&mut group, "copy", backend, |backend| backend.copy(&x, &mut y));
    time(&mut group, "dropout", backend, |backend| backend.dropout(DropoutCall { x: &x, y: &mut y, dropout }));
    Ok(())
}

/// A plain product, the layer without dropout, and the layer with it: 2·B·I·O operations, counted as elements.
fn layer<B: Backend>(criterion: &mut Criterion, device: &str, backend: &mut B, dropout: Dropout) -> Result<()> {
    let [batch, inputs, outputs] = [128, 512, 512];
    let x = &backend.tensor(batch, inputs, &he_uniform(0, 1, batch, inputs))?;
    let weight = &backend.tensor(inputs, outputs, &he_uniform(0, 2, inputs, outputs))?;
    let bias = &backend.tensor(1, outputs, &he_uniform(0, 3, 1, outputs))?;
    let mut output = backend.zeros(batch, outputs)?;
    let y = &mut output;
    let operations = Throughput::Elements(2 * (batch * inputs * outputs) as u64);
    let mut group = group(criterion, format!("layer {batch}×{inputs}×{outputs}/{device}"), operations);
    let forms = [
        ("matmul", None, false, Dropout::NONE),
        ("linear_forward_plain", Some(bias), true, Dropout::NONE),
        ("linear_forward", Some(bias), true, dropout),
    ];
    for (name, bias, relu, dropout) in forms {
        time(&mut group, name, backend, |backend| backend.linear_forward(LinearForward { x, weight, bias, y, relu, dropout }));
    }
    Ok(())
}

fn group(criterion: &mut Criterion, name: String, throughput: Throughput) -> BenchmarkGroup<'_, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput).sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_secs(1));
    group
}

/// Times calls that are queued and handed over a batch at a time, as a program that cares for speed does.
fn time<B: Backend>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    backend: &mut B,
    mut call: impl FnMut(&mut B) -> Result<()>,
) {
    let mut run = |calls: u64| -> Result<Duration> {
        let start = Instant::now();
        for i in 1..=calls {
            call(backend)?;
            if i % BATCH == 0 {
                backend.submit()?;
            }
        }
        backend.wait()?;
        Ok(start.elapsed())
    };
    group.bench_function(name, |bencher| bencher.iter_custom(|calls| run(calls).expect("the kernel runs")));
}

criterion_group!(all, benchmarks);
criterion_main!(all);
