//! `bench`: the kernels on GPU and CPU, each beside the ceiling that it cannot pass, measured in the same run.
//!
//! [`work`] says what is timed, [`measure`] how, [`row`] and [`table`] what comes out.

mod elementwise;
mod layer;
mod measure;
mod row;
mod step;
mod table;
mod update;
mod work;

pub use measure::Effort;
pub use row::{Place, Row};
pub use table::table;

use crate::args::Common;
use crate::failure::Failure;
use crate::{engine, output};
use elementwise::Elementwise;
use layer::Layer;
use step::{Network, Step};
use update::Update;
use wgpu_dropout::cpu::Cpu;
use wgpu_dropout::gpu::{AdapterChoice, Tile};
use wgpu_dropout::{Device, DeviceChoice, Error, Key};
use work::{Timed, Work};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Smaller sizes and fewer repetitions
    #[arg(long)]
    quick: bool,
    /// Shape of the layer: batch, inputs and outputs
    #[arg(long, value_name = "BxIxO", value_parser = shape)]
    shape: Option<[usize; 3]>,
    /// How a GPU divides a product among its threads, instead of its own choice; the CPU backend ignores it
    #[arg(long, value_name = "register|workgroup")]
    tile: Option<Tile>,
}

fn shape(text: &str) -> Result<[usize; 3], String> {
    let sizes = text.split(['x', 'X', '×']).map(|size| size.parse().ok().filter(|&size| size > 0));
    let sizes: Option<Vec<usize>> = sizes.collect();
    sizes
        .and_then(|sizes| sizes.try_into().ok())
        .ok_or_else(|| "must be three whole numbers from 1, such as 256x1024x1024".to_owned())
}

/// What is timed, and how thoroughly.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Elements of the elementwise kernels, whole thousands of 1,024.
    pub elements: Vec<usize>,
    /// Batch, inputs and outputs of each layer.
    pub layers: Vec<[usize; 3]>,
    /// Networks to train.
    pub networks: Vec<Network>,
    /// How often, and for how long.
    pub effort: Effort,
    /// Key of the masks.
    pub key: Key,
}

impl Plan {
    /// Some seconds in all, or with `quick` less than one a row.
    pub fn new(quick: bool) -> Self {
        let network = |batch, hidden| Network { batch, widths: vec![784, hidden, hidden, 10] };
        let (elements, layer, network) = match quick {
            true => (vec![1 << 16, 1 << 20], [128, 512, 512], network(64, 256)),
            false => (vec![1 << 16, 1 << 20, 1 << 24], [256, 1024, 1024], network(128, 1024)),
        };
        Self { elements, layers: vec![layer], networks: vec![network], effort: Effort::new(quick), key: Key::default() }
    }
}

/// Runs `bench`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    let mut plan = Plan { key: Key { seed: common.seed(), ..Key::default() }, ..Plan::new(args.quick) };
    plan.layers = args.shape.map_or(plan.layers, |shape| vec![shape]);
    let rows = throughput(&mut devices(&common.device, args.tile)?, &plan)?;
    match common.json {
        true => output::json(&rows.iter().map(Row::json).collect()),
        false => output::text(&table(&rows)),
    }
}

/// The devices to compare: the one that is named, or every kind that is there, a software adapter included.
pub fn devices(choice: &DeviceChoice, tile: Option<Tile>) -> wgpu_dropout::Result<Vec<Device>> {
    if *choice != DeviceChoice::Auto {
        return Ok(vec![engine::open(choice, tile)?]);
    }
    let cpu = Device::Cpu(Cpu::new());
    match engine::open(&DeviceChoice::Adapter(AdapterChoice::Best), tile) {
        Ok(gpu) => Ok(vec![gpu, cpu]),
        Err(Error::Adapter { .. }) => Ok(vec![cpu]),
        Err(error) => Err(error),
    }
}

/// Kernels that are timed together.
#[derive(Debug, Clone)]
enum Race {
    /// `dropout` beside `copy`.
    Elementwise(usize),
    /// `sgd` and `softmax_cross_entropy` beside `copy`.
    Update(usize),
    /// The layer, forward and backward, beside `matmul`.
    Layer([usize; 3]),
    /// A training step beside the matrix products of its forward pass.
    Step(Network),
}

/// Times the plan on every device, the devices side by side for each size.
pub fn throughput(devices: &mut [Device], plan: &Plan) -> wgpu_dropout::Result<Vec<Row>> {
    let elementwise = plan.elements.iter().map(|&elements| Race::Elementwise(elements));
    let update = plan.elements.get(1).map(|&elements| Race::Update(elements));
    let layers = plan.layers.iter().map(|&shape| Race::Layer(shape));
    let steps = plan.networks.iter().cloned().map(Race::Step);
    let mut rows = Vec::new();
    for race in elementwise.chain(update).chain(layers).chain(steps) {
        for device in &mut *devices {
            let place = Place::of(device);
            // A network takes a backend for its own and gives it back.
            *device = match std::mem::replace(device, Device::Cpu(Cpu::new())) {
                Device::Gpu(gpu) => Device::Gpu(Box::new(run_race(&race, *gpu, &place, plan, &mut rows)?)),
                Device::Cpu(cpu) => Device::Cpu(run_race(&race, cpu, &place, plan, &mut rows)?),
            };
        }
    }
    Ok(rows)
}

fn run_race<B: Timed>(race: &Race, mut backend: B, place: &Place, plan: &Plan, rows: &mut Vec<Row>) -> wgpu_dropout::Result<B> {
    match race {
        Race::Elementwise(elements) => time(&mut Elementwise::new(&mut backend, *elements, plan.key)?, place, plan, rows)?,
        Race::Update(elements) => time(&mut Update::new(&mut backend, *elements)?, place, plan, rows)?,
        Race::Layer(shape) => time(&mut Layer::new(&mut backend, *shape, plan.key)?, place, plan, rows)?,
        Race::Step(network) => {
            let mut step = Step::new(backend, network, plan.key.seed)?;
            time(&mut step, place, plan, rows)?;
            backend = step.into_backend();
        }
    }
    Ok(backend)
}

fn time(work: &mut impl Work, place: &Place, plan: &Plan, rows: &mut Vec<Row>) -> wgpu_dropout::Result<()> {
    let timings = measure::race(work, &plan.effort)?;
    rows.extend(Row::of_race(&work.entries(), &timings, place));
    Ok(())
}
