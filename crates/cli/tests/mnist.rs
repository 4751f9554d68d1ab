//! The first losses of a training on MNIST, from the folder that `WGPU_DROPOUT_MNIST` names.

#[path = "../../../tests/common/mod.rs"]
mod common;
#[path = "../../../tests/common/losses.rs"]
mod losses;

use wgpu_dropout_cli::data::{self, Options};

#[test]
fn the_first_20_losses_are_equal_on_gpu_and_cpu() {
    match std::env::var("WGPU_DROPOUT_MNIST") {
        Ok(folder) => {
            losses::compare_losses(&data::open(&folder, &Options::default()).unwrap().set);
        }
        Err(_) => common::skipped("WGPU_DROPOUT_MNIST names no folder with MNIST"),
    }
}
