//! Twin of `shaders/gradient.wgsl`.

use crate::Dropout;

/// `dZ` from `dY`, both `[B, cols]`: `dY·s` where `Y > 0` after ReLU (`output` given), else
/// `M·s·dY`.
///
/// The shaders make it element by element while loading; here it is a tensor, which is easier to
/// read and rounds alike.
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
