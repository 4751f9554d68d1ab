//! `bench`: times the kernels on GPU and CPU, each against the ceiling that bounds it, measured in
//! the same run.
//!
//! | part | modules |
//! |---|---|
//! | command line and selection of measurements | `options`, `plan` |
//! | kernels and their tensors | `work`: `elementwise`, `forms`, `isa`, `half`, `update`, `layer`, `attention`, `step`, `peak` |
//! | timing | `measure`, `statistics` |
//! | omitted measurements | `limits` |
//! | output | `row` (and JSON), `table`, `page`: `lines`, `roofline`, `bars` |

pub mod attention;
pub mod bars;
pub mod elementwise;
pub mod forms;
mod half;
mod isa;
pub mod layer;
mod limits;
mod lines;
mod measure;
mod options;
mod page;
mod pass;
mod peak;
mod plan;
mod roofline;
pub mod row;
pub mod statistics;
pub mod step;
mod table;
pub mod update;
pub mod work;

pub use measure::Effort;
pub use options::Args;
pub use plan::{Extent, Plan};
pub use row::Row;
pub use table::{counted, seconds, sorted, table};
pub use work::{Bound, Entry};

use self::half::Half;
use crate::args::Common;
use crate::failure::Failure;
use crate::machine::{Machine, Place};
use crate::progress::Bar;
use crate::{engine, output, outputs};
use attention::Heads;
use elementwise::Elementwise;
use forms::Forms;
use isa::Isas;
use layer::{Cost, Layer};
use peak::Peak;
use plan::Race;
use step::{Network, Step};
use update::Update;
use wgpu_dropout::Cpu;
use wgpu_dropout::gpu::{AdapterChoice, Tuning};
use wgpu_dropout::{Device, DeviceChoice, Error, Key, wgpu};
use work::{Timed, Work};

/// Results of a benchmark.
#[derive(Debug, Default)]
pub struct Results {
    /// Measurements, in order.
    pub rows: Vec<Row>,
    /// Measurements that were left out, each with its reason.
    pub left_out: Vec<String>,
}

/// Runs `bench`.
pub fn run(args: &Args, common: &Common) -> Result<(), Failure> {
    outputs::check(common, args.html.iter().map(|path| ("--html", path.as_path())), &[])?;
    let mut devices = devices(&common.device, common.tile)?;
    let plan = Plan {
        key: Key { seed: common.seed(), ..Key::default() },
        ..args.plan(devices.iter().any(is_real_gpu))
    };
    let places: Vec<Place> = devices.iter().map(Place::of).collect();
    let results = throughput(&mut devices, &plan)?;
    for note in &results.left_out {
        output::note(note);
    }
    if common.json {
        output::json(&results.rows.iter().map(Row::json).collect())?;
    } else {
        output::text(&table(&results))?;
    }
    let Some(path) = &args.html else { return Ok(()) };
    let page = page::page(&Machine::here(), &places, &results)?;
    outputs::write(path, page.as_bytes())?;
    if common.json {
        Ok(())
    } else {
        output::line(&format!("\nwrote {}: open it in a browser", outputs::shown(path)))
    }
}

