//! The choice of a tile for each class of products. A class is a kernel and a shape of its result.

use super::stem::Stem;
use super::tile::Tile;
use crate::order::FEW;

/// Shape of a product's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shape {
    /// At most 32 rows: a small mini-batch, or one image.
    FewRows,
    /// At most 32 columns: ten classes, for example.
    FewCols,
    /// Fewer than 2²¹ elements.
    Medium,
    /// All others.
    Large,
}

impl Shape {
    /// Every shape.
    pub const ALL: [Self; 4] = [Self::Large, Self::Medium, Self::FewRows, Self::FewCols];

    fn of(rows: usize, cols: usize) -> Self {
        match (rows, cols) {
            (..=FEW, _) => Self::FewRows,
            (_, ..=FEW) => Self::FewCols,
            _ if rows.saturating_mul(cols) < 1 << 21 => Self::Medium,
            _ => Self::Large,
        }
    }
}

/// A kernel and a shape of its result, for which one tile is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Class {
    /// `linear_forward`, `grad_input` or `grad_weight`.
    pub stem: Stem,
    /// The result's shape.
    pub shape: Shape,
}

/// The kernels that have tiles.
const STEMS: [Stem; 3] = [Stem::LinearForward, Stem::GradInput, Stem::GradWeight];

impl Class {
    /// Returns every class, the one that matters most first.
    pub fn all() -> impl Iterator<Item = Self> {
        Shape::ALL.into_iter().flat_map(|shape| STEMS.map(|stem| Self { stem, shape }))
    }

    fn place(self) -> (usize, usize) {
        let stem = STEMS.iter().position(|&stem| stem == self.stem).unwrap_or(0);
        (stem, self.shape as usize)
    }

    /// Returns the tiles worth trying for the class on a kind of device, the rule's own choice
    /// first.
    pub(crate) fn candidates(self, kind: wgpu::DeviceType) -> &'static [Tile] {
        match (kind, self.shape) {
            (wgpu::DeviceType::Cpu, Shape::FewCols) if self.stem != Stem::GradInput => {
                &[Tile::Narrow, Tile::Shuffle, Tile::Register]
            }
            (wgpu::DeviceType::Cpu, _) => &[Tile::Shuffle, Tile::Register],
            // The sums run over the batch, in one chain each: the more threads, the better.
            (_, Shape::FewRows | Shape::FewCols) if self.stem == Stem::GradWeight => {
                &[Tile::Small, Tile::Wide, Tile::Tall]
            }
            (_, Shape::FewRows) => &[Tile::Wide, Tile::Small, Tile::Workgroup],
            (_, Shape::FewCols) => &[Tile::Tall, Tile::Small, Tile::Workgroup],
            (_, Shape::Medium) => &[Tile::Small, Tile::Workgroup, Tile::Large],
            (_, Shape::Large) => &[Tile::Large, Tile::Workgroup],
        }
    }
}

/// Format of listings and of the command line's cache: `linear_forward, few rows`.
impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shape = match self.shape {
            Shape::FewRows => "few rows",
            Shape::FewCols => "few columns",
            Shape::Medium => "medium",
            Shape::Large => "large",
        };
        write!(f, "{}, {shape}", self.stem.name())
    }
}

/// The tile of each class. All tiles that a rule or a trial chooses sum in the same order. So the
/// table changes the speed of a result and no bit of it, provided that the device fuses
/// multiplications and additions in all tiles alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiles([[Tile; 4]; 3]);

impl Tiles {
    /// Returns a table of one tile for all classes.
    pub const fn all(tile: Tile) -> Self {
        Self([[tile; 4]; 3])
    }

    /// Applies the rule by type of device: for each class, the first of its candidates that the
    /// device can run.
    pub fn for_device(
        info: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
    ) -> Self {
        let mut tiles = Self::all(Tile::Register);
        for class in Class::all() {
            let first = class
                .candidates(info.device_type)
                .iter()
                .find(|tile| tile.runs_on(info, features, limits));
            tiles.set(class, first.copied().unwrap_or(Tile::Register));
        }
        tiles
    }

