//! Criterion benchmarks of the kernels that `wgpu-dropout bench` times, each with its ceiling, on
//! the CPU and, if there is an adapter, on the GPU. Criterion compares two versions of the code,
//! which `bench` does not. Both share the code that calls the kernels.
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::time::{Duration, Instant};
use wgpu_dropout::Cpu;
use wgpu_dropout::gpu::{AdapterChoice, Gpu};
use wgpu_dropout::{Key, Result};
use wgpu_dropout_cli::bench::work::{Bound, Entry, Timed, Work};
use wgpu_dropout_cli::bench::{attention, elementwise, forms, layer, step, update};

/// Number of elements of the elementwise kernels.
const ELEMENTS: usize = 1 << 20;
/// Batch, inputs and outputs of the layer.
const LAYER: [usize; 3] = [128, 512, 512];
/// Heads, queries and numbers of a head of the attention.
const HEADS: [usize; 3] = [4, 512, 64];
/// Number of calls between two waits.
const BATCH: u64 = 64;

fn benchmarks(criterion: &mut Criterion) {
    on(criterion, Cpu::new()).expect("the kernels run");
    match Gpu::open(&AdapterChoice::Best) {
        Ok(gpu) => on(criterion, gpu).expect("the kernels run"),
        Err(error) => eprintln!("no GPU benchmarks: {error}"),
    }
}

fn on<B: Timed>(criterion: &mut Criterion, mut backend: B) -> Result<()> {
    let (device, key) = (backend.name(), Key::default());
    let network = step::Network { batch: 64, widths: vec![784, 256, 256, 10], steps: 4 };
    let mut elementwise = elementwise::Elementwise::new(&mut backend, ELEMENTS, key)?;
    time(criterion, &device, &mut elementwise, &elementwise::entries(ELEMENTS), 0);
    drop(elementwise);
    let mut forms = forms::Forms::new(&mut backend, ELEMENTS, key)?;
    time(criterion, &device, &mut forms, &forms::entries(ELEMENTS), 1);
    drop(forms);
    let mut update = update::Update::new(&mut backend, ELEMENTS)?;
    time(criterion, &device, &mut update, &update::entries(ELEMENTS), 1);
    drop(update);
    let mut layer = layer::Layer::new(&mut backend, LAYER, key)?;
    time(criterion, &device, &mut layer, &layer::entries(LAYER), 0);
    drop(layer);
    let mut heads = attention::Heads::new(&mut backend, HEADS, key)?;
    time(criterion, &device, &mut heads, &attention::entries(HEADS), 1);
    drop(heads);
    let mut step = step::Step::new(backend, &network, key.seed)?;
    time(criterion, &device, &mut step, &step::entries(&network), 0);
    Ok(())
}

/// Times the kernels from entry `first` on. Calls are queued and submitted in batches, as in a
/// program written for speed.
fn time(
    criterion: &mut Criterion,
    device: &str,
    work: &mut impl Work,
    entries: &[Entry],
    first: usize,
) {
    for (index, entry) in entries.iter().enumerate().skip(first) {
        let mut run = |calls: u64| -> Result<Duration> {
            let start = Instant::now();
            for i in 1..=calls {
                work.call(index)?;
                if i % BATCH == 0 || i == calls {
                    work.finish()?;
                }
            }
            Ok(start.elapsed())
        };
        let mut group =
            criterion.benchmark_group(format!("{} {}/{device}", entry.kernel, entry.shape()));
        let amount = entry.amount() * entry.per_call as u64;
        group.throughput(match entry.bound {
            Bound::Bytes => Throughput::Bytes(amount),
            Bound::Flops => Throughput::Elements(amount),
        });
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2))
            .warm_up_time(Duration::from_millis(500));
        group.bench_function(entry.kernel, |bencher| {
            bencher.iter_custom(|calls| run(calls).expect("the kernel runs"))
        });
        group.finish();
    }
}

criterion_group!(all, benchmarks);
criterion_main!(all);
