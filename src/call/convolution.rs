//! Calls of a convolution, which is a product over patches of images, and of pooling.

use crate::shape::{Matrix, elements};
use crate::{Error, Result};

/// Images whose channels lie side by side: element (row, col, channel) of an image is `(row·width +
/// col)·channels + channel` of its numbers, and images follow one another. A tensor of B images has
/// `B·height·width·channels` elements, whatever its rows and columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Rows of pixels.
    pub height: usize,
    /// Columns of pixels.
    pub width: usize,
    /// Numbers of a pixel.
    pub channels: usize,
}

impl Image {
    /// Pixels of an image.
    pub fn pixels(&self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Numbers of an image.
    pub fn elements(&self) -> usize {
        self.pixels().saturating_mul(self.channels)
    }

    /// Refuses an image of nothing, or of more than can be counted.
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

    /// How many of them a tensor holds.
    fn count(&self, kernel: &'static str, name: &str, tensor: &impl Matrix) -> Result<usize> {
        self.check(kernel)?;
        let (len, each) = (elements(name, tensor.rows(), tensor.cols())?, self.elements());
        match len.is_multiple_of(each) {
            true => Ok(len / each),
            false => Err(Error::shape(
                kernel,
                format!("{name} has {len} elements, no whole number of images of {each}"),
            )),
        }
    }

    /// Refuses a tensor that does not hold so many of them.
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

/// The square windows that a convolution takes of an image, one at every pixel where it fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filter {
    /// Rows and columns of a window.
    pub side: usize,
    /// Rows and columns of zeros around the image, fewer than `side`. `(side − 1)/2` of them keep
    /// an image's size.
    pub padding: usize,
}

impl Filter {
    /// The patches of an image as an image: a pixel for each window, and what the window holds as
    /// its channels.
    ///
    /// # Errors
    /// [`Error::Shape`] where no window fits, or where one could lie in the padding alone.
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
            "windows of {side}×{side} on {height}×{width} and a padding of {padding}, which must be below their side"
        );
        Err(Error::shape("patches", what))
    }
}

/// The windows of images, a row each: a convolution is a matrix product over them.
///
/// `Y[(b, i, j), (u, v, c)] = X[b, i + u − P, j + v − P, c]` inside of the image, else 0, with P
/// the padding. Source: Chellapilla, Puri, Simard, "High performance convolutional neural networks
/// for document processing", 2006.
#[derive(Debug)]
pub struct Patches<'a, T> {
    /// B images.
    pub x: &'a T,
    /// Of which size.
    pub image: Image,
    /// Which windows.
    pub filter: Filter,
    /// `Y`, B of the images that [`Filter::patches`] tells, written.
    pub patches: &'a mut T,
}

impl<T: Matrix> Patches<'_, T> {
    /// The number of images, and what becomes of one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches", self.filter.patches(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        patches.expect(kernel, "patches", self.patches, images)?;
        Ok((images, patches))
    }
}

/// The way back through [`Patches`]: `dX[b, h, w, c] = Σ_uv dY[(b, h + P − u, w + P − v), (u, v,
/// c)]`, of the windows that there are.
#[derive(Debug)]
pub struct PatchesGrad<'a, T> {
    /// `dY`, as the patches.
    pub grad_patches: &'a T,
    /// Of which size the images are.
    pub image: Image,
    /// Which windows.
    pub filter: Filter,
    /// `dX`, B images, written.
    pub grad_x: &'a mut T,
    /// The images `X` and the scale of their dropout, where they are the output of a ReLU and
    /// dropout to go back through as well.
    pub through: Option<(&'a T, f32)>,
}

impl<T: Matrix> PatchesGrad<'_, T> {
    /// The number of images, and what became of one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, patches) = ("patches_grad", self.filter.patches(self.image)?);
        let images = self.image.count(kernel, "grad_x", self.grad_x)?;
        patches.expect(kernel, "grad_patches", self.grad_patches, images)?;
        self.through.map_or(Ok(()), |(x, _)| self.image.expect(kernel, "through", x, images))?;
        Ok((images, patches))
    }
}

/// What is made of the elements of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The largest; a NaN is larger than all.
    Max,
    /// The mean.
    Average,
}

/// The windows of pooling, side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// What is made of each.
    pub pooling: Pooling,
    /// Rows of a window.
    pub height: usize,
    /// Columns of a window.
    pub width: usize,
}

impl Pool {
    /// One window, the whole image: global pooling.
    pub fn global(pooling: Pooling, image: Image) -> Self {
        Self { pooling, height: image.height, width: image.width }
    }

    /// What becomes of an image; what is left over at the end of rows and columns is in no window.
    ///
    /// # Errors
    /// [`Error::Shape`] where no window fits.
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

/// The largest element or the mean of each window of images, channel by channel.
///
/// `Y[b, i, j, c] = max or mean over u, v of X[b, i·U + u, j·V + v, c]`. Sources: LeCun, Bottou,
/// Bengio, Haffner, "Gradient-based learning applied to document recognition", 1998; global: Lin,
/// Chen, Yan, "Network in network", ICLR 2014.
#[derive(Debug)]
pub struct PoolCall<'a, T> {
    /// B images.
    pub x: &'a T,
    /// Of which size.
    pub image: Image,
    /// Windows.
    pub pool: Pool,
    /// `Y`, B of the images that [`Pool::pooled`] tells, written.
    pub y: &'a mut T,
}

impl<T: Matrix> PoolCall<'_, T> {
    /// The number of images, and what becomes of one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool", self.pool.pooled(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        pooled.expect(kernel, "y", self.y, images)?;
        Ok((images, pooled))
    }
}

/// The way back through [`PoolCall`]: a mean's gradient goes to its window in equal shares, a
/// maximum's to the first of the largest elements.
#[derive(Debug)]
pub struct PoolGrad<'a, T> {
    /// `X` of the forward pass, B images.
    pub x: &'a T,
    /// Of which size.
    pub image: Image,
    /// Windows.
    pub pool: Pool,
    /// `dY`, as `Y`.
    pub grad_y: &'a T,
    /// `dX`, B images, written.
    pub grad_x: &'a mut T,
    /// Where `X` is the output of ReLU and dropout, the scale of that dropout: `dX` is then gone
    /// back through both.
    pub through: Option<f32>,
}

impl<T: Matrix> PoolGrad<'_, T> {
    /// The number of images, and what became of one.
    pub(crate) fn check(&self) -> Result<(usize, Image)> {
        let (kernel, pooled) = ("pool_grad", self.pool.pooled(self.image)?);
        let images = self.image.count(kernel, "x", self.x)?;
        pooled.expect(kernel, "grad_y", self.grad_y, images)?;
        self.image.expect(kernel, "grad_x", self.grad_x, images)?;
        Ok((images, pooled))
    }
}
