//! Calls of a convolution, which is a product over patches of images, and of pooling.

use crate::shape::{Matrix, elements};
use crate::{Error, Result};

/// Size of an image whose channels are interleaved.
///
/// Element (row, col, channel) is number `(row·width + col)·channels + channel` of the image, and
/// images follow one another. A tensor of B images has `B·height·width·channels` elements, whatever
/// its rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Numbers per pixel.
    pub channels: usize,
}

impl Image {
    /// Returns the number of pixels.
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Returns the number of elements: pixels times channels.
    pub fn elements(&self) -> usize {
        self.pixels().saturating_mul(self.channels)
    }

    /// Checks that no size is 0 and that the elements can be counted.
    pub(crate) fn check(&self, kernel: &'static str) -> Result<()> {
        let Self { height, width, channels } = *self;
        if height == 0 || width == 0 || channels == 0 {
            return Err(Error::shape(
                kernel,
                format!("an image of {height}×{width}×{channels}: none may be 0"),
            ));
        }
        elements(kernel, height, width)
            .and_then(|pixels| elements(kernel, pixels, channels))
            .map(drop)
    }

    /// Returns the number of such images that a tensor holds.
    fn count(&self, kernel: &'static str, name: &str, tensor: &impl Matrix) -> Result<usize> {
        self.check(kernel)?;
        let (len, each) = (elements(name, tensor.rows(), tensor.cols())?, self.elements());
        match len.is_multiple_of(each) {
            true => Ok(len / each),
            false => Err(Error::shape(
                kernel,
                format!("{name} has {len} elements, not a whole number of images of {each}"),
            )),
        }
    }

    /// Checks that a tensor holds `images` such images.
    fn expect(
        &self,
        kernel: &'static str,
        name: &str,
        tensor: &impl Matrix,
        images: usize,
    ) -> Result<()> {
        let held = self.count(kernel, name, tensor)?;
        match held == images {
            true => Ok(()),
            false => {
                let Self { height, width, channels } = self;
                Err(Error::shape(
                    kernel,
                    format!(
                        "{name} holds {held} images of {height}×{width}×{channels}, expected {images}"
                    ),
                ))
            }
        }
    }
}

/// Square windows of a convolution, at every position of the image where one fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Rows and columns of a window.
    pub side: usize,
    /// Rows and columns of zeros around the image; must be below `side`. With `(side − 1)/2` the
    /// output keeps the image's size.
    pub padding: usize,
}

impl Filter {
    /// Returns the size of an image's patches, seen as an image: one pixel per window, whose
    /// channels are the window's elements.
    ///
    /// # Errors
    /// [`Error::Shape`] if no window fits, or if a window could lie entirely in the padding.
    pub fn patches(&self, image: Image) -> Result<Image> {
        let Self { side, padding } = *self;
        image.check("patches")?;
        let places = |length: usize| {
            length.checked_add(2 * padding)?.checked_sub(side - 1).filter(|&places| places > 0)
        };
        let area = side.checked_mul(side).and_then(|area| area.checked_mul(image.channels));
        if padding < side && side < usize::MAX / 2 {
            if let (Some(height), Some(width), Some(channels)) =
                (places(image.height), places(image.width), area)
            {
                return Ok(Image { height, width, channels });
            }
        }
        let Image { height, width, .. } = image;
        let what = format!(
            "windows of {side}×{side} on {height}×{width} with a padding of {padding}: the padding must be smaller than the window, and a window must fit"
        );
        Err(Error::shape("patches", what))
    }
}

/// Unfolds images into the windows of a convolution, one per row, so that the convolution is a
/// matrix product over them (im2col).
///
/// `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]` inside the image, else 0, where P is
/// the padding. `X` is `[B, H, W, C]`; a filter of side S takes `I·J` windows of an image, so `Y`
/// is `[B·I·J, S·S·C]`.
///
/// Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks for document
/// processing", 2006.
#[derive(Debug)]
pub struct Patches<'a, T> {
    /// `X`, B images.
    pub x: &'a T,
    /// Size of the images.
    pub image: Image,
    /// Windows of the convolution.
    pub filter: Filter,
    /// `Y`, B images of the size that [`Filter::patches`] returns, written.
    pub patches: &'a mut T,
}

impl<T: Matrix> Patches<'_, T> {
    /// Checks the shapes; returns the number of images and the size of one image's patches.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches", self.filter.patches(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        patches.expect(kernel, "patches", self.patches, images)?;
        Ok((images, patches))
    }
}

