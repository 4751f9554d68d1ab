//! Two shards that together draw the mask of the whole batch, and train like one process.
//!
//! ```sh
//! cargo run --example shards
//! ```
//!
//! A process with rows 16 to 31 of a mini-batch draws rows 16 to 31 of its mask, so no mask is
//! sent. Only the sum of the gradients is exchanged. Here the two shards take turns in one process;
//! `examples/mpi` does the same over MPI.

use wgpu_dropout::Cpu;
use wgpu_dropout::data::DataSet;
use wgpu_dropout::mlp::{Architecture, Gradients, Mlp, Shard, Training};
use wgpu_dropout::{Backend, Mode, Rate, Result};

const BATCH: usize = 32;
const SHARDS: usize = 2;

fn main() -> Result<()> {
    let digits = DataSet::digits()?.train;
    let x = digits.features_f32();
    let architecture = Architecture {
        inputs: digits.cols,
        hidden: vec![64, 64],
        classes: 10,
        mode: Mode::Inverted,
        rate: Rate::drop(0.5)?,
        input_rate: Rate::drop(0.2)?,
        seed: 42,
    };
    let mut whole = Mlp::new(Cpu::new(), architecture.clone())?;
    let mut replicas =
        [Mlp::new(Cpu::new(), architecture.clone())?, Mlp::new(Cpu::new(), architecture.clone())?];

    // Masks: each shard draws its own rows, for which it needs only their offset.
    let training = Training { batch: BATCH, ..Training::default() };
    let mask = architecture.training_site(1, 0, &training.schedules).mask;
    let mut drawn = Vec::new();
    for (index, replica) in replicas.iter_mut().enumerate() {
        let rows = Shard { index, count: SHARDS }.rows(BATCH);
        drawn.extend(replica.backend_mut().read_mask(
            mask.at(rows.start as u64, 0),
            rows.len(),
            64,
        )?);
    }
    assert_eq!(drawn, mask.bytes(BATCH, 64)?, "the mask of the whole, to the bit");
    println!(
        "masks: {} of {} kept, as in one process",
        drawn.iter().filter(|&&kept| kept == 1).count(),
        drawn.len()
    );

    // Training: the gradients of both shards are added, and each replica makes the same update.
    for (step, (x, labels)) in
        x.chunks(BATCH * digits.cols).zip(digits.labels.chunks(BATCH)).take(20).enumerate()
    {
        let mut sum = Gradients { values: Vec::new() };
        for (index, replica) in replicas.iter_mut().enumerate() {
            let rows = Shard { index, count: SHARDS }.rows(labels.len());
            let part = replica.gradients(
                &x[rows.start * digits.cols..rows.end * digits.cols],
                &labels[rows.clone()],
                rows.start,
                labels.len(),
                &training,
            )?;
            sum.values.resize(part.values.len(), 0.0);
            sum.values.iter_mut().zip(part.values).for_each(|(sum, part)| *sum += part);
        }
        for replica in &mut replicas {
            replica.apply_gradients(&sum, &training)?;
        }
        whole.train_step(x, labels, &training)?;
        let loss = whole.loss()?.unwrap_or(f32::NAN);
        assert!((sum.loss() - loss).abs() <= 1e-5, "step {step}: {} and {loss}", sum.loss());
        if step % 5 == 4 {
            println!(
                "step {:>2}: loss {:.6} in two shards, {loss:.6} in one",
                step + 1,
                sum.loss()
            );
        }
    }
    Ok(())
}
