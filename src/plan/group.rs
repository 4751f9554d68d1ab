//! Sizes of `shaders/tile_workgroup.wgsl`: the number of threads that share a tile of a matrix
//! product, and their places in it.

/// Bytes of workgroup memory for a quad of rows or columns and the 16 terms of a slab.
const QUAD: u64 = 16 * 4 * 4;

/// Tile that a workgroup makes together, with 8 columns of sums a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// Rows of sums a thread: 4 or 8.
    pub thread_rows: u64,
    /// Threads along the rows.
    pub rows: u64,
    /// Threads along the columns.
    pub cols: u64,
    /// Neighbouring threads along the columns. Together with the rows below them, they form the
    /// part of the tile that a subgroup holds.
    pub lanes: u64,
    /// Slabs that workgroup memory holds. A slab takes one barrier with 2 of them, two with 1.
    pub buffers: u64,
}

impl Group {
    /// Returns the rows and columns of the tile.
    pub const fn shape(self) -> [u64; 2] {
        [self.rows * self.thread_rows, self.cols * 8]
    }

    /// Returns the number of threads of the workgroup.
    pub const fn threads(self) -> u64 {
        self.rows * self.cols
    }

    /// Returns the bytes of workgroup memory that the tile requires.
    pub const fn memory(self) -> u64 {
        let [rows, cols] = self.shape();
        self.buffers * (rows + cols) / 4 * QUAD
    }

    /// Returns the WGSL constants that the shader is compiled with.
    pub fn constants(self) -> String {
        let [rows, cols] = self.shape();
        // A quad's share of a slab is four blocks of 4 × 4.
        let loads = (rows + cols).div_ceil(self.threads());
        let Self { rows, cols, lanes, buffers, .. } = self;
        let constants = [
            ("GROUP_ROWS", rows),
            ("GROUP_COLS", cols),
            ("LANES", lanes),
            ("LOADS", loads),
            ("BUFFERS", buffers),
        ];
        constants.iter().map(|(name, value)| format!("const {name}: u32 = {value}u;\n")).collect()
    }
}
