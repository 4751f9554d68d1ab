//! The choice of the form of a device's kernels: by a rule, by a timed trial, or by name.

use super::device::AdapterChoice;
use super::owned::Gpu;
use super::trial::Trial;
use crate::plan::Planner;
use crate::plan::Tile;
use crate::plan::Tiles;
use crate::{Error, Result};

/// Way to choose the form of the kernels. Masks are the same in every form, and all tiles but those
/// on matrix units sum in the same order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tuning {
    /// A trial on a real GPU; the rule on adapters that run on a CPU, on which every kernel that a
    /// trial compiles costs a second.
    #[default]
    Auto,
    /// The rule by type of device.
    Rule,
    /// A timed trial.
    Trial,
    /// The given tile for every product.
    Tile(Tile),
}

impl std::str::FromStr for Tuning {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "auto" => Self::Auto,
            "rule" => Self::Rule,
            "trial" => Self::Trial,
            name => {
                let names = Tile::ALL.map(|tile| tile.to_string()).join(", ");
                let unknown = |_| {
                    Error::invalid(format!(
                        "tile `{name}`: must be auto, rule, trial, or one of {names}"
                    ))
                };
                Self::Tile(name.parse().map_err(unknown)?)
            }
        })
    }
}

/// Outcome of a [`Tuning`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Chosen {
    /// The plan by the rule, or the caller's own.
    #[default]
    Planned,
    /// The tile that was named.
    Named(Tile),
    /// Tiles and Philox as a trial chose them.
    Trial(Trial),
}

impl Tuning {
    /// Returns true if a trial decides on this adapter.
    pub fn is_trial(self, info: &wgpu::AdapterInfo) -> bool {
        match self {
            Self::Auto => info.device_type != wgpu::DeviceType::Cpu,
            tuning => tuning == Self::Trial,
        }
    }
}

impl Gpu {
    /// Opens a device on the chosen adapter and chooses the form of its kernels.
    ///
    /// If a trial fails, the rule decides.
    ///
    /// # Errors
    /// Those of [`open`](Self::open), and [`Error::Adapter`] if the adapter cannot run the named
    /// tile.
    pub fn tuned(choice: &AdapterChoice, tuning: Tuning) -> Result<Self> {
        Self::tuned_by(choice, tuning, |gpu| Trial::of(gpu, Trial::budget(gpu.info())))
    }

    /// Does what [`tuned`](Self::tuned) does, with trials from another source, such as those of an
    /// earlier run that were kept in a file. `trial` is called only if a trial is to decide. If the
    /// device cannot run its choices, the rule decides.
    ///
    /// # Errors
    /// Those of [`tuned`](Self::tuned).
    pub fn tuned_by(
        choice: &AdapterChoice,
        tuning: Tuning,
        trial: impl FnOnce(&Self) -> Result<Trial>,
    ) -> Result<Self> {
        let mut gpu = match tuning {
            Tuning::Tile(tile) => {
                Self::build(choice, |planner| Planner { tiles: Tiles::all(tile), ..planner })?
            }
            _ => Self::build(choice, |planner| planner)?,
        };
        let decided = match tuning {
            Tuning::Tile(tile) => {
                gpu.chosen = Chosen::Named(tile);
                return Ok(gpu);
            }
            tuning if tuning.is_trial(gpu.info()) => trial(&gpu),
            _ => return Ok(gpu),
        };
        let kernels = decided.and_then(|trial| {
            Ok((gpu.kernels().replanned(|planner| trial.apply(planner))?, trial))
        });
        if let Ok((kernels, trial)) = kernels {
            gpu = gpu.with_kernels(kernels);
            gpu.chosen = Chosen::Trial(trial);
        }
        Ok(gpu)
    }

    /// Returns how the form of the kernels was chosen.
    pub fn chosen(&self) -> &Chosen {
        &self.chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tuning_is_named_as_on_the_command_line() {
        for (text, tuning) in
            [("auto", Tuning::Auto), ("rule", Tuning::Rule), ("trial", Tuning::Trial)]
        {
            assert_eq!(text.parse::<Tuning>().unwrap(), tuning);
        }
        for tile in Tile::ALL {
            assert_eq!(tile.to_string().parse::<Tuning>().unwrap(), Tuning::Tile(tile));
        }
        assert!("hexagon".parse::<Tuning>().is_err_and(|error| {
            error.to_string().contains("auto, rule, trial, or one of register")
        }));
    }

    #[test]
    fn software_is_tried_only_where_a_trial_is_asked_for() {
        let info = |kind| wgpu::AdapterInfo::new(kind, wgpu::Backend::Vulkan);
        let cpu = info(wgpu::DeviceType::Cpu);
        let gpu = info(wgpu::DeviceType::DiscreteGpu);
        assert!(!Tuning::Auto.is_trial(&cpu) && Tuning::Auto.is_trial(&gpu));
        assert!(
            Tuning::Trial.is_trial(&cpu)
                && !Tuning::Rule.is_trial(&gpu)
                && !Tuning::Tile(Tile::Small).is_trial(&gpu)
        );
    }
}
