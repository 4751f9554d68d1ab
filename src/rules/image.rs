//! Sizes of images, and of the windows that convolution and pooling apply to them.

use crate::shape::{Matrix, elements};
use crate::{Error, Result};

/// Size of an image whose channels are interleaved.
///
/// Element (row, col, channel) has the index `(row·width + col)·channels + channel` in its image.
/// Images follow one another without gaps. A tensor of B images must have
/// `B·height·width·channels` elements; its numbers of rows and columns do not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Image {
    /// Number of rows of pixels.
    pub height: usize,
    /// Number of columns of pixels.
    pub width: usize,
    /// Number of values per pixel.
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

    /// Checks that no size is 0 and that the number of elements does not overflow.
    pub(crate) fn check(&self, kernel: &'static str) -> Result<()> {
        let Self { height, width, channels } = *self;
        if height == 0 || width == 0 || channels == 0 {
            return Err(Error::shape(
                kernel,
                format!("an image of {height}×{width}×{channels}: no size may be 0"),
            ));
        }
        elements(kernel, height, width)
            .and_then(|pixels| elements(kernel, pixels, channels))
            .map(drop)
    }

    /// Returns the number of such images that a tensor holds.
    pub(crate) fn count(
        &self,
        kernel: &'static str,
        name: &str,
        tensor: &impl Matrix,
    ) -> Result<usize> {
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
    pub(crate) fn expect(
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
    /// Number of rows and of columns of a window.
    pub side: usize,
    /// Number of rows and columns of zeros on each side of the image; must be below `side`. With
    /// `(side − 1)/2` and an odd `side`, the output has the image's size.
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

/// Reduction over the elements of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The largest element; a NaN counts as the largest.
    Max,
    /// The mean.
    Average,
}

/// Windows of pooling. They do not overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Reduction of each window.
    pub pooling: Pooling,
    /// Number of rows of a window.
    pub height: usize,
    /// Number of columns of a window.
    pub width: usize,
}

impl Pool {
    /// Returns global pooling: one window of the image's size.
    pub fn global(pooling: Pooling, image: Image) -> Self {
        Self { pooling, height: image.height, width: image.width }
    }

    /// Returns the size of a pooled image. Rows left over at the bottom and columns left over on
    /// the right belong to no window.
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
