//! Broadcast masks: the axes of a tensor that feed a mask's rows and columns.

use crate::{Error, Mask, Result};
use alloc::format;
use alloc::vec::Vec;

/// Largest number of runs of neighboring axes before the last run: the kernel splits an index into
/// as many.
pub const RUNS: usize = 3;

/// Map from the axes of a tensor to `row` and `col` of its mask. Elements that differ only along
/// unmapped axes share one draw.
///
/// `row` and `col` are row-major indices over the axes given for each, in the given order. Over
/// axes `a, b` of sizes `A, B`, an element at `i` along `a` and `j` along `b` has the index
/// `i·B + j`; over no axes the index is 0. A mask broadcast over a tensor is thus the contract's
/// mask `[rows, cols]`, each element of which serves many elements of the tensor.
///
/// | unit of dropping | tensor | row | col | here | elsewhere |
/// |---|---|---|---|---|---|
/// | whole channels | `[N, C, …]` | n | c | [`channels`](Self::channels) | PyTorch `Dropout1d` to `Dropout3d` |
/// | whole channels, channels last | `[N, …, C]` | n | c | [`channels_last`](Self::channels_last) | Keras `SpatialDropout1D` to `3D` |
/// | the same mask at each time step | `[B, T, F]` | b | f | [`over_time`](Self::over_time) | variational dropout |
/// | whole samples | `[B, …]` | b | 0 | [`drop_path`](Self::drop_path) | DropPath, stochastic depth |
///
/// Sources: Tompson et al., "Efficient object localization using convolutional networks", CVPR
/// 2015, section 3.2 (channels); Gal and Ghahramani, "A theoretically grounded application of
/// dropout in recurrent neural networks", NeurIPS 2016, section 4 (time); Huang et al., "Deep
/// networks with stochastic depth", ECCV 2016, section 3 (paths).
///
/// ```
/// use dropout_contract::{AxisMap, Key, Mask, Rate};
///
/// // Channel dropout of 2 images with 3 channels of 4 × 5.
/// let axes = AxisMap::channels(&[2, 3, 4, 5])?;
/// assert_eq!(axes, AxisMap::new(&[2, 3, 4, 5], &[0], &[1])?);
/// assert_eq!((axes.rows(), axes.cols()), (2, 3));
/// let mask = Mask::new(Rate::keep(0.5)?, Key { seed: 42, layer: 0, step: 0 });
/// let bytes = mask.broadcast(&axes)?;
/// assert!(bytes.chunks(20).all(|channel| channel.iter().all(|&kept| kept == channel[0])));
/// # Ok::<(), dropout_contract::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AxisMap {
    shape: Vec<usize>,
    /// Increments of `row` and `col` for a step along each axis.
    steps: Vec<[usize; 2]>,
    rows: usize,
    cols: usize,
    strips: Strips,
}

/// A tensor seen as a matrix: the last run of axes along its columns, the others (at most three)
/// down its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strips {
    /// Rows of the matrix.
    pub rows: usize,
    /// Columns of the matrix.
    pub cols: usize,
    /// Runs of axes before the last one, the outermost first; missing runs have size 1.
    pub runs: [Run; RUNS],
    /// True if the mask's columns run along the matrix's; false if a row shares one draw.
    pub along: bool,
}

/// Neighboring axes that act as one, since `row` and `col` advance along them at equal steps: their
/// joint size, and the increments for one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Number of steps along the run.
    pub size: usize,
    /// Increment of the mask's row.
    pub row: usize,
    /// Increment of the mask's column.
    pub col: usize,
}

