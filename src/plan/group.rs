//! The sizes in which `shaders/tile_workgroup.wgsl` comes: how many threads share a tile of a
//! matrix product, and how they lie in it.

/// Bytes of workgroup memory that a quad of rows or columns takes, for the 16 terms of a slab.
const QUAD: u64 = 16 * 4 * 4;

/// A tile that a workgroup makes together, with 8 columns of sums a thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Group {
    /// Rows of sums a thread: 4 or 8.
    pub thread_rows: u64,
    /// Threads along the rows.
    pub rows: u64,
    /// Threads along the columns.
    pub cols: u64,
    /// Neighbouring threads that lie along the columns: with the rows that follow they make up
    /// what a subgroup holds.
    pub lanes: u64,
    /// Slabs that workgroup memory holds: with 2 threads meet once a slab, with 1 twice.
    pub buffers: u64,
}

impl Group {
    /// Rows and columns of the tile.
    pub const fn shape(self) -> [u64; 2] {
        [self.rows * self.thread_rows, self.cols * 8]
    }

    /// Threads of the workgroup.
    pub const fn threads(self) -> u64 {
        self.rows * self.cols
    }

    /// Bytes of workgroup memory.
    pub const fn memory(self) -> u64 {
        let [rows, cols] = self.shape();
        self.buffers * (rows + cols) / 4 * QUAD
    }

    /// What the shader is compiled with.
    pub fn constants(self) -> String {
        let [rows, cols] = self.shape();
        // A slab of a quad is four blocks of 4 × 4.
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
