//! The tiles of matrix products: how each divides its sums among threads, and what it requires of a
//! device.

use super::group::Group;
use super::source::Width;
use crate::{Error, Lack, Result};

/// Division of a matrix product among threads. All tiles but those on matrix units sum in the same
/// order, by fused multiply-adds, so they give the same bits on every device that fuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tile {
    /// 16 × 8 sums a thread (8 × 8 with scalar loads) in registers, without barriers: for adapters
    /// that run on a CPU.
    Register,
    /// 32 × 8 sums a thread (16 × 8 with scalar loads) in registers; the threads of a subgroup
    /// share one factor's values by shuffles. For adapters that run on a CPU and have subgroups of
    /// eight.
    Shuffle,
    /// 4 × 16 sums a thread, with the threads along the rows: for few columns, on devices that can
    /// run [`Shuffle`](Self::Shuffle).
    Narrow,
    /// 64 × 64 sums a workgroup of 64 threads, 8 × 8 a thread, through workgroup memory. This tile
    /// and all that follow are for real GPUs.
    Workgroup,
    /// 128 × 128 sums a workgroup of 256 threads, 8 × 8 a thread, in 32 KiB of workgroup memory:
    /// half the loads of [`Workgroup`](Self::Workgroup), for large products.
    Large,
    /// 32 × 64 sums a workgroup of 64 threads, 4 × 8 a thread: more workgroups, for products that
    /// are small for the device.
    Small,
    /// 16 × 128 sums a workgroup of 64 threads, 4 × 8 a thread: for few rows, such as a mini-batch
    /// of 16 or one image.
    Wide,
    /// 128 × 16 sums a workgroup of 64 threads, 4 × 8 a thread: for few columns, such as ten
    /// classes.
    Tall,
    /// 128 × 128 sums a workgroup of 128 threads on a GPU's matrix units, for tensors stored as
    /// f16. It sums in f32, in an order that is the device's own, so it is used only if it is named
    /// and never chosen by a trial. Results of 2²² elements and more use
    /// [`MatrixLarge`](Self::MatrixLarge), which sums in the same order; tensors that are not f16
    /// use [`Workgroup`](Self::Workgroup). It requires what `MatrixLarge` does. Cooperative
    /// matrices are experimental in wgpu.
    Matrix,
    /// 128 × 256 sums a workgroup of 256 threads on a GPU's matrix units. It requires cooperative
    /// matrices, f16, subgroups of 32 and 46 KiB of workgroup memory.
    MatrixLarge,
}

impl Tile {
    /// Every tile.
    pub const ALL: [Self; 10] = [
        Self::Register,
        Self::Shuffle,
        Self::Narrow,
        Self::Workgroup,
        Self::Large,
        Self::Small,
        Self::Wide,
        Self::Tall,
        Self::Matrix,
        Self::MatrixLarge,
    ];

    /// Returns true if a device can run the tile.
    pub fn runs_on(
        self,
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
    ) -> bool {
        self.check(info, features, limits).is_ok()
    }

    /// Checks that a device can run the tile.
    ///
    /// # Errors
    /// [`Error::Adapter`], which names what the device lacks.
    pub(crate) fn check(
        self,
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
    ) -> Result<()> {
        let (threads, memory) = match self {
            Self::Matrix | Self::MatrixLarge => (256, 47_104),
            // A tile in registers requires what every kernel does.
            _ => self.group().map_or((64, 512), |group| (group.threads(), group.memory())),
        };
        let needs = [
            (
                "max_compute_invocations_per_workgroup",
                limits.max_compute_invocations_per_workgroup,
                threads,
            ),
            ("max_compute_workgroup_size_x", limits.max_compute_workgroup_size_x, threads),
            // wgpu does not enforce this one.
            (
                "max_compute_workgroup_storage_size",
                limits.max_compute_workgroup_storage_size,
                memory,
            ),
        ];
        for (limit, has, needs) in needs {
            if u64::from(has) < needs {
                let lack = Lack { limit, has: has.into(), needs };
                return Err(Error::lacks(&format!("tile {self}"), lack));
            }
        }
        if self.is_matrix() && !has_matrices(info, features) {
            return Err(Error::Adapter {
                what: format!(
                    "tile {self}: it needs cooperative matrices, f16 and subgroups of 32"
                ),
            });
        }
        if matches!(self, Self::Shuffle | Self::Narrow) && !has_octets(info, features) {
            return Err(Error::Adapter {
                what: format!("tile {self}: it needs SUBGROUP and subgroups of 8"),
            });
        }
        Ok(())
    }