impl AxisMap {
    /// Creates the map that takes `row` from `row_axes` and `col` from `col_axes` of a row-major
    /// tensor of this shape.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an axis that the tensor does not have or that is named twice, and if
    /// neighboring axes alternate between `row`, `col` and neither too often: at most three runs of
    /// axes may precede the last one. [`Error::TooLarge`] if the number of elements is too large
    /// for the machine, or for more than 2^32 − 16 rows or columns.
    pub fn new(shape: &[usize], row_axes: &[usize], col_axes: &[usize]) -> Result<Self> {
        let named = [row_axes, col_axes].concat();
        for (i, &axis) in named.iter().enumerate() {
            if axis >= shape.len() {
                return Err(Error::invalid(format!(
                    "axis {axis} of a tensor with {} axes: must be smaller than their number",
                    shape.len()
                )));
            }
            if named[..i].contains(&axis) {
                return Err(Error::invalid(format!(
                    "axis {axis} is mapped twice: an axis may be mapped once, to rows or to columns"
                )));
            }
        }
        shape
            .iter()
            .try_fold(1, |elements, &size| crate::error::elements("tensor", elements, size))?;
        let mut steps = alloc::vec![[0; 2]; shape.len()];
        let mut sizes = [1, 1];
        for (which, axes) in [row_axes, col_axes].into_iter().enumerate() {
            for &axis in axes.iter().rev() {
                steps[axis][which] = sizes[which];
                // Saturates only if another axis is empty.
                sizes[which] = usize::saturating_mul(sizes[which], shape[axis]);
            }
        }
        let bound = u64::from(u32::MAX) - 15;
        for (what, size) in ["rows", "columns"].into_iter().zip(sizes) {
            if size as u64 > bound {
                return Err(Error::TooLarge {
                    what: format!("{what} of a broadcast mask"),
                    value: size as u64,
                    bound,
                });
            }
        }
        let strips = Strips::new(shape, &steps)?;
        Ok(Self { shape: shape.to_vec(), steps, rows: sizes[0], cols: sizes[1], strips })
    }

    /// Returns the map of channel dropout of `[N, C, …]`: row n, column c, one draw for all
    /// positions of a channel.
    ///
    /// # Errors
    /// As [`new`](Self::new); a tensor with fewer than two axes has no channels.
    pub fn channels(shape: &[usize]) -> Result<Self> {
        Self::new(shape, &[0], &[1])
    }

    /// Returns the map of channel dropout of `[N, …, C]`: row n, column c, one draw for all
    /// positions of a channel.
    ///
    /// # Errors
    /// As [`channels`](Self::channels).
    pub fn channels_last(shape: &[usize]) -> Result<Self> {
        Self::new(shape, &[0], &[shape.len().max(2) - 1])
    }

    /// Returns the map of one mask for all time steps of `[B, T, F]`: row b, column f.
    ///
    /// # Errors
    /// As [`new`](Self::new); a tensor with fewer than three axes has no features.
    pub fn over_time(shape: &[usize]) -> Result<Self> {
        Self::new(shape, &[0], &[2])
    }

    /// Returns the map of DropPath (stochastic depth) of `[B, …]`: row b, column 0, one draw for a
    /// whole sample.
    ///
    /// # Errors
    /// As [`new`](Self::new); a tensor without axes has no samples.
    pub fn drop_path(shape: &[usize]) -> Result<Self> {
        Self::new(shape, &[0], &[])
    }

    /// Returns the tensor's shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the number of elements of the tensor.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of rows of the mask.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Returns the number of columns of the mask.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Returns the row and column of the mask for the element at a row-major index of the tensor.
    pub fn place(&self, index: usize) -> (usize, usize) {
        let mut rest = index;
        let mut row = 0;
        let mut col = 0;
        for (&size, &[row_step, col_step]) in self.shape.iter().zip(&self.steps).rev() {
            let along = rest % size.max(1);
            rest /= size.max(1);
            row += along * row_step;
            col += along * col_step;
        }
        (row, col)
    }

    /// Returns the tensor as the kernels see it.
    #[inline]
    pub fn strips(&self) -> &Strips {
        &self.strips
    }
}