/// Backward pass of [`Patches`] (col2im).
///
/// Each element of an image sums the gradients of the patches that contain it:
/// `dX[b, h, w, c] = Σ_uv dY[(b, h + P − u, w + P − v), (u, v, c)]`, over the windows that exist.
///
/// Source: as [`Patches`].
#[derive(Debug)]
pub struct PatchesGrad<'a, T> {
    /// `dY`, in the shape of the patches.
    pub grad_patches: &'a T,
    /// Size of the images.
    pub image: Image,
    /// Windows of the convolution.
    pub filter: Filter,
    /// `dX`, B images, written.
    pub grad_x: &'a mut T,
    /// `X` of the forward pass and its dropout's scale, if the images are the output of ReLU and
    /// dropout and the gradient is to pass back through both.
    pub through: Option<(&'a T, f32)>,
}

impl<T: Matrix> PatchesGrad<'_, T> {
    /// Checks the shapes; returns the number of images and the size of one image's patches.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches_grad", self.filter.patches(self.image)?);
        let images = self.image.count(kernel, "grad_x", self.grad_x)?;
        patches.expect(kernel, "grad_patches", self.grad_patches, images)?;
        self.through.map_or(Ok(()), |(x, _)| self.image.expect(kernel, "through", x, images))?;
        Ok((images, patches))
    }
}

/// Reduction over the elements of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The largest element; a NaN counts as the largest.
    Max,
    /// The mean.
    Average,
}

/// Windows of pooling, which do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Reduction of each window.
    pub pooling: Pooling,
    /// Rows of a window.
    pub height: usize,
    /// Columns of a window.
    pub width: usize,
}

impl Pool {
    /// Returns global pooling: one window, the size of the image.
    pub fn global(pooling: Pooling, image: Image) -> Self {
        Self { pooling, height: image.height, width: image.width }
    }

    /// Returns the size of a pooled image. Rows and columns left over at the end belong to no
    /// window.
    ///
    /// # Errors
    /// [`Error::Shape`] if no window fits.
    pub fn pooled(&self, image: Image) -> Result<Image> {
        image.check("pool")?;
        let Self { height, width, .. } = *self;
        if height == 0 || width == 0 || height > image.height || width > image.width {
            return Err(Error::shape(
                "pool",
                format!("windows of {height}×{width} on {}×{}", image.height, image.width),
            ));
        }
        Ok(Image { height: image.height / height, width: image.width / width, ..image })
    }
}

/// Pooling: the largest element or the mean of each window of images, channel by channel.
///
/// `Y[b, i, j, c] = max or mean over u, v of X[b, i·U + u, j·V + v, c]` with windows of U×V pixels.
/// `X` is `[B, H, W, C]` and `Y` is `[B, ⌊H/U⌋, ⌊W/V⌋, C]`.
///
/// Sources: LeCun, Bottou, Bengio, Haffner, "Gradient-based learning applied to document
/// recognition", 1998; global: Lin, Chen, Yan, "Network in network", ICLR 2014.
#[derive(Debug)]
pub struct PoolCall<'a, T> {
    /// `X`, B images.
    pub x: &'a T,
    /// Size of the images.
    pub image: Image,
    /// Windows and reduction.
    pub pool: Pool,
    /// `Y`, B images of the size that [`Pool::pooled`] returns, written.
    pub y: &'a mut T,
}

impl<T: Matrix> PoolCall<'_, T> {
    /// Checks the shapes; returns the number of images and the size of a pooled one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool", self.pool.pooled(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        pooled.expect(kernel, "y", self.y, images)?;
        Ok((images, pooled))
    }
}

/// Backward pass of [`PoolCall`].
///
/// For the mean, every element of a window receives `dX = dY/(U·V)`. For the maximum, the first of
/// the largest elements receives `dX = dY` and the others 0. Elements in no window receive 0.
///
/// Sources: as [`PoolCall`].
#[derive(Debug)]
pub struct PoolGrad<'a, T> {
    /// `X` of the forward pass, B images.
    pub x: &'a T,
    /// Size of the images.
    pub image: Image,
    /// Windows and reduction.
    pub pool: Pool,
    /// `dY`, in the shape of `Y`.
    pub grad_y: &'a T,
    /// `dX`, B images, written.
    pub grad_x: &'a mut T,
    /// Scale of the dropout that produced `X`, if `X` is the output of ReLU and dropout and the
    /// gradient is to pass back through both.
    pub through: Option<f32>,
}

impl<T: Matrix> PoolGrad<'_, T> {
    /// Checks the shapes; returns the number of images and the size of a pooled one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool_grad", self.pool.pooled(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        pooled.expect(kernel, "grad_y", self.grad_y, images)?;
        self.image.expect(kernel, "grad_x", self.grad_x, images)?;
        Ok((images, pooled))
    }
}
