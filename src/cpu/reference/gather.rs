//! Twin of `shaders/gather.wgsl`.

use crate::Dropout;

/// Computes `X[r] = M·s·value(data[order[r]])` and `labels[r] = all_labels[order[r]]`;
/// `data [N, cols]`, `X [B, cols]`, `all_labels [N]`, `order [B]`, `labels [B]`.
///
/// An entry of `order` past the data leaves its row and label unchanged.
#[allow(clippy::too_many_arguments)]
pub fn gather<V: Copy>(
    data: &[V],
    value: impl Fn(V) -> f32,
    all_labels: &[u32],
    order: &[u32],
    x: &mut [f32],
    labels: &mut [u32],
    cols: usize,
    dropout: &Dropout,
) {
    for (row, &source) in order.iter().enumerate() {
        let source = source as usize;
        let Some(&label) = all_labels.get(source) else { continue };
        labels[row] = label;
        let x = &mut x[row * cols..(row + 1) * cols];
        x.iter_mut()
            .zip(&data[source * cols..(source + 1) * cols])
            .for_each(|(x, &datum)| *x = value(datum));
        super::drop_row(x, row, dropout);
    }
}
