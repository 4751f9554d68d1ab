//! GPU or CPU: which device is meant, and the backend on it.

use crate::cpu::Cpu;
use crate::gpu::{AdapterChoice, Gpu, Planner};
use crate::{Backend, Counts, Error, Result};

/// A device as a person names it: `auto`, `gpu`, `cpu`, an adapter's index, or a part of its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// A GPU that is not software, else the CPU backend.
    #[default]
    Auto,
    /// The CPU backend.
    Cpu,
    /// An adapter, a software one included; never the CPU backend.
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

/// A backend chosen at run time. What runs on it is generic over [`Backend`]: match once, then
/// call.
#[derive(Debug)]
pub enum Device {
    /// A GPU of our own.
    Gpu(Box<Gpu>),
    /// The CPU backend.
    Cpu(Cpu),
}

impl Device {
    /// The best real GPU, else the CPU backend.
    ///
    /// # Errors
    /// [`Error::Invalid`] where `WGPU_BACKEND` names no backend.
    pub fn best() -> Result<Self> {
        Self::open(&DeviceChoice::Auto)
    }

    /// The device that is meant.
    ///
    /// # Errors
    /// [`Error::Adapter`] where an adapter is meant and none, or more than one, matches.
    pub fn open(choice: &DeviceChoice) -> Result<Self> {
        Self::with_gpu(choice, Gpu::open)
    }

    /// As [`open`](Self::open), with a GPU's plan changed.
    ///
    /// # Errors
    /// As [`open`](Self::open), and where the plan goes beyond what the device can do.
    pub fn build(choice: &DeviceChoice, change: impl FnOnce(Planner) -> Planner) -> Result<Self> {
        Self::with_gpu(choice, |adapter| Gpu::build(adapter, change))
    }

    /// As [`open`](Self::open), with a GPU opened by `open`, such as by [`Gpu::tuned`].
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

    /// The device's name.
    pub fn name(&self) -> String {
        match self {
            Self::Cpu(cpu) => cpu.name(),
            Self::Gpu(gpu) => gpu.name(),
        }
    }

    /// What was done on it so far.
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
