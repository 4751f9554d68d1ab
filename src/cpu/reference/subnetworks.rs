//! Twin of `shaders/subnetworks.wgsl`.

/// Applies enumerated masks: `y[m·rows + r, c] = M[m, c]·s·x[(m·rows + r) % X, c]`, where X is the
/// number of rows of `x` and `M[m, c]` is bit `bit + c` of `first + m`.
pub fn subnetworks(
    x: &[f32],
    y: &mut [f32],
    cols: usize,
    rows: usize,
    first: u32,
    bit: u32,
    scale: f32,
) {
    for (row, (y, x)) in
        y.chunks_exact_mut(cols.max(1)).zip(x.chunks_exact(cols.max(1)).cycle()).enumerate()
    {
        let mask = first + (row / rows) as u32;
        for (c, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            // Selects instead of multiplying by 0, so that a dropped NaN or infinity becomes 0.
            *y = if mask >> (bit as usize + c) & 1 == 1 { x * scale } else { 0.0 };
        }
    }
}