    /// Returns the division of a tile that a workgroup makes together in workgroup memory; `None`
    /// for tiles in registers and on matrix units.
    pub(super) fn group(self) -> Option<Group> {
        // Two buffers if they fit the 16 KiB that every device has; `Large` requires more.
        let group = |thread_rows, rows, cols, lanes, buffers| {
            Some(Group { thread_rows, rows, cols, lanes, buffers })
        };
        match self {
            Self::Register | Self::Shuffle | Self::Narrow | Self::Matrix | Self::MatrixLarge => {
                None
            }
            Self::Workgroup => group(8, 8, 8, 8, 2),
            Self::Large => group(8, 16, 16, 8, 2),
            Self::Small => group(4, 8, 8, 8, 2),
            Self::Wide => group(4, 4, 16, 8, 1),
            Self::Tall => group(4, 32, 2, 2, 1),
        }
    }

    /// Returns true if a workgroup makes the tile together, in workgroup memory: a tile for real
    /// GPUs.
    pub fn is_shared(self) -> bool {
        self.is_matrix() || self.group().is_some()
    }

    /// Returns true if the tile runs on matrix units.
    pub fn is_matrix(self) -> bool {
        matches!(self, Self::Matrix | Self::MatrixLarge)
    }

    /// Returns the tile to run when this one is asked for, for a result of `rows × cols` elements.
    /// `half` is true for tensors of f16.
    pub(super) fn for_result(self, rows: usize, cols: usize, half: bool) -> Self {
        match self {
            Self::Matrix | Self::MatrixLarge if !half => Self::Workgroup,
            Self::Matrix if rows.saturating_mul(cols) >= 1 << 22 => Self::MatrixLarge,
            tile => tile,
        }
    }

    /// Returns the number of workgroups that cover `rows × cols` sums.
    pub(super) fn workgroups(self, width: Width, rows: usize, cols: usize) -> u64 {
        let [tile_rows, tile_cols] = match self.group() {
            Some(group) => group.shape(),
            None if self == Self::Matrix => [128, 128],
            None if self == Self::MatrixLarge => [128, 256],
            None if self == Self::Narrow => [8 * self.thread_rows(width), 16],
            None => [self.thread_rows(width), 64],
        };
        (rows as u64).div_ceil(tile_rows) * (cols as u64).div_ceil(tile_cols)
    }

    /// Returns the number of rows of sums that a thread holds. Scalar loads need so much more code
    /// that half as many rows take as long to compile.
    fn thread_rows(self, width: Width) -> u64 {
        match (self.group(), self, width) {
            (Some(group), ..) => group.thread_rows,
            (None, Self::Narrow, _) => 4,
            (None, Self::Register, Width::Scalar) => 8,
            (None, Self::Register, _) | (None, _, Width::Scalar) => 16,
            (None, ..) => 32,
        }
    }

    /// Returns the WGSL constants that the tile's file is compiled with.
    pub(super) fn constants(self, width: Width) -> String {
        match self {
            Self::Matrix => "const COL_BLOCKS: u32 = 2u;\n".to_owned(),
            Self::MatrixLarge => "const COL_BLOCKS: u32 = 4u;\n".to_owned(),
            _ => {
                let group = self.group().map_or(String::new(), Group::constants);
                format!("const TILE_ROWS: u32 = {}u;\n{group}", self.thread_rows(width))
            }
        }
    }

    /// Returns the text of the tile's file.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Register => include_str!("../../shaders/tile_register.wgsl"),
            Self::Narrow => include_str!("../../shaders/tile_narrow.wgsl"),
            Self::Shuffle => include_str!("../../shaders/tile_shuffle.wgsl"),
            Self::Matrix | Self::MatrixLarge => include_str!("../../shaders/tile_matrix.wgsl"),
            _ => include_str!("../../shaders/tile_workgroup.wgsl"),
        }
    }
}