    /// Returns the tile of a class.
    pub fn get(&self, class: Class) -> Tile {
        let (stem, shape) = class.place();
        self.0[stem][shape]
    }

    /// Sets the tile of a class.
    pub fn set(&mut self, class: Class, tile: Tile) {
        let (stem, shape) = class.place();
        self.0[stem][shape] = tile;
    }

    /// Returns the tile of all classes if they share one.
    pub fn only(&self) -> Option<Tile> {
        let first = self.0[0][0];
        (*self == Self::all(first)).then_some(first)
    }

    /// Returns the tile for a result of `rows × cols` elements. A kernel that is not a product gets
    /// any tile.
    pub(crate) fn pick(&self, stem: Stem, rows: usize, cols: usize) -> Tile {
        self.get(Class { stem, shape: Shape::of(rows, cols) })
    }

    /// Returns every tile of the table once.
    pub(crate) fn used(&self) -> impl Iterator<Item = Tile> {
        Tile::ALL.into_iter().filter(|tile| self.0.as_flattened().contains(tile))
    }
}

/// One name if all classes share a tile, otherwise the name for each class.
impl std::fmt::Display for Tiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(tile) = self.only() {
            return write!(f, "{tile}");
        }
        let classes: Vec<String> =
            Class::all().map(|class| format!("{class}: {}", self.get(class))).collect();
        f.write_str(&classes.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_holds_what_is_set_and_says_so() {
        let mut tiles = Tiles::all(Tile::Workgroup);
        assert_eq!(
            (tiles.only(), tiles.to_string().as_str()),
            (Some(Tile::Workgroup), "workgroup")
        );
        for (i, class) in Class::all().enumerate() {
            tiles.set(class, Tile::ALL[i % Tile::ALL.len()]);
        }
        for (i, class) in Class::all().enumerate() {
            assert_eq!(tiles.get(class), Tile::ALL[i % Tile::ALL.len()], "{class}");
        }
        assert_eq!(tiles.only(), None);
        assert!(tiles.to_string().starts_with("linear_forward, large: register; "), "{tiles}");
        assert_eq!(tiles.used().count(), Tile::ALL.len());
    }

    #[test]
    fn a_product_s_shape_is_told_by_its_smaller_side_first() {
        assert_eq!(Shape::of(1, 1 << 24), Shape::FewRows);
        assert_eq!(Shape::of(32, 10), Shape::FewRows);
        assert_eq!(Shape::of(33, 10), Shape::FewCols);
        assert_eq!(Shape::of(33, 33), Shape::Medium);
        assert_eq!(Shape::of(2048, 1024), Shape::Large);
        assert_eq!(Shape::of(usize::MAX, usize::MAX), Shape::Large);
    }

    #[test]
    fn the_rule_takes_the_first_tile_that_fits() {
        let info = |kind| wgpu::AdapterInfo::new(kind, wgpu::Backend::Vulkan);
        let none = wgpu::Features::empty();
        let large = Class { stem: Stem::LinearForward, shape: Shape::Large };
        let gpu = |limits: wgpu::Limits| {
            Tiles::for_device(&info(wgpu::DeviceType::DiscreteGpu), none, &limits).get(large)
        };
        let limits = wgpu::Limits::default();
        assert_eq!(
            gpu(wgpu::Limits { max_compute_workgroup_storage_size: 32768, ..limits.clone() }),
            Tile::Large
        );
        assert_eq!(
            gpu(wgpu::Limits { max_compute_workgroup_storage_size: 32767, ..limits.clone() }),
            Tile::Workgroup
        );
        assert_eq!(gpu(limits.clone()), Tile::Workgroup);
        assert_eq!(
            gpu(wgpu::Limits { max_compute_workgroup_storage_size: 512, ..limits.clone() }),
            Tile::Register
        );
        assert_eq!(
            Tiles::for_device(&info(wgpu::DeviceType::Cpu), none, &limits).only(),
            Some(Tile::Register)
        );
    }
}
