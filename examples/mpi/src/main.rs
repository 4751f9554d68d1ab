//! Data-parallel training over MPI: each process trains on its shard of every mini-batch of the
//! bundled digits.
//!
//! ```sh
//! cargo build --manifest-path examples/mpi/Cargo.toml
//! mpirun -n 2 examples/mpi/target/debug/wgpu-dropout-mpi [cpu|gpu|auto|NAME] [EPOCHS]
//! ```
//!
//! Process 0 prints a line of JSON per epoch. It contains the losses of the mini-batches during
//! training, and the SHA-256 of the masks of the epoch's first step, of which each process draws
//! its own rows on its device. For any number of processes, the masks have the same bits, and the
//! losses are the same except for the order of summation.

use mpi::collective::SystemOperation;
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, CommunicatorCollectives, Root};
use sha2::{Digest, Sha256};
use std::error::Error;
use wgpu_dropout::data::{DataSet, Values};
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Shard, Source, Training};
use wgpu_dropout::{Backend, Device, Mode, Rate};

const BATCH: usize = 64;

fn main() -> Result<(), Box<dyn Error>> {
    let universe = mpi::initialize().ok_or("MPI is running already")?;
    let mut arguments = std::env::args().skip(1);
    let device = Device::open(&arguments.next().unwrap_or_else(|| "auto".to_owned()).parse()?)?;
    let epochs = arguments.next().map_or(Ok(3), |text| text.parse())?;
    match device {
        Device::Gpu(gpu) => train(*gpu, &universe.world(), epochs),
        Device::Cpu(cpu) => train(cpu, &universe.world(), epochs),
    }
}

fn train<B: Backend>(
    backend: B,
    world: &SimpleCommunicator,
    epochs: u32,
) -> Result<(), Box<dyn Error>> {
    let shard =
        Shard { index: usize::try_from(world.rank())?, count: usize::try_from(world.size())? };
    let digits = DataSet::digits()?;
    let architecture = Architecture {
        inputs: digits.train.cols,
        hidden: vec![128, 128],
        classes: digits.classes.len(),
        mode: Mode::Inverted,
        rate: Rate::drop(0.5)?,
        input_rate: Rate::drop(0.2)?,
        seed: 42,
    };
    let mut net = Mlp::new(backend, architecture)?;
    let source = match &digits.train.values {
        Values::Bytes(bytes) => Source::Bytes(bytes),
        Values::Floats(floats) => Source::Floats(floats),
    };
    let data = Resident::new(
        net.backend_mut(),
        source,
        digits.train.cols,
        digits.train.unit.factor(),
        &digits.train.labels,
    )?;
    let training = Training { batch: BATCH, ..Training::default() };
    let mut sums = Vec::new();
    for _ in 0..epochs {
        let masks = masks(&mut net, world, shard)?;
        let epoch = net.train_epoch_sharded(&data, &training, shard, |values| {
            sums.resize(values.len(), 0.0f32);
            world.all_reduce_into(values, &mut sums, SystemOperation::sum());
            values.copy_from_slice(&sums);
            Ok(())
        })?;
        if world.rank() == 0 {
            let line = serde_json::json!({
                "processes": world.size(),
                "device": net.backend().name(),
                "epoch": net.epoch(),
                "masks": masks,
                "losses": epoch.losses,
                "right": epoch.right,
            });
            println!("{line}");
        }
    }
    Ok(())
}

/// Returns the SHA-256 of the masks that the next step draws, site after site. Process 0 gathers
/// them from all shards.
fn masks<B: Backend>(
    net: &mut Mlp<B>,
    world: &SimpleCommunicator,
    shard: Shard,
) -> Result<String, Box<dyn Error>> {
    let (widths, step) = (net.architecture().widths(), net.step());
    let rows = shard.rows(BATCH);
    let mut hash = Sha256::new();
    for (layer, &cols) in widths[..widths.len() - 1].iter().enumerate() {
        let mask = net
            .architecture()
            .training_site(layer, step, &Default::default())
            .mask
            .at(rows.start as u64, 0);
        let own = net.backend_mut().read_mask(mask, rows.len(), cols)?;
        let root = world.process_at_rank(0);
        if world.rank() != 0 {
            root.gather_varcount_into(&own);
            continue;
        }
        let counts: Vec<i32> = (0..shard.count)
            .map(|index| (Shard { index, ..shard }.rows(BATCH).len() * cols) as i32)
            .collect();
        let starts: Vec<i32> = counts
            .iter()
            .scan(0, |start, count| Some(std::mem::replace(start, *start + count)))
            .collect();
        let mut all = vec![0u8; BATCH * cols];
        let mut parts = mpi::datatype::PartitionMut::new(&mut all[..], counts, &starts[..]);
        root.gather_varcount_into_root(&own, &mut parts);
        hash.update(&all);
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
