//! The call of `patches`.

use super::{Call, DevicePlace, Filter, HostPlace, Image, Place};
use crate::Result;
use crate::cpu::{fast, fast::Isa, reference};
use crate::plan::{Images, Plan, Planner, Stem, own, read, write};

/// Unfolds images into the windows of a convolution, one per row, so that the convolution is a
/// matrix product over them (im2col).
///
/// `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]` inside the image, else 0, where P is
/// the padding. `X` is `[B, H, W, C]`; a filter of side S takes `I·J` windows of an image, so `Y`
/// is `[B·I·J, S·S·C]`.
///
/// Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
/// processing", 2006.
pub struct Patches<P: Place> {
    /// `X`, B images.
    pub x: P::In<f32>,
    /// Size of the images.
    pub image: Image,
    /// Windows of the convolution.
    pub filter: Filter,
    /// `Y`, B images of the size that [`Filter::patches`] returns, written.
    pub patches: P::Out<f32>,
}

own! {
    /// Own words: sizes of an image and of its patches, the numbers of a window's line, and the
    /// padding.
    PatchesOwn {
        channels: u32,
        height: u32,
        width: u32,
        out_height: u32,
        out_width: u32,
        line: u32,
        padding: u32,
    }
}

impl<P: Place> Patches<P> {
    /// The number of images, and the size of an image's patches.
    fn sizes(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches", self.filter.patches(self.image)?);
        let images = self.image.count(kernel, "x", &self.x)?;
        patches.expect(kernel, "patches", &self.patches, images)?;
        Ok((images, patches))
    }
}

impl<P: Place> Call<P> for Patches<P> {
    fn check(&self) -> Result<()> {
        self.sizes().map(drop)
    }

    fn plan<'p>(&'p self, planner: &Planner) -> Result<Plan<'p>>
    where
        P: DevicePlace,
    {
        let (count, patches) = self.sizes()?;
        let Image { height, width, channels } = self.image;
        let x = read("x", P::read(&self.x)).packed();
        let to = write("patches", P::written(&self.patches)).packed();
        planner.images(&Images {
            stem: Stem::Patches,
            count,
            tensors: &[(x, self.image), (to, patches)],
            // Rows are those of the patches.
            shape: [patches.pixels(), patches.channels],
            threads: patches.pixels() as u64 * patches.channels.div_ceil(8) as u64,
            scale: 0.0,
            own: PatchesOwn {
                channels: channels as u32,
                height: height as u32,
                width: width as u32,
                out_height: patches.height as u32,
                out_width: patches.width as u32,
                line: (self.filter.side * channels) as u32,
                padding: self.filter.padding as u32,
            },
            loops: 0,
        })
    }

    fn compute(mut self, isa: Option<Isa>)
    where
        P: HostPlace,
    {
        let Ok((_, made)) = self.sizes() else { return };
        let (x, patches) = (P::values(&self.x), P::values_mut(&mut self.patches));
        match isa {
            Some(_) => fast::patches(x, patches, self.image, self.filter, made),
            None => reference::patches(x, patches, self.image, self.filter, made),
        }
    }
}
