//! The forms in which a device can run the kernels. Each is a backend of its own, and all must
//! agree.

use super::Options;
use crate::call::PhiloxWords;
use crate::cpu::fast::Isa;
use crate::gpu::{Gpu, Kernels, Planner, Prepared, Tile, Tiles};
use crate::{Backend, Cpu, Error, Result};

/// A backend in one particular form.
#[derive(Debug)]
pub(super) struct Form<B> {
    pub name: String,
    pub backend: B,
    /// True if it simulates a weak device: small bindings, narrow grids, short dispatches.
    pub weak: bool,
    /// True if attention is checked in this form. Its products are those of other checks, and its
    /// own kernels do not depend on their tile.
    pub attention: bool,
}

/// A backend that the suite checks.
pub(super) trait Subject: Backend {
    /// Returns the words for the given counters and keys.
    fn philox(&mut self, inputs: &[[u32; 6]]) -> Result<Vec<[u32; 4]>> {
        let counters = self.tensor(inputs.len(), 6, inputs.as_flattened())?;
        let mut words = self.tensor(inputs.len(), 4, &vec![0xdead_beef; 4 * inputs.len()])?;
        self.run(PhiloxWords { inputs: &counters, words: &mut words })?;
        Ok(self.read(&words)?.chunks_exact(4).map(|w| [w[0], w[1], w[2], w[3]]).collect())
    }

    /// Returns true if forms may be checked in parallel.
    fn is_shared(&self) -> bool {
        true
    }
}

impl Subject for Gpu {
    fn is_shared(&self) -> bool {
        self.kernels().is_shared()
    }
}

impl Subject for Cpu {}

/// Creates kernels on a device, with the requested edits.
pub(super) fn kernels(gpu: &Gpu, options: &Options) -> Result<Kernels> {
    let kernels = Kernels::with_planner(gpu.device(), |_| *gpu.kernels().planner())?;
    Ok(options.edits.iter().fold(kernels, |kernels, [from, to]| kernels.edited(from, to)))
}

/// Records calls prepared for views of buffers, and submits them.
pub(super) fn submit(gpu: &Gpu, calls: &[Prepared]) {
    let mut encoder =
        gpu.device().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        calls.iter().for_each(|call| call.record(&mut pass));
    }
    gpu.queue().submit([encoder.finish()]);
}

/// Returns the forms of a GPU: each tile and each way to multiply in Philox, both at the device's
/// own limits and as a weak device. Forms that the device cannot run are left out.
pub(super) fn of_gpu(gpu: &Gpu, options: &Options) -> Result<Vec<Form<Gpu>>> {
    let base = kernels(gpu, options)?;
    let own = *base.planner();
    let can_fuse = Planner::can_fuse(&gpu.device().limits());
    let mut forms = Vec::new();
    // If classes of shapes have different tiles, the device's own choice is another form.
    if own.tiles.only().is_none() {
        let kernels = base.replanned(|_| own)?;
        forms.push(Form {
            name: format!("own tiles, {}", philox(own.int64)),
            backend: gpu.with_kernels(kernels),
            weak: false,
            attention: true,
        });
    }
    for weak in [false, true] {
        // Matrix units are for f16 only; see `on_matrices`.
        for tile in Tile::ALL.into_iter().filter(|tile| !tile.is_matrix()) {
            for int64 in [true, false] {
                // The reduced set: the device's own form, the other tiles with Philox in limbs, and
                // in parts one tile of each shader file.
                let one =
                    matches!(tile, Tile::Register | Tile::Shuffle | Tile::Narrow | Tile::Workgroup);
                let chosen = if own.tiles == Tiles::all(tile) {
                    int64 == own.int64 && !weak
                } else {
                    !int64 && (one || !weak)
                };
                if !options.every_form && !chosen {
                    continue;
                }
                let change = |planner| {
                    let strong = Planner {
                        tiles: Tiles::all(tile),
                        int64,
                        wide: !tile.is_shared(),
                        fused: tile.is_shared() && can_fuse,
                        ..planner
                    };
                    if weak {
                        Planner { binding: 1 << 16, grid: 17, flops: 1, ..strong }
                    } else {
                        strong
                    }
                };
                let kernels = match base.replanned(change) {
                    Err(Error::Adapter { .. }) => continue,
                    kernels => kernels?,
                };
                let name = format!(
                    "{tile} tile, {}{}",
                    philox(int64),
                    if weak { ", in parts" } else { "" }
                );
                let attention = !weak && (tile == Tile::Workgroup || own.tiles == Tiles::all(tile));
                forms.push(Form { name, backend: gpu.with_kernels(kernels), weak, attention });
            }
        }
    }
    // The battery runs on the first form.
    forms.sort_by_key(|form| form.backend.kernels().planner() != &own);
    Ok(forms)
}

/// Returns the form that multiplies f16 tensors on matrix units, if the device has them.
pub(super) fn on_matrices(gpu: &Gpu) -> Option<Form<Gpu>> {
    let change = |planner| Planner { tiles: Tiles::all(Tile::Matrix), wide: false, ..planner };
    let kernels = gpu.kernels().replanned(change).ok()?;
    Some(Form {
        name: format!("{} tile", Tile::Matrix),
        backend: gpu.with_kernels(kernels),
        weak: false,
        attention: false,
    })
}

fn philox(int64: bool) -> &'static str {
    if int64 { "int64" } else { "limbs" }
}

/// Returns the forms of the CPU: each instruction set, and the reference.
pub(super) fn of_cpu() -> Vec<Form<Cpu>> {
    let fast = Isa::available().into_iter().rev().map(|isa| (isa.to_string(), Cpu::with_isa(isa)));
    let all = fast.chain([("reference".to_owned(), Cpu::reference())]);
    all.map(|(name, backend)| Form { name, backend, weak: false, attention: true }).collect()
}