/// Returns the devices to compare: the named one, or the best adapter, including software adapters,
/// and the CPU backend.
fn devices(choice: &DeviceChoice, tile: Option<Tuning>) -> wgpu_dropout::Result<Vec<Device>> {
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

fn is_real_gpu(device: &Device) -> bool {
    matches!(device, Device::Gpu(gpu) if gpu.info().device_type != wgpu::DeviceType::Cpu)
}

/// Times the plan on every device; for each size, the devices run one after another. If a network
/// cannot be created on a device, that device is missing from `devices` afterwards.
pub fn throughput(devices: &mut Vec<Device>, plan: &Plan) -> Result<Results, Failure> {
    let races = plan.races();
    let bar = Bar::new((races.len() * devices.len()) as u64);
    let mut slots: Vec<(Place, Option<Device>)> =
        devices.drain(..).map(|device| (Place::of(&device), Some(device))).collect();
    let mut results = Results::default();
    for race in &races {
        for (place, slot) in &mut slots {
            bar.say(format!("{} on {}", race.name(), place.kind));
            let left_out = match limits::reason(race, place, &results.rows, plan.effort.call) {
                _ if !slot.as_ref().is_some_and(|device| is_for(race, device)) => None,
                Some(reason) => Some(reason),
                None => match run_race(race, slot, place, plan, &mut results.rows) {
                    // Insufficient memory is not a defect: the rest can still be measured.
                    Err(
                        error @ (Error::OutOfMemory { .. }
                        | Error::TooLarge { .. }
                        | Error::Limit { .. }),
                    ) => Some(error.to_string()),
                    outcome => outcome.map(|()| None)?,
                },
            };
            results
                .left_out
                .extend(left_out.map(|reason| {
                    format!("left out: {} on {}: {reason}", race.name(), place.name)
                }));
            bar.step();
        }
    }
    devices.extend(slots.into_iter().filter_map(|(_, device)| device));
    Ok(results)
}

/// Returns true if a race can run on a device of this kind.
fn is_for(race: &Race, device: &Device) -> bool {
    match (race, device) {
        (Race::Half(_) | Race::HalfLayer(_), Device::Gpu(gpu)) => gpu.kernels().planner().half,
        (Race::Half(_) | Race::HalfLayer(_) | Race::Peak, Device::Cpu(_))
        | (Race::Isas(_), Device::Gpu(_)) => false,
        _ => true,
    }
}

fn run_race(
    race: &Race,
    slot: &mut Option<Device>,
    place: &Place,
    plan: &Plan,
    rows: &mut Vec<Row>,
) -> wgpu_dropout::Result<()> {
    if let Race::Step(network) = race {
        // A network owns its backend and returns it only if no error occurs.
        *slot = match slot.take() {
            Some(Device::Gpu(gpu)) => {
                Some(Device::Gpu(Box::new(train(network, *gpu, place, plan, rows)?)))
            }
            Some(Device::Cpu(cpu)) => Some(Device::Cpu(train(network, cpu, place, plan, rows)?)),
            None => None,
        };
        return Ok(());
    }
    match slot {
        Some(Device::Gpu(gpu)) => match race {
            Race::Peak => {
                time(&mut Peak::new(gpu), &[peak::entry(gpu.info().device_type)], place, plan, rows)
            }
            Race::Half(elements) => time(
                &mut Half::elementwise(gpu, *elements, plan.key)?,
                &race.entries(),
                place,
                plan,
                rows,
            ),
            Race::HalfLayer(shape) => {
                time(&mut Half::layer(gpu, *shape, plan.key)?, &race.entries(), place, plan, rows)
            }
            _ => compare(race, gpu.as_mut(), place, plan, rows),
        },
        Some(Device::Cpu(cpu)) => match race {
            Race::Isas(elements) => {
                time(&mut Isas::new(*elements, plan.key)?, &race.entries(), place, plan, rows)
            }
            _ => compare(race, cpu, place, plan, rows),
        },
        None => Ok(()),
    }
}

fn compare<B: Timed>(
    race: &Race,
    backend: &mut B,
    place: &Place,
    plan: &Plan,
    rows: &mut Vec<Row>,
) -> wgpu_dropout::Result<()> {
    let entries = race.entries();
    match race {
        Race::Elementwise(elements) => {
            time(&mut Elementwise::new(backend, *elements, plan.key)?, &entries, place, plan, rows)
        }
        Race::Forms(elements) => {
            time(&mut Forms::new(backend, *elements, plan.key)?, &entries, place, plan, rows)
        }
        Race::Attention(shape) => {
            time(&mut Heads::new(backend, *shape, plan.key)?, &entries, place, plan, rows)
        }
        Race::Update(elements) => {
            time(&mut Update::new(backend, *elements)?, &entries, place, plan, rows)
        }
        Race::Layer(shape) => {
            time(&mut Layer::new(backend, *shape, plan.key)?, &entries, place, plan, rows)
        }
        Race::Cost(shape) => {
            time(&mut Cost::new(backend, *shape, plan.key)?, &entries, place, plan, rows)
        }
        // These require a GPU, a CPU, or a backend of their own.
        Race::Peak | Race::Half(_) | Race::HalfLayer(_) | Race::Isas(_) | Race::Step(_) => Ok(()),
    }
}

fn train<B: Timed>(
    network: &Network,
    backend: B,
    place: &Place,
    plan: &Plan,
    rows: &mut Vec<Row>,
) -> wgpu_dropout::Result<B> {
    let mut step = Step::new(backend, network, plan.key.seed)?;
    let first = step.timed()?;
    time(&mut step, &step::entries(network), place, plan, rows)?;
    if let Some(row) = rows.last_mut() {
        row.per_step = Some(step.counted(first, row.seconds())?);
    }
    Ok(step.into_backend())
}

fn time(
    work: &mut impl Work,
    entries: &[Entry],
    place: &Place,
    plan: &Plan,
    rows: &mut Vec<Row>,
) -> wgpu_dropout::Result<()> {
    let timings = measure::race(work, entries, &plan.effort)?;
    let new = Row::of_race(entries, &timings, place, rows);
    rows.extend(new);
    Ok(())
}
