//! Lists of axes on the command line, in NumPy's numbering.

use crate::arrays::show;
use crate::failure::Failure;

/// Axes of an array: 0 is the first, -1 the last, as in NumPy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axes(Vec<i64>);

/// Parses axes separated by commas; an empty text names none.
pub fn axes(text: &str) -> Result<Axes, String> {
    if text.trim().is_empty() {
        return Ok(Axes(Vec::new()));
    }
    let axes: Option<_> = text.split(',').map(|axis| axis.trim().parse().ok()).collect();
    axes.map(Axes).ok_or_else(|| {
        "must be whole numbers separated by commas, such as `0` or `0,-1`, or empty for none"
            .to_owned()
    })
}

impl Axes {
    /// Returns the axes of an array of this shape, each counted from 0.
    pub fn resolve(&self, option: &str, shape: &[usize]) -> Result<Vec<usize>, Failure> {
        let rank = shape.len() as i64;
        let resolve = |&axis: &i64| {
            if (-rank..rank).contains(&axis) {
                return Ok(axis.rem_euclid(rank) as usize);
            }
            let has = match rank {
                0 => "no axes".to_owned(),
                _ => format!("the axes 0 to {}, or -{rank} to -1", rank - 1),
            };
            let of = show(shape);
            Err(Failure::Usage(format!("{option}: axis {axis}, but the input {of} has {has}")))
        };
        self.0.iter().map(resolve).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_count_from_either_end() {
        let resolved = |text: &str| axes(text).unwrap().resolve("--row-axes", &[2, 3, 4]);
        for (text, wanted) in [
            ("0", &[0][..]),
            ("-1", &[2]),
            ("-3", &[0]),
            ("0,-1", &[0, 2]),
            ("-1, 0 ,1", &[2, 0, 1]),
            ("", &[]),
            (" ", &[]),
        ] {
            assert_eq!(resolved(text).unwrap(), wanted, "{text}");
        }
        for bad in ["3", "-4", "0,3", "9223372036854775807", "-9223372036854775808"] {
            let Err(Failure::Usage(what)) = resolved(bad) else { panic!("{bad}") };
            assert!(what.contains("--row-axes") && what.contains("0 to 2, or -3 to -1"), "{what}");
        }
        let Err(Failure::Usage(what)) = axes("0").unwrap().resolve("--col-axes", &[]) else {
            panic!("a scalar has no axis")
        };
        assert!(what.contains("no axes"), "{what}");
        for bad in ["x", "0,", ",", "0;1", "1.0", "--col-axes", "9223372036854775808"] {
            assert!(axes(bad).is_err(), "{bad}");
        }
    }
}
