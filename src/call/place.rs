//! Places where a call's tensors can lie.

use crate::Matrix;
use crate::plan::View;

/// Type of a tensor's elements: f32, u32 or u8.
pub trait Element: bytemuck::Pod + Default + std::fmt::Debug + Send + Sync + 'static {}
impl Element for f32 {}
impl Element for u32 {}
impl Element for u8 {}

/// Place of a call's tensors: [`On`](crate::backend::On) a backend, or [`Views`] of buffers.
///
/// A call such as [`DropoutCall`](super::DropoutCall) is generic over its place, so that the same
/// struct serves the CPU, a [`Gpu`](crate::gpu::Gpu) and a caller's own device.
pub trait Place {
    /// Tensor that a kernel reads.
    type In<T: Element>: Matrix + Copy;
    /// Tensor that a kernel writes.
    type Out<T: Element>: Matrix;
}

/// Place whose tensors lie in buffers of a device.
pub trait DevicePlace: Place {
    /// Returns the range of a buffer that holds a tensor.
    fn read_as<T: Element>(tensor: &Self::In<T>) -> View<'_>;

    /// Returns the range of a buffer that holds a written tensor.
    fn written_as<T: Element>(tensor: &Self::Out<T>) -> View<'_>;

    /// Returns the range of a buffer that holds an f32 tensor.
    fn read(tensor: &Self::In<f32>) -> View<'_> {
        Self::read_as::<f32>(tensor)
    }

    /// Returns the range of a buffer that holds a written f32 tensor.
    fn written(tensor: &Self::Out<f32>) -> View<'_> {
        Self::written_as::<f32>(tensor)
    }
}

/// Place whose tensors lie in host memory.
pub trait HostPlace: Place {
    /// Returns the values of a tensor in row-major order.
    fn values_as<T: Element>(tensor: &Self::In<T>) -> &[T];

    /// Returns the values of a written tensor in row-major order.
    fn values_mut_as<T: Element>(tensor: &mut Self::Out<T>) -> &mut [T];

    /// Returns the values of an f32 tensor in row-major order.
    fn values(tensor: &Self::In<f32>) -> &[f32] {
        Self::values_as::<f32>(tensor)
    }

    /// Returns the values of a written f32 tensor in row-major order.
    fn values_mut(tensor: &mut Self::Out<f32>) -> &mut [f32] {
        Self::values_mut_as::<f32>(tensor)
    }
}

/// Place of tensors that are [`View`]s of a caller's buffers.
#[derive(Debug, Clone, Copy)]
pub struct Views<'a>(std::marker::PhantomData<&'a ()>);

impl<'a> Place for Views<'a> {
    type In<T: Element> = View<'a>;
    type Out<T: Element> = View<'a>;
}

impl DevicePlace for Views<'_> {
    fn read_as<T: Element>(tensor: &Self::In<T>) -> View<'_> {
        *tensor
    }

    fn written_as<T: Element>(tensor: &Self::Out<T>) -> View<'_> {
        *tensor
    }
}
