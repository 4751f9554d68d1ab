//! Twin of `shaders/gradient.wgsl`.

use crate::Dropout;

/// Computes `dZ` from `dY`, both `[B, cols]`. After a ReLU (`output` given) it is `dY·s` if
/// `Y > 0`, else 0. Without a ReLU it is `M·s·dY`.
///
/// The shaders compute it element by element while loading. Here it is a tensor, which is easier to
/// read and has the same rounding.
pub fn gradient(
    grad_output: &[f32],
    output: Option<&[f32]>,
    cols: usize,
    dropout: &Dropout,
) -> Vec<f32> {
    let mut grad_z = grad_output.to_vec();
    match output {
        Some(output) => super::through_relu(&mut grad_z, output, dropout.scale),
        None => {
            grad_z
                .chunks_mut(cols.max(1))
                .enumerate()
                .for_each(|(row, dz)| super::drop_row(dz, row, dropout));
        }
    }
    grad_z
}