impl Strips {
    fn new(shape: &[usize], steps: &[[usize; 2]]) -> Result<Self> {
        let none = Run { size: 1, row: 0, col: 0 };
        if shape.contains(&0) {
            return Ok(Self { rows: 0, cols: 1, runs: [none; RUNS], along: false });
        }
        let mut runs: Vec<Run> = Vec::new();
        for (&size, &[row, col]) in shape.iter().zip(steps).filter(|&(&size, _)| size != 1) {
            match runs.last_mut() {
                // A step along the outer axis advances as far as the whole inner axis, so both are
                // one run.
                Some(last) if [last.row, last.col] == [row * size, col * size] => {
                    *last = Run { size: last.size * size, row, col }
                }
                _ => runs.push(Run { size, row, col }),
            }
        }
        let (cols, along) = match runs.last() {
            Some(&Run { size, row: 0, col: col @ (0 | 1) }) => (size, col == 1),
            _ => (1, false),
        };
        if cols != 1 {
            runs.pop();
        }
        if runs.len() > RUNS {
            return Err(Error::invalid(format!(
                "a mask over {shape:?} has {} runs of axes before the last one: at most {RUNS}",
                runs.len()
            )));
        }
        let mut padded = [none; RUNS];
        padded[RUNS - runs.len()..].copy_from_slice(&runs);
        Ok(Self { rows: runs.iter().map(|run| run.size).product(), cols, runs: padded, along })
    }

    /// Returns the row and column of the mask at which a row of the matrix starts.
    #[inline]
    pub fn place(&self, row: usize) -> (usize, usize) {
        let [first, second, third] = self.runs;
        let indices =
            [row / third.size / second.size, row / third.size % second.size, row % third.size];
        let sum = |step: fn(&Run) -> usize| {
            [first, second, third].iter().zip(indices).map(|(run, i)| i * step(run)).sum()
        };
        (sum(|run| run.row), sum(|run| run.col))
    }
}

