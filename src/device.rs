//! GPU or CPU: the choice of a device, and the backend on it.

use crate::Cpu;
use crate::gpu::{AdapterChoice, Gpu, Planner};
use crate::{Backend, Counts, Error, Result};

/// A device as a user names it: `auto`, `gpu`, `cpu`, an adapter's index, or a part of its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A hardware GPU if there is one, else the CPU backend.
    #[default]
    Auto,
    /// The CPU backend.
    Cpu,
    /// An adapter, which may be a software one; never the CPU backend.
    Adapter(AdapterChoice),
}

impl std::str::FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text.trim() {
            "" => {
                return Err(Error::invalid(
                    "device ``: must be auto, gpu, cpu, an adapter's index or a part of its name",
                ));
            }
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Adapter(AdapterChoice::Best),
            name => Self::Adapter(
                name.parse()
                    .map_or_else(|_| AdapterChoice::Name(name.to_owned()), AdapterChoice::Index),
            ),
        })
    }
}

/// A backend chosen at run time. Code that runs on it is generic over [`Backend`]: match once, then
/// call.
#[derive(Debug)]
pub enum Device {
    /// A GPU whose `wgpu::Device` this crate opened.
    Gpu(Box<Gpu>),
    /// The CPU backend.
    Cpu(Cpu),
}

impl Device {
    /// Opens the best hardware GPU, or the CPU backend if there is none.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `WGPU_BACKEND` names no backend.
    pub fn best() -> Result<Self> {
        Self::open(&DeviceChoice::Auto)
    }

    /// Opens the chosen device.
    ///
    /// # Errors
    /// [`Error::Adapter`] if an adapter is chosen and none, or more than one, matches.
    pub fn open(choice: &DeviceChoice) -> Result<Self> {
        Self::with_gpu(choice, Gpu::open)
    }

    /// As [`open`](Self::open), with changes to a GPU's plan.
    ///
    /// # Errors
    /// As [`open`](Self::open); an error if the plan exceeds the device's abilities.
    pub fn build(choice: &DeviceChoice, change: impl FnOnce(Planner) -> Planner) -> Result<Self> {
        Self::with_gpu(choice, |adapter| Gpu::build(adapter, change))
    }

    /// As [`open`](Self::open), but a GPU is opened by `open`, for example by [`Gpu::tuned`].
    ///
    /// # Errors
    /// Those of `open`.
    pub fn with_gpu(
        choice: &DeviceChoice,
        open: impl FnOnce(&AdapterChoice) -> Result<Gpu>,
    ) -> Result<Self> {
        let gpu = |adapter: &AdapterChoice| open(adapter).map(|gpu| Self::Gpu(Box::new(gpu)));
        match choice {
            DeviceChoice::Cpu => Ok(Self::Cpu(Cpu::new())),
            DeviceChoice::Adapter(adapter) => gpu(adapter),
            DeviceChoice::Auto => match gpu(&AdapterChoice::Hardware) {
                Err(Error::Adapter { .. }) => Ok(Self::Cpu(Cpu::new())),
                found => found,
            },
        }
    }

    /// Returns the device's name.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu(cpu) => cpu.name(),
            Self::Gpu(gpu) => gpu.name(),
        }
    }

    /// Returns the counts of operations on the device so far.
    pub fn counts(&self) -> Counts {
        match self {
            Self::Cpu(cpu) => cpu.counts(),
            Self::Gpu(gpu) => gpu.counts(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_named_as_people_name_them() {
        let adapter = |text: &str| match text.parse().unwrap() {
            DeviceChoice::Adapter(adapter) => adapter,
            other => panic!("{text} is {other:?}"),
        };
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        assert_eq!("cpu".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cpu);
        assert_eq!(adapter("gpu"), AdapterChoice::Best);
        assert_eq!(adapter("2"), AdapterChoice::Index(2));
        assert_eq!(adapter("GeForce RTX"), AdapterChoice::Name("GeForce RTX".into()));
        assert!("".parse::<DeviceChoice>().is_err());
    }
}
