//! Order of the layers in a file that does not state it.
//!
//! Two layers whose names first differ in a number come in the order of the numbers. Any other
//! order must follow from the shapes: each layer takes what the one before it gives.

/// Most layers whose orders are searched. More layers than these must be numbered.
const MOST: usize = u64::BITS as usize;

/// Most placements that the search tries, since a file can be made to have more orders than can
/// ever be tried.
const TRIALS: usize = 100_000;

/// A layer as the search sees it.
pub(super) struct Place<'a> {
    pub name: &'a str,
    pub inputs: usize,
    pub outputs: usize,
}

/// Orders of layers, as indices, that the numbers in their names and their shapes allow.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The only one.
    Forced(Vec<usize>),
    /// One of several, or of too many layers for a search.
    Open(Vec<usize>),
    /// Natural order of the names. No order fits.
    Unfit(Vec<usize>),
}

/// Returns the order of layers.
pub(super) fn order(layers: &[Place<'_>]) -> Order {
    let mut natural: Vec<usize> = (0..layers.len()).collect();
    natural.sort_by_cached_key(|&at| (parts(layers[at].name), layers[at].name));
    let numbered = |pair: &[usize]| precedes(layers[pair[0]].name, layers[pair[1]].name);
    let chained = |pair: &[usize]| layers[pair[0]].outputs == layers[pair[1]].inputs;
    if natural.windows(2).all(numbered) {
        let fits = natural.windows(2).all(chained);
        return if fits { Order::Forced(natural) } else { Order::Unfit(natural) };
    }
    if layers.len() > MOST {
        return Order::Open(natural);
    }
    let before = |layer: &Place<'_>| {
        let earlier = layers.iter().map(|other| precedes(other.name, layer.name));
        earlier.enumerate().map(|(at, earlier)| u64::from(earlier) << at).sum()
    };
    let before = layers.iter().map(before).collect();
    let mut search = Search { layers, natural: &natural, before, found: Vec::new(), trials: 0 };
    search.go_on(&mut Vec::new(), 0);
    let (ended, mut found) = (search.trials <= TRIALS, search.found);
    match (found.pop(), found.pop()) {
        (Some(only), None) if ended => Order::Forced(only),
        (None, _) if ended => Order::Unfit(natural),
        (last, first) => Order::Open(first.or(last).unwrap_or(natural)),
    }
}

/// Search for two orders that tries each layer at each place.
struct Search<'a> {
    layers: &'a [Place<'a>],
    natural: &'a [usize],
    /// For each layer, a bit for each layer that comes before it by its number.
    before: Vec<u64>,
    found: Vec<Vec<usize>>,
    trials: usize,
}

impl Search<'_> {
    /// Completes an order that begins with these layers, also given as bits.
    fn go_on(&mut self, begun: &mut Vec<usize>, bits: u64) {
        if begun.len() == self.layers.len() {
            self.found.push(begun.clone());
            return;
        }
        let width = begun.last().map(|&last| self.layers[last].outputs);
        for &next in self.natural {
            let open = bits >> next & 1 == 0 && self.before[next] & !bits == 0;
            if !open || width.is_some_and(|width| width != self.layers[next].inputs) {
                continue;
            }
            self.trials += 1;
            begun.push(next);
            self.go_on(begun, bits | 1 << next);
            begun.pop();
            if self.found.len() > 1 || self.trials > TRIALS {
                return;
            }
        }
    }
}

/// Part of a name. Numbers come before letters.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Letter(char),
}

/// Splits a name into runs of digits and single characters.
fn parts(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for c in name.chars() {
        match (c.to_digit(10), parts.last_mut()) {
            (Some(digit), Some(Part::Number(number))) => {
                *number = u64::saturating_mul(*number, 10).saturating_add(u64::from(digit));
            }
            (Some(digit), _) => parts.push(Part::Number(u64::from(digit))),
            (None, _) => parts.push(Part::Letter(c)),
        }
    }
    parts
}

