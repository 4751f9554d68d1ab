//! GPU or CPU: which device is meant, and the backend on it.

use crate::cpu::Cpu;
use crate::gpu::{AdapterChoice, Gpu};
use crate::{Error, Result};

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
            "" => return Err(Error::invalid("device ``: must be auto, gpu, cpu, an adapter's index or a part of its name")),
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "gpu" => Self::Adapter(AdapterChoice::Best),
            name => Self::Adapter(name.parse().map_or_else(|_| AdapterChoice::Name(name.to_owned()), AdapterChoice::Index)),
        })
    }
}

/// A backend chosen at run time. What runs on it is generic over [`Backend`](crate::Backend): match once, then call.
#[derive(Debug)]
pub enum Device {
    /// A GPU of our own.
    Gpu(Box<Gpu>),
    /// The CPU backend.
    Cpu(Cpu),
}

impl Device {
    /// The best real GPU, else the CPU backend.
    pub fn best() -> Self {
        Gpu::open(&AdapterChoice::Hardware).map_or_else(|_| Self::Cpu(Cpu::new()), |gpu| Self::Gpu(Box::new(gpu)))
    }

    /// The device that is meant.
    ///
    /// # Errors
    /// [`Error::Adapter`] where an adapter is meant and none, or more than one, matches.
    pub fn open(choice: &DeviceChoice) -> Result<Self> {
        match choice {
            DeviceChoice::Auto => Ok(Self::best()),
            DeviceChoice::Cpu => Ok(Self::Cpu(Cpu::new())),
            DeviceChoice::Adapter(adapter) => Gpu::open(adapter).map(|gpu| Self::Gpu(Box::new(gpu))),
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
