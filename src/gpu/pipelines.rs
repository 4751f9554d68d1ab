//! Cache of compiled kernels. Each variant is compiled once, however many threads ask for it;
//! different variants compile in parallel.

use crate::plan::Variant;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// Compiled variant of a kernel.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub pipeline: wgpu::ComputePipeline,
    /// Layout of the tensors, group 0.
    pub tensors: wgpu::BindGroupLayout,
}

/// Map from variants to cells. The first caller compiles; concurrent callers wait on the cell, not
/// on the map's lock.
type Cells = HashMap<Variant, Arc<OnceLock<Arc<Pipeline>>>>;

/// Cache of pipelines, which clones share.
#[derive(Debug, Clone, Default)]
pub(super) struct Pipelines(Arc<Mutex<Cells>>);

impl Pipelines {
    /// Returns the compiled form of a variant, and true if this call compiled it.
    pub fn get(
        &self,
        variant: Variant,
        compile: impl FnOnce() -> Pipeline,
    ) -> (Arc<Pipeline>, bool) {
        let cell = self.cells().entry(variant).or_default().clone();
        let mut now = false;
        let pipeline = cell.get_or_init(|| {
            now = true;
            Arc::new(compile())
        });
        (pipeline.clone(), now)
    }

    /// Returns the sorted names of the variants compiled so far.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .cells()
            .iter()
            .filter(|(_, cell)| cell.get().is_some())
            .map(|(variant, _)| variant.name())
            .collect();
        names.sort();
        names
    }

    /// Locks the map.
    fn cells(&self) -> MutexGuard<'_, Cells> {
        // A panic elsewhere cannot leave half an entry, so a poisoned map is still valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{AdapterChoice, Gpu, Stem};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[test]
    fn different_variants_compile_side_by_side_and_one_compiles_once() {
        let Ok(gpu) = Gpu::open(&AdapterChoice::Best) else {
            return eprintln!("SKIPPED: no adapter");
        };
        let kernels = gpu.kernels();
        let pipelines = Pipelines::default();
        let [first, second] = [Stem::Copy, Stem::Dropout].map(Variant::new);
        let (tell_second, first_is_at_it) = channel();
        let (tell_first, second_is_at_it) = channel();
        std::thread::scope(|scope| {
            // Each continues only after the other has begun.
            let meet = |variant,
                        tell: std::sync::mpsc::Sender<()>,
                        other: std::sync::mpsc::Receiver<()>| {
                let pipelines = pipelines.clone();
                move || {
                    let compile = || {
                        tell.send(()).unwrap();
                        other.recv_timeout(Duration::from_secs(30)).unwrap();
                        kernels.compile(variant)
                    };
                    assert!(pipelines.get(variant, compile).1);
                }
            };
            scope.spawn(meet(first, tell_second, second_is_at_it));
            scope.spawn(meet(second, tell_first, first_is_at_it));
        });
        assert!(!pipelines.get(first, || panic!("compiled again")).1);
        assert_eq!(pipelines.names(), [first.name(), second.name()]);
    }
}