/// Returns true if the names first differ in a number, which is smaller in `a`.
fn precedes(a: &str, b: &str) -> bool {
    let (a, b) = (parts(a), parts(b));
    let differing = a.iter().zip(&b).find(|(a, b)| a != b);
    matches!(differing, Some((Part::Number(a), Part::Number(b))) if a < b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the order as names, with a mark unless it is forced.
    fn names(layers: &[(&str, usize, usize)]) -> String {
        let places: Vec<Place<'_>> =
            layers.iter().map(|&(name, inputs, outputs)| Place { name, inputs, outputs }).collect();
        let (mark, order) = match order(&places) {
            Order::Forced(order) => ("", order),
            Order::Open(order) => ("open: ", order),
            Order::Unfit(order) => ("unfit: ", order),
        };
        let names: Vec<&str> = order.into_iter().map(|at| layers[at].0).collect();
        format!("{mark}{}", names.join(" "))
    }

    #[test]
    fn only_numbers_put_a_name_before_another() {
        for (a, b) in [("0", "3"), ("9", "10"), ("fc2", "fc10"), ("a.1.x", "a.2.b")] {
            assert!(precedes(a, b) && !precedes(b, a), "{a} {b}");
        }
        for (a, b) in [("fc", "fc2"), ("a1", "b2"), ("input", "output"), ("1", "01"), ("", "0")] {
            assert!(!precedes(a, b) && !precedes(b, a), "{a} {b}");
        }
    }

    #[test]
    fn numbers_or_shapes_force_one_order() {
        for (layers, order) in [
            (&[("", 3, 2)][..], ""),
            (&[("10", 4, 4), ("9", 4, 4), ("8", 4, 4)], "8 9 10"),
            (&[("output", 5, 2), ("input", 7, 6), ("hidden", 6, 5)], "input hidden output"),
            (&[("hidden", 4, 4), ("input", 7, 4), ("output", 4, 2)], "input hidden output"),
            (&[("out", 4, 2), ("fc2", 4, 4), ("fc1", 4, 4)], "fc1 fc2 out"),
            (&[("d.1", 6, 8), ("d.0", 4, 6), ("e.1", 6, 4), ("e.0", 9, 6)], "e.0 e.1 d.0 d.1"),
        ] {
            assert_eq!(names(layers), order);
        }
    }

    #[test]
    fn where_several_orders_fit_none_is_forced() {
        for (layers, example) in [
            (&[("input", 8, 8), ("hidden", 8, 8), ("output", 8, 8)][..], "hidden input output"),
            (&[("encoder", 8, 4), ("decoder", 4, 8)], "decoder encoder"),
            (&[("fc1", 8, 8), ("fc2", 8, 8), ("out", 8, 8)], "fc1 fc2 out"),
            (&[("i", 9, 8), ("b", 8, 8), ("a", 8, 8), ("o", 8, 2)], "i a b o"),
            (&[("e.0", 8, 6), ("e.1", 6, 4), ("d.0", 4, 6), ("d.1", 6, 8)], "d.0 d.1 e.0 e.1"),
        ] {
            assert_eq!(names(layers), format!("open: {example}"));
        }
    }

    #[test]
    fn shapes_that_do_not_fit_have_no_order() {
        for (layers, natural) in [
            (&[("fc1", 3, 4), ("fc2", 8, 3)][..], "fc1 fc2"),
            (&[("b", 3, 4), ("a", 5, 6)], "a b"),
            (&[("2", 4, 4), ("1", 4, 3)], "1 2"),
            (&[("in", 3, 4), ("fc1", 5, 4), ("fc2", 4, 6)], "fc1 fc2 in"),
        ] {
            assert_eq!(names(layers), format!("unfit: {natural}"));
        }
    }

    #[test]
    fn the_search_ends() {
        // A layer that fits nowhere makes each of the 30! orders fail at its end.
        let letters: Vec<String> = (1..=30).map(|length| "x".repeat(length)).collect();
        let mut layers: Vec<_> = letters.iter().map(|name| (name.as_str(), 8, 8)).collect();
        layers.push(("z", 9, 9));
        assert!(names(&layers).starts_with("open: x xx "));
        let many: Vec<String> = (0..10_000).map(|i| format!("{}{i}", "x".repeat(i % 9))).collect();
        let layers: Vec<_> = many.iter().map(|name| (name.as_str(), 8, 8)).collect();
        assert!(names(&layers).starts_with("open: 0 9 18 "));
        let many: Vec<String> = (0..10_000).rev().map(|i| format!("x{i}")).collect();
        let layers: Vec<_> = many.iter().map(|name| (name.as_str(), 8, 8)).collect();
        assert!(names(&layers).starts_with("x0 x1 x2 "));
    }
}