/// Returns true if the device has cooperative matrices, and all its subgroups have 32 threads. An
/// adapter tells the sizes of its matrices, a device does not.
fn has_matrices(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SHADER_F16)
        && (info.subgroup_min_size, info.subgroup_max_size) == (32, 32)
}

/// Returns true if all subgroups have eight threads.
fn has_octets(info: &wgpu::AdapterInfo, features: wgpu::Features) -> bool {
    features.contains(wgpu::Features::SUBGROUP)
        && (info.subgroup_min_size, info.subgroup_max_size) == (8, 8)
}

impl std::fmt::Display for Tile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Shuffle => "shuffle",
            Self::Narrow => "narrow",
            Self::Workgroup => "workgroup",
            Self::Large => "large",
            Self::Small => "small",
            Self::Wide => "wide",
            Self::Tall => "tall",
            Self::Matrix => "matrix",
            Self::MatrixLarge => "matrix_large",
        })
    }
}

impl std::str::FromStr for Tile {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|tile| tile.to_string() == text);
        let names = Self::ALL.map(|tile| tile.to_string()).join(", ");
        found.ok_or_else(|| Error::invalid(format!("tile `{text}`: must be one of {names}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tile_is_read_by_its_name() {
        for tile in Tile::ALL {
            assert_eq!(tile.to_string().parse::<Tile>().unwrap(), tile);
        }
        assert!("matrix_larger".parse::<Tile>().is_err());
    }

    #[test]
    fn tiles_of_registers_share_no_memory() {
        let apart = [Tile::Register, Tile::Shuffle, Tile::Narrow];
        assert!(Tile::ALL.iter().all(|tile| tile.is_shared() != apart.contains(tile)));
    }

    #[test]
    fn tiles_of_subgroups_and_matrix_units_run_where_all_that_they_need_is_there() {
        let limits = wgpu::Limits {
            max_compute_workgroup_storage_size: 47_104,
            max_compute_invocations_per_workgroup: 256,
            ..wgpu::Limits::default()
        };
        let info = |least: u32, most: u32| wgpu::AdapterInfo {
            subgroup_min_size: least,
            subgroup_max_size: most,
            ..wgpu::AdapterInfo::new(wgpu::DeviceType::Other, wgpu::Backend::Vulkan)
        };
        let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let half = wgpu::Features::SHADER_F16;
        let subgroup = wgpu::Features::SUBGROUP;
        for tile in [Tile::Shuffle, Tile::Narrow] {
            assert!(tile.runs_on(&info(8, 8), subgroup, &limits));
            assert!(!tile.runs_on(&info(8, 8), matrices | half, &limits));
            assert!([(4, 8), (8, 16), (32, 32)].iter().all(|&(least, most)| !tile.runs_on(
                &info(least, most),
                subgroup,
                &limits
            )));
        }
        for tile in [Tile::Matrix, Tile::MatrixLarge] {
            assert!(tile.runs_on(&info(32, 32), matrices | half, &limits));
            assert!([matrices, half, subgroup].iter().all(|&lacking| !tile.runs_on(
                &info(32, 32),
                lacking,
                &limits
            )));
            assert!([(8, 8), (16, 32), (32, 64)].iter().all(|&(a, b)| !tile.runs_on(
                &info(a, b),
                matrices | half,
                &limits
            )));
            let little =
                wgpu::Limits { max_compute_workgroup_storage_size: 47_103, ..limits.clone() };
            let few = wgpu::Limits { max_compute_invocations_per_workgroup: 255, ..limits.clone() };
            assert!([little, few].iter().all(|less| !tile.runs_on(
                &info(32, 32),
                matrices | half,
                less
            )));
        }
    }

    #[test]
    fn matrix_units_make_results_of_f16_and_large_ones_in_large_tiles() {
        let for_result = |tile: Tile, rows, half| tile.for_result(rows, 1 << 11, half);
        for tile in [Tile::Matrix, Tile::MatrixLarge] {
            assert_eq!(for_result(tile, 1 << 11, false), Tile::Workgroup);
            assert_eq!(for_result(tile, 1 << 11, true), Tile::MatrixLarge);
            assert_eq!(for_result(tile, (1 << 11) - 1, true), tile);
        }
        assert_eq!(for_result(Tile::Wide, 1 << 30, true), Tile::Wide);
    }
}
