//! The call of `pool_grad`.

use super::pool::PoolOwn;
use super::{Call, DevicePlace, check_through, HostPlace, Image, Place, Pool, through_flag};
use crate::Result;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Images, Plan, Planner, Stem, read, write};
use crate::rules::range::range;

/// Backward pass of [`PoolCall`](super::PoolCall).
///
/// For the mean, every element of a window receives `dX = dY/(U·V)`. For the maximum, the first of
/// the largest elements receives `dX = dY` and the others 0. Elements in no window receive 0.
///
/// Sources: as [`PoolCall`](super::PoolCall).
pub struct PoolGrad<P: Place> {
    /// `X` of the forward pass, B images.
    pub x: P::In<f32>,
    /// Size of the images.
    pub image: Image,
    /// Windows and reduction.
    pub pool: Pool,
    /// `dY`, in the shape of `Y`.
    pub grad_y: P::In<f32>,
    /// `dX`, B images, written.
    pub grad_x: P::Out<f32>,
    /// Scale of the dropout that produced `X`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
    #[doc = concat!("It is ", range!(SCALE), ".")]
    pub through: Option<f32>,
}

impl<P: Place> PoolGrad<P> {
    /// The number of images, and the size of a pooled one.
    fn sizes(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool_grad", self.pool.pooled(self.image)?);
        check_through(self.through)?;
        let images = self.image.count(kernel, "x", &self.x)?;
        pooled.expect(kernel, "grad_y", &self.grad_y, images)?;
        self.image.expect(kernel, "grad_x", &self.grad_x, images)?;
        Ok((images, pooled))
    }
}

impl<P: Place> Call<P> for PoolGrad<P> {
    fn check(&self) -> Result<()> {
        self.sizes().map(drop)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        let (count, pooled) = self.sizes()?;
        let mut own = PoolOwn::new(self.image, self.pool, pooled);
        own.flags |= through_flag(&self.through);
        // A thread a window, also of those that the end of the image cuts.
        let Image { height, width, channels } = self.image;
        let windows = height.div_ceil(self.pool.height) * width.div_ceil(self.pool.width);
        planner.images(&Images {
            stem: Stem::PoolGrad,
            count,
            tensors: &[
                (read("x", P::read(&self.x)).packed(), self.image),
                (read("grad_y", P::read(&self.grad_y)).packed(), pooled),
                (write("grad_x", P::written(&self.grad_x)).packed(), self.image),
            ],
            shape: [1, 0],
            threads: (windows * channels) as u64,
            scale: self.through.unwrap_or(0.0),
            own,
            loops: 2 * (u64::from(own.area) + 1),
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let Ok((_, made)) = self.sizes() else { return };
        let (x, dy) = (P::values(&self.x), P::values(&self.grad_y));
        let (dx, through) = (P::values_mut(&mut self.grad_x), self.through);
        match isa {
            Some(_) => fast::pool_grad(x, dy, dx, self.image, self.pool, made, through),
            None => reference::pool_grad(x, dy, dx, self.image, self.pool, made, through),
        }
    }
}
