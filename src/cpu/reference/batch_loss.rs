//! Twin of `shaders/batch_loss.wgsl`.

/// Returns the sums over the rows of `losses [B, 2]`. Partial sum p of 64 takes rows p, p + 64, …;
/// the partial sums are then added in order.
pub fn batch_loss(losses: &[f32]) -> [f32; 2] {
    let mut partial = [[0.0; 2]; 64];
    for (row, loss) in losses.chunks_exact(2).enumerate() {
        partial[row % 64][0] += loss[0];
        partial[row % 64][1] += loss[1];
    }
    partial.iter().fold([0.0; 2], |total, part| [total[0] + part[0], total[1] + part[1]])
}
