//! The call of `pool`.

use super::{Call, DevicePlace, HostPlace, Image, Place, Pool, Pooling};
use crate::Result;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Images, Plan, Planner, Stem, own, read, write};

/// Pooling: the largest element or the mean of each window of images, channel by channel.
///
/// `Y[b, i, j, c] = max or mean over u, v of X[b, i·U + u, j·V + v, c]` with windows of U×V pixels.
/// `X` is `[B, H, W, C]` and `Y` is `[B, ⌊H/U⌋, ⌊W/V⌋, C]`.
///
/// Sources: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
/// recognition", 1998; global: Lin, Chen, Yan, "Network in network", ICLR 2014.
pub struct PoolCall<P: Place> {
    /// `X`, B images.
    pub x: P::In<f32>,
    /// Size of the images.
    pub image: Image,
    /// Windows and reduction.
    pub pool: Pool,
    /// `Y`, B images of the size that [`Pool::pooled`] returns, written.
    pub y: P::Out<f32>,
}

/// Flag: a window's mean is taken, not its largest element.
pub(super) const AVERAGE: u32 = 1;

own! {
    /// Own words: sizes of an image, of the pooled image and of a window, whose area's inverse
    /// is the factor of a mean; flags.
    PoolOwn {
        channels: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        window_height: u32,
        window_width: u32,
        area: u32,
        inverse_area: f32,
        flags: u32,
    }
}

impl PoolOwn {
    /// The words for windows of an image. Sizes that are no u32 are those of no tensor.
    pub(super) fn new(image: Image, pool: Pool, pooled: Image) -> Self {
        let area = pool.height * pool.width;
        Self {
            channels: image.channels as u32,
            height: image.height as u32,
            width: image.width as u32,
            out_height: pooled.height as u32,
            out_width: pooled.width as u32,
            window_height: pool.height as u32,
            window_width: pool.width as u32,
            area: area as u32,
            inverse_area: (1.0 / area as f64) as f32,
            flags: if pool.pooling == Pooling::Average { AVERAGE } else { 0 },
        }
    }
}

impl<P: Place> PoolCall<P> {
    /// The number of images, and the size of a pooled one.
    fn sizes(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool", self.pool.pooled(self.image)?);
        let images = self.image.count(kernel, "x", &self.x)?;
        pooled.expect(kernel, "y", &self.y, images)?;
        Ok((images, pooled))
    }
}

impl<P: Place> Call<P> for PoolCall<P> {
    fn check(&self) -> Result<()> {
        self.sizes().map(drop)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        let (count, pooled) = self.sizes()?;
        let own = PoolOwn::new(self.image, self.pool, pooled);
        planner.images(&Images {
            stem: Stem::Pool,
            count,
            tensors: &[
                (read("x", P::read(&self.x)).packed(), self.image),
                (write("y", P::written(&self.y)).packed(), pooled),
            ],
            shape: [1, 0],
            threads: pooled.elements() as u64,
            scale: 0.0,
            own,
            loops: u64::from(own.area) + 1,
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let Ok((_, made)) = self.sizes() else { return };
        let (x, y) = (P::values(&self.x), P::values_mut(&mut self.y));
        match isa {
            Some(_) => fast::pool(x, y, self.image, self.pool, made),
            None => reference::pool(x, y, self.image, self.pool, made),
        }
    }
}
