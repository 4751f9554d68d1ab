//! Patches of images and pooling, against the f64 oracle.

use super::check::{Tally, poisoned};
use super::form::Form;
use super::random::Cases;
use crate::call::{Filter, Image, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling};
use crate::{Backend, Result, oracle};

/// Cases: number of images; their height, width and channels; filter side and padding of a
/// convolution; height and width of a pooling window. They are one pixel, ragged, padded, with a
/// remainder, and global.
const CASES: [[usize; 8]; 5] = [
    [1, 1, 1, 1, 1, 0, 1, 1],
    [3, 5, 7, 3, 3, 1, 2, 2],
    [2, 9, 4, 8, 2, 0, 4, 3],
    [5, 12, 12, 1, 5, 2, 12, 12],
    [70, 6, 5, 4, 5, 0, 3, 5],
];

/// Checks the patches of a convolution, pooling, and the gradients of both.
pub(super) fn convolutions<B: Backend>(
    form: &mut Form<B>,
    cases: &mut Cases,
    tally: &mut Tally,
) -> Result<()> {
    for [images, height, width, channels, side, padding, pool_height, pool_width] in CASES {
        let (image, filter) = (Image { height, width, channels }, Filter { side, padding });
        let patches = filter.patches(image)?;
        let what = format!("{} {images} of {image:?}, {filter:?}", form.name);
        let values = cases.noise(images * image.elements());
        let grad = cases.noise(images * patches.elements());
        let on = &mut form.backend;
        let x = on.tensor(images, image.elements(), &values)?;
        let mut y = poisoned(on, images * patches.pixels(), patches.channels)?;
        on.run(Patches { x: &x, image, filter, patches: &mut y })?;
        tally.compare(
            oracle::patches(&values, image, filter, patches)
                .check(&format!("patches {what}"), &on.read(&y)?),
        );
        let grad_patches = on.tensor(images, patches.elements(), &grad)?;
        for scale in [None, Some(1.25)] {
            let mut grad_x = poisoned(on, images, image.elements())?;
            let through = scale.map(|scale| (&x, scale));
            on.run(PatchesGrad {
                grad_patches: &grad_patches,
                image,
                filter,
                grad_x: &mut grad_x,
                through,
            })?;
            let exact = oracle::patches_grad(
                &grad,
                image,
                filter,
                patches,
                scale.map(|scale| (values.as_slice(), scale)),
            );
            tally.compare(
                exact.check(&format!("patches_grad {what} {scale:?}"), &on.read(&grad_x)?),
            );
        }
        for pooling in [Pooling::Max, Pooling::Average] {
            let pool = Pool { pooling, height: pool_height, width: pool_width };
            let pooled = pool.pooled(image)?;
            let what = format!("{} {images} of {image:?}, {pool:?}", form.name);
            let mut y = poisoned(on, images, pooled.elements())?;
            on.run(PoolCall { x: &x, image, pool, y: &mut y })?;
            tally.compare(
                oracle::pool(&values, image, pool, pooled)
                    .check(&format!("pool {what}"), &on.read(&y)?),
            );
            let grad = cases.noise(images * pooled.elements());
            let grad_y = on.tensor(images, pooled.elements(), &grad)?;
            for through in [None, Some(1.25)] {
                let mut grad_x = poisoned(on, images, image.elements())?;
                on.run(PoolGrad {
                    x: &x,
                    image,
                    pool,
                    grad_y: &grad_y,
                    grad_x: &mut grad_x,
                    through,
                })?;
                let exact = oracle::pool_grad(&values, &grad, image, pool, pooled, through);
                tally.compare(
                    exact.check(&format!("pool_grad {what} {through:?}"), &on.read(&grad_x)?),
                );
            }
        }
    }
    Ok(())
}
