//! Command line of `bench`.

use super::elementwise::COLS;
use super::plan::{Extent, Group, Plan};
use super::step::Network;
use std::path::PathBuf;

/// Largest number of elements of a tensor: 4 GiB.
const MAX_ELEMENTS: usize = 1 << 30;

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Measure few sizes with few repetitions, in some seconds
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Measure every size from 2^10 to 2^27 elements with many repetitions: half an hour on a slow
    /// device
    #[arg(long)]
    full: bool,
    /// Measure only these kernels
    #[arg(long, value_name = "GROUP,...", value_delimiter = ',', value_enum)]
    only: Vec<Group>,
    /// Sizes of the dropout kernel in elements, multiples of 1024 or powers such as 2^20; its other
    /// forms use the largest of them
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = elements)]
    elements: Vec<usize>,
    /// Shape of the layer: batch, inputs and outputs
    #[arg(long, value_name = "BxIxO", value_parser = shape)]
    shape: Option<[usize; 3]>,
    /// Shape of the attention: heads, queries (and as many keys) and numbers of a head
    #[arg(long, value_name = "HxSxD", value_parser = shape)]
    attention: Option<[usize; 3]>,
    /// Network of the training step: batch and widths, from the inputs to the classes
    #[arg(long, value_name = "BxIx...xC", value_parser = network)]
    network: Option<Widths>,
    /// Write a self-contained page with plots to this file
    #[arg(long, value_name = "FILE.html")]
    pub html: Option<PathBuf>,
}

impl Args {
    /// Returns the plan; `real` is true if a GPU that is not a software adapter takes part.
    pub fn plan(&self, real: bool) -> Plan {
        let extent = match (self.quick, self.full) {
            (true, _) => Extent::Quick,
            (_, true) => Extent::Full,
            _ => Extent::Usual,
        };
        let mut plan = Plan::new(extent, real);
        if !self.elements.is_empty() {
            plan.elements.clone_from(&self.elements);
            plan.forms = self.elements.iter().copied().max().into_iter().collect();
        }
        if let Some(shape) = self.shape {
            plan.layers = vec![shape];
        }
        if let Some(shape) = self.attention {
            plan.attentions = vec![shape];
        }
        if let Some(Widths { batch, widths }) = &self.network {
            let steps = plan.networks.first().map_or(1, |network| network.steps);
            plan.networks = vec![Network { batch: *batch, widths: widths.clone(), steps }];
        }
        plan.only(&self.only)
    }
}

/// Batch and widths from the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Widths {
    batch: usize,
    widths: Vec<usize>,
}

fn elements(text: &str) -> Result<usize, String> {
    let number = match text.split_once('^') {
        Some(("2", power)) => power.parse().ok().and_then(|power| 1usize.checked_shl(power)),
        Some(_) => None,
        None => text.parse().ok(),
    };
    number
        .filter(|number| number.is_multiple_of(COLS) && (COLS..=MAX_ELEMENTS).contains(number))
        .ok_or_else(|| "must be a multiple of 1024 from 2^10 to 2^30".to_owned())
}

/// Parses sizes separated by `x`, `X` or `×`.
fn sizes(text: &str) -> Option<Vec<usize>> {
    text.split(['x', 'X', '×'])
        .map(|size| size.parse().ok().filter(|size| (1..=1 << 20).contains(size)))
        .collect()
}

fn shape(text: &str) -> Result<[usize; 3], String> {
    let three = sizes(text).and_then(|sizes| sizes.try_into().ok());
    three.ok_or_else(|| {
        "must be three whole numbers from 1 to 1048576, such as 256x1024x1024".to_owned()
    })
}

fn network(text: &str) -> Result<Widths, String> {
    match sizes(text).as_deref() {
        Some([batch, widths @ ..]) if widths.len() >= 2 => Ok(Widths { batch: *batch, widths: widths.to_vec() }),
        _ => Err("must be a batch and two or more widths, whole numbers from 1 to 1048576, such as 128x784x1024x10".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        assert_eq!((elements("2^10"), elements("3072")), (Ok(1024), Ok(3072)));
        for bad in ["", "0", "1000", "2^9", "2^31", "2^64", "3^7", "2^-1", "-1024", "1e6"] {
            assert!(elements(bad).is_err(), "{bad}");
        }
        assert_eq!(shape("1x20X300"), Ok([1, 20, 300]));
        for bad in ["", "1x2", "1x2x3x4", "0x1x1", "1x1x1048577", "axbxc"] {
            assert!(shape(bad).is_err(), "{bad}");
        }
        assert_eq!(network("8x4x3x2"), Ok(Widths { batch: 8, widths: vec![4, 3, 2] }));
        for bad in ["", "8x4", "8x4x0", "8,4,2"] {
            assert!(network(bad).is_err(), "{bad}");
        }
    }
}
