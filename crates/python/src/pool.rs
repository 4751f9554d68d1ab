//! Threads of the package: a pool of its own, made anew in a forked process.
//!
//! A forked process has none of its parent's threads, so the parent's pool would wait for ever.
//! PyTorch's `DataLoader` forks on Linux. The pool is therefore kept with the process that made it.

use arc_swap::ArcSwapOption;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Pool, and the process that made it.
struct Owned {
    process: u32,
    pool: ThreadPool,
}

static POOL: ArcSwapOption<Owned> = ArcSwapOption::const_empty();
/// Threads asked for; 0 for as many as the process may run on.
static ASKED: AtomicUsize = AtomicUsize::new(0);

/// Returns the number of threads that the package computes on.
#[pyfunction]
#[pyo3(name = "num_threads")]
pub fn threads() -> usize {
    match ASKED.load(Ordering::Relaxed) {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        asked => asked,
    }
}

/// Sets the number of threads. Calls that run at that moment finish on theirs.
#[pyfunction]
#[pyo3(name = "set_num_threads")]
pub fn set_threads(count: usize) -> PyResult<()> {
    if !(1..=4096).contains(&count) {
        return Err(PyValueError::new_err(format!("{count} threads: must be 1 to 4096")));
    }
    ASKED.store(count, Ordering::Relaxed);
    replace(None);
    Ok(())
}

/// Puts another pool in place of the present one.
fn replace(new: Option<Arc<Owned>>) {
    if let Some(old) = POOL.swap(new)
        && old.process != std::process::id()
    {
        // Its threads are those of the parent: nobody would answer when it is dropped.
        std::mem::forget(old);
    }
}

/// Runs `work` on the pool of this process.
///
/// # Errors
/// An error if the system has no threads.
pub fn on_pool<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, rayon::ThreadPoolBuildError> {
    let process = std::process::id();
    let pool = match POOL.load_full() {
        Some(owned) if owned.process == process => owned,
        _ => {
            let pool = ThreadPoolBuilder::new()
                .num_threads(threads())
                .thread_name(|index| format!("wgpu-dropout {index}"))
                .build()?;
            let owned = Arc::new(Owned { process, pool });
            replace(Some(owned.clone()));
            owned
        }
    };
    Ok(pool.pool.install(work))
}
