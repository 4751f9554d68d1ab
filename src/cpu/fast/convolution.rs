//! `patches`, `pool` and their backward passes on all threads. Each job is a number of whole
//! images, so results equal those of the reference to the bit.

use crate::cpu::reference;
use crate::rules::{Filter, Image, Pool};
use rayon::prelude::*;

/// Number of elements in a job. With fewer, a second thread costs more than it gains.
const JOB: usize = 1 << 14;

/// Returns the number of images in a job. `elements` is the size of an image in the larger of the
/// two tensors.
fn job(elements: usize) -> usize {
    (JOB / elements.max(1)).max(1)
}

/// See [`reference::patches`].
pub fn patches(x: &[f32], y: &mut [f32], image: Image, filter: Filter, patches: Image) {
    let images = job(patches.elements());
    let jobs =
        x.par_chunks(images * image.elements()).zip(y.par_chunks_mut(images * patches.elements()));
    jobs.for_each(|(x, y)| reference::patches(x, y, image, filter, patches));
}

/// See [`reference::patches_grad`].
pub fn patches_grad(
    grad_y: &[f32],
    grad_x: &mut [f32],
    image: Image,
    filter: Filter,
    patches: Image,
    through: Option<(&[f32], f32)>,
) {
    let images = job(patches.elements());
    let (inputs, outputs) = (images * image.elements(), images * patches.elements());
    let jobs = grad_y.par_chunks(outputs).zip(grad_x.par_chunks_mut(inputs)).enumerate();
    jobs.for_each(|(job, (grad_y, grad_x))| {
        let through = through.map(|(x, scale)| (&x[job * inputs..][..grad_x.len()], scale));
        reference::patches_grad(grad_y, grad_x, image, filter, patches, through);
    });
}

/// See [`reference::pool`].
pub fn pool(x: &[f32], y: &mut [f32], image: Image, pool: Pool, pooled: Image) {
    let images = job(image.elements());
    let jobs =
        x.par_chunks(images * image.elements()).zip(y.par_chunks_mut(images * pooled.elements()));
    jobs.for_each(|(x, y)| reference::pool(x, y, image, pool, pooled));
}

/// See [`reference::pool_grad`].
pub fn pool_grad(
    x: &[f32],
    grad_y: &[f32],
    grad_x: &mut [f32],
    image: Image,
    pool: Pool,
    pooled: Image,
    through: Option<f32>,
) {
    let images = job(image.elements());
    let (inputs, outputs) = (images * image.elements(), images * pooled.elements());
    let jobs =
        x.par_chunks(inputs).zip(grad_y.par_chunks(outputs)).zip(grad_x.par_chunks_mut(inputs));
    jobs.for_each(|((x, grad_y), grad_x)| {
        reference::pool_grad(x, grad_y, grad_x, image, pool, pooled, through)
    });
}
