//! The call of `patches_grad`.

use super::{Call, DevicePlace, check_through, Filter, HostPlace, Image, Place, through_flag};
use crate::Result;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Images, Plan, Planner, Stem, own, read, write};
use crate::rules::range::range;

/// Backward pass of [`Patches`](super::Patches) (col2im).
///
/// Each element of an image sums the gradients of the patches that contain it:
/// `dX[b, h, w, c] = Σ_uv dY[(b, h + P − u, w + P − v), (u, v, c)]`, over the windows that exist.
///
/// Source: as [`Patches`](super::Patches).
pub struct PatchesGrad<P: Place> {
    /// `dY`, in the shape of the patches.
    pub grad_patches: P::In<f32>,
    /// Size of the images.
    pub image: Image,
    /// Windows of the convolution.
    pub filter: Filter,
    /// `dX`, B images, written.
    pub grad_x: P::Out<f32>,
    /// `X` of the forward pass and its dropout's scale, if the images are the output of ReLU and
    /// dropout and the gradient is to pass back through both.
    #[doc = concat!("The scale is ", range!(SCALE), ".")]
    pub through: Option<(P::In<f32>, f32)>,
}

own! {
    /// Own words: sizes of an image and of its patches, the windows' side and area, the padding,
    /// flags.
    PatchesGradOwn {
        channels: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        side: u32,
        area: u32,
        padding: u32,
        flags: u32,
    }
}

impl<P: Place> PatchesGrad<P> {
    /// The number of images, and the size of an image's patches.
    fn sizes(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches_grad", self.filter.patches(self.image)?);
        check_through(self.through.as_ref().map(|(_, scale)| *scale))?;
        let images = self.image.count(kernel, "grad_x", &self.grad_x)?;
        patches.expect(kernel, "grad_patches", &self.grad_patches, images)?;
        let through = self.through.as_ref();
        through.map_or(Ok(()), |(x, _)| self.image.expect(kernel, "through", x, images))?;
        Ok((images, patches))
    }
}

impl<P: Place> Call<P> for PatchesGrad<P> {
    fn check(&self) -> Result<()> {
        self.sizes().map(drop)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        let (count, patches) = self.sizes()?;
        let Image { height, width, channels } = self.image;
        let side = self.filter.side;
        let from = read("grad_patches", P::read(&self.grad_patches)).packed();
        let to = write("grad_x", P::written(&self.grad_x)).packed();
        // A tensor that the call lacks is never read, but needs something to be bound.
        let through = self
            .through
            .as_ref()
            .map_or((from, patches), |(x, _)| (read("through", P::read(x)).packed(), self.image));
        let area = (side * side) as u32;
        planner.images(&Images {
            stem: Stem::PatchesGrad,
            count,
            tensors: &[(from, patches), through, (to, self.image)],
            shape: [1, 0],
            threads: self.image.elements() as u64,
            scale: self.through.as_ref().map_or(1.0, |(_, scale)| *scale),
            own: PatchesGradOwn {
                channels: channels as u32,
                height: height as u32,
                width: width as u32,
                out_height: patches.height as u32,
                out_width: patches.width as u32,
                side: side as u32,
                area,
                padding: self.filter.padding as u32,
                flags: through_flag(&self.through),
            },
            loops: u64::from(area) + 1,
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let Ok((_, made)) = self.sizes() else { return };
        let (dy, dx) = (P::values(&self.grad_patches), P::values_mut(&mut self.grad_x));
        let through = self.through.as_ref().map(|(x, scale)| (P::values(x), *scale));
        match isa {
            Some(_) => fast::patches_grad(dy, dx, self.image, self.filter, made, through),
            None => reference::patches_grad(dy, dx, self.image, self.filter, made, through),
        }
    }
}