impl Mask {
    /// Returns the mask broadcast over a tensor, as bytes 0 and 1, row-major: for an element that
    /// the map places at `(row, col)`, the value of [`keeps`](Self::keeps) there.
    ///
    /// # Errors
    /// As [`check`](Self::check), for the map's rows and columns.
    pub fn broadcast(&self, axes: &AxisMap) -> Result<Vec<u8>> {
        self.check(axes.rows(), axes.cols())?;
        let kept = |index| {
            let (row, col) = axes.place(index);
            u8::from(self.keeps(row, col))
        };
        Ok((0..axes.elements()).map(kept).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Key, Rate};
    use std::string::ToString;

    /// Returns the position of an element by the definition: an index over the named axes, of which
    /// the last varies fastest.
    fn naive(shape: &[usize], axes: &[usize], index: usize) -> usize {
        let along = |axis: usize| index / shape[axis + 1..].iter().product::<usize>() % shape[axis];
        axes.iter().fold(0, |place, &axis| place * shape[axis] + along(axis))
    }

    #[test]
    fn elements_find_their_place_by_element_and_by_strip() {
        let cases: [(&[usize], &[usize], &[usize]); 16] = [
            (&[0, 1 << 40, 1 << 40], &[0], &[]),
            (&[3, 0, 2], &[0], &[2]),
            (&[2, 3, 4, 5], &[0], &[1]),
            (&[2, 4, 5, 3], &[0], &[3]),
            (&[2, 7, 3], &[0], &[2]),
            (&[4, 3, 5], &[0], &[]),
            (&[6, 5], &[0], &[1]),
            (&[6, 5], &[1], &[0]),
            (&[2, 3, 4], &[0, 1], &[2]),
            (&[2, 3, 4], &[], &[0, 1, 2]),
            (&[2, 3, 4], &[2, 0], &[1]),
            (&[2, 3, 4, 5], &[0, 2], &[1, 3]),
            (&[2, 1, 3, 1, 4], &[0, 2], &[4]),
            (&[3], &[], &[]),
            (&[], &[], &[]),
            (&[2, 3, 3], &[], &[2, 1]),
        ];
        for (shape, row_axes, col_axes) in cases {
            let axes = AxisMap::new(shape, row_axes, col_axes).unwrap();
            let strips = axes.strips();
            assert_eq!(strips.rows * strips.cols, axes.elements(), "{axes:?}");
            for index in 0..axes.elements() {
                let right = (naive(shape, row_axes, index), naive(shape, col_axes, index));
                assert_eq!(axes.place(index), right, "{axes:?} at {index}");
                let (row, col) = strips.place(index / strips.cols);
                assert_eq!(
                    (row, col + if strips.along { index % strips.cols } else { 0 }),
                    right,
                    "{axes:?} at {index}"
                );
                assert!(right.0 < axes.rows() && right.1 < axes.cols());
            }
        }
    }

    #[test]
    fn neighbours_of_one_role_are_one_run() {
        let strips = |shape: &[usize], rows: &[usize], cols: &[usize]| {
            *AxisMap::new(shape, rows, cols).unwrap().strips()
        };
        let channels = strips(&[2, 3, 4, 5], &[0], &[1]);
        assert_eq!((channels.rows, channels.cols, channels.along), (6, 20, false));
        let whole = strips(&[2, 3, 4, 5], &[0, 1, 2], &[3]);
        assert_eq!((whole.rows, whole.cols, whole.along), (24, 5, true));
        assert_eq!(whole.runs[2], Run { size: 24, row: 1, col: 0 });
        assert_eq!(strips(&[2, 3, 4], &[], &[]).cols, 24);
    }

    #[test]
    fn helpers_name_the_axes_that_they_say() {
        let (shape, axes) =
            (&[2, 3, 4, 5][..], |cols: &[usize]| AxisMap::new(&[2, 3, 4, 5], &[0], cols).unwrap());
        assert_eq!(AxisMap::channels(shape).unwrap(), axes(&[1]));
        assert_eq!(AxisMap::channels_last(shape).unwrap(), axes(&[3]));
        assert_eq!(AxisMap::over_time(shape).unwrap(), axes(&[2]));
        assert_eq!(AxisMap::drop_path(shape).unwrap(), axes(&[]));
        assert_eq!(axes(&[1]).shape(), shape);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        let refused = |shape: &[usize], rows: &[usize], cols: &[usize]| {
            AxisMap::new(shape, rows, cols).unwrap_err().to_string()
        };
        assert!(refused(&[2, 3], &[2], &[]).contains("axis 2"));
        assert!(refused(&[2, 3], &[0], &[0]).contains("twice"));
        assert!(refused(&[2, 3], &[1, 1], &[]).contains("twice"));
        assert!(refused(&[2; 9], &[0, 2, 4, 6, 8], &[1, 3]).contains("at most 3"));
        assert!(refused(&[0, 1 << 40, 1 << 40], &[1, 2], &[]).contains("rows of a broadcast mask"));
        assert!(refused(&[usize::MAX, 3], &[0], &[1]).contains("at most"));
        assert!(refused(&[1 << 32, 3], &[0], &[1]).contains("rows of a broadcast mask"));
        for helper in [AxisMap::channels, AxisMap::channels_last, AxisMap::over_time] {
            assert!(helper(&[5]).is_err());
        }
        assert!(AxisMap::drop_path(&[]).is_err());
    }

    #[test]
    fn a_map_without_sharing_is_the_mask_itself() {
        let mask =
            Mask::new(Rate::keep(0.4).unwrap(), Key { seed: 9, layer: 2, step: 3 }).at(7, 11);
        let axes = AxisMap::new(&[6, 35], &[0], &[1]).unwrap();
        assert_eq!(mask.broadcast(&axes).unwrap(), mask.bytes(6, 35).unwrap());
        assert!(mask.at(u64::MAX, 0).broadcast(&axes).is_err());
    }
}
