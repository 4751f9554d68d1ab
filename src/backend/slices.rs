//! Matrices in a caller's own memory, on which the CPU backend runs calls without a copy.

use super::{Cpu, Element};
use crate::call::{Call, HostPlace, Place};
use crate::shape::{Matrix, elements};
use crate::{Dropout, Error, Result};

/// Row-major matrix in a caller's memory, which a call reads.
#[derive(Debug, Clone, Copy)]
pub struct Slice<'a, T> {
    values: &'a [T],
    rows: usize,
    cols: usize,
}

/// Row-major matrix in a caller's memory, which a call writes.
#[derive(Debug)]
pub struct SliceMut<'a, T> {
    values: &'a mut [T],
    rows: usize,
    cols: usize,
}

/// Refuses a slice whose length is not `rows · cols`.
fn check(len: usize, rows: usize, cols: usize) -> Result<()> {
    match elements("tensor", rows, cols)? {
        needed if needed == len => Ok(()),
        needed => Err(Error::invalid(format!(
            "a slice of {len} elements for a {rows}×{cols} matrix, which has {needed}"
        ))),
    }
}

impl<'a, T> Slice<'a, T> {
    /// Returns a slice as a matrix.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its length is not `rows · cols`.
    pub fn new(values: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        check(values.len(), rows, cols)?;
        Ok(Self { values, rows, cols })
    }
}

impl<'a, T> SliceMut<'a, T> {
    /// Returns a slice as a matrix.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its length is not `rows · cols`.
    pub fn new(values: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        check(values.len(), rows, cols)?;
        Ok(Self { values, rows, cols })
    }
}

impl<T> Matrix for Slice<'_, T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

impl<T> Matrix for SliceMut<'_, T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }
}

/// Place of tensors that are [`Slice`]s of a caller's memory.
#[derive(Debug, Clone, Copy)]
pub struct Slices<'a>(std::marker::PhantomData<&'a ()>);

impl<'a> Place for Slices<'a> {
    type In<T: Element> = Slice<'a, T>;
    type Out<T: Element> = SliceMut<'a, T>;
}

impl HostPlace for Slices<'_> {
    fn values_as<T: Element>(tensor: &Self::In<T>) -> &[T] {
        tensor.values
    }

    fn values_mut_as<T: Element>(tensor: &mut Self::Out<T>) -> &mut [T] {
        tensor.values
    }
}

impl Cpu {
    /// Runs a call on slices of the caller's memory, without a copy.
    ///
    /// ```
    /// use wgpu_dropout::call::DropoutCall;
    /// use wgpu_dropout::{Cpu, Dropout, Key, Mask, Mode, Rate, Slice, SliceMut};
    ///
    /// let mask = Mask::new(Rate::drop(0.5)?, Key { seed: 42, layer: 0, step: 0 });
    /// let (x, mut y) = ([1.0f32; 6], [0.0f32; 6]);
    /// Cpu::new().run_on_slices(DropoutCall {
    ///     x: Slice::new(&x, 2, 3)?,
    ///     y: SliceMut::new(&mut y, 2, 3)?,
    ///     dropout: Dropout::train(Mode::Inverted, mask),
    /// })?;
    /// let kept: Vec<u8> = y.iter().map(|&y| u8::from(y == 2.0)).collect();
    /// assert_eq!(kept, mask.bytes(2, 3)?);
    /// # Ok::<(), wgpu_dropout::Error>(())
    /// ```
    ///
    /// # Errors
    /// Those of the call's [`check`](Call::check).
    pub fn run_on_slices<'a>(&mut self, call: impl Call<Slices<'a>>) -> Result<()> {
        self.compute(call)
    }

    /// Computes `x = M·s·x` in place, for the rows of `cols` elements of `x`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `x` does not consist of whole rows, or for a scale out of its range;
    /// [`Error::TooLarge`] past the mask contract's coordinates.
    pub fn dropout_in_place(
        &mut self,
        x: &mut [f32],
        cols: usize,
        dropout: &Dropout,
    ) -> Result<()> {
        let rows = x.len().checked_div(cols).unwrap_or(0);
        check(x.len(), rows, cols)?;
        crate::call::check_dropout(dropout, rows, cols)?;
        self.dropout_there(x, cols, dropout);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::DropoutCall;
    use crate::cpu::fast::Isa;
    use crate::{Backend, Key, Mask, Mode, Rate};

    #[test]
    fn dropout_in_place_and_on_slices_has_the_bits_of_tensors() {
        let isas = Isa::available().into_iter().map(Cpu::with_isa);
        for mut cpu in isas.chain([Cpu::reference()]) {
            for (rows, cols) in [(0, 5), (3, 0), (1, 1), (7, 13), (3, 64), (2, 70_000)] {
                for keep in [0.0, 0.3, 1.0] {
                    let key = Key { seed: 7, layer: 1, step: 2 };
                    let mask = Mask::new(Rate::keep(keep).unwrap(), key).at(11, 5);
                    let dropout = Dropout::train(Mode::Inverted, mask);
                    let values: Vec<f32> = (0..rows * cols).map(|i| (i as f32).sin()).collect();
                    let x = cpu.tensor(rows, cols, &values).unwrap();
                    let mut right = cpu.zeros(rows, cols).unwrap();
                    cpu.run(DropoutCall { x: &x, y: &mut right, dropout }).unwrap();
                    let mut y = vec![f32::NAN; rows * cols];
                    cpu.run_on_slices(DropoutCall {
                        x: Slice::new(&values, rows, cols).unwrap(),
                        y: SliceMut::new(&mut y, rows, cols).unwrap(),
                        dropout,
                    })
                    .unwrap();
                    assert_eq!(y, right.values());
                    let mut there = values;
                    cpu.dropout_in_place(&mut there, cols, &dropout).unwrap();
                    assert_eq!(there, right.values());
                }
            }
        }
    }

    #[test]
    fn a_slice_of_another_length_is_refused() {
        let (mut y, mut cpu) = ([0.0f32; 6], Cpu::new());
        assert!(matches!(Slice::new(&y, 2, 4), Err(Error::Invalid { .. })));
        assert!(matches!(Slice::new(&y, usize::MAX, 4), Err(Error::TooLarge { .. })));
        assert!(matches!(SliceMut::new(&mut y, 2, 4), Err(Error::Invalid { .. })));
        for cols in [4, 0] {
            let refused = cpu.dropout_in_place(&mut y, cols, &Dropout::NONE);
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{cols}");
        }
    }
}
