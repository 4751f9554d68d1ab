//! Puts a kernel's WGSL together: the kernel's file first, so that line numbers in errors are its
//! own, then what it includes.
//!
//! Three things are done to the text, each marked in the shader by what stands there anyway:
//!
//! - `for (var i = 0u; i < N; i++) { // unroll` is replaced by its body N times with `i` a literal,
//!   so that arrays in registers are indexed by constants and no driver has to find that out. `N`
//!   is a literal or a `const` of the text.
//! - `// loader NAME BUFFER` becomes `NAME` and `NAME8`, functions that load four and eight
//!   elements from an index on, of which the first `left` exist: in 128-bit loads where rows are
//!   whole vectors ([`Width::Vec4`]), eight in one load ([`Width::Vec8`]), else one by one
//!   ([`Width::Scalar`]); and `NAME_stored`, which does not convert its four to f32. `// storer`
//!   likewise, but that [`Width::Vec8`] stores eight alone. What is stored is `Element`, or the
//!   element that the line ends with.
//! - `Element` is the type that goes with it: f32, or f16 where tensors are stored so; sums are f32
//!   always.

use std::fmt::Write as _;

/// How wide a kernel's loads and stores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// Any shape: one element at a time.
    Scalar,
    /// Rows and starts are multiples of four elements.
    Vec4,
    /// Rows and starts are multiples of eight elements: of f32 moved as four 64-bit integers, which
    /// the device must offer, for adapters that run on a CPU; of f16 moved as four words, for
    /// real GPUs.
    Vec8,
}

/// The WGSL of each kind of element; all are converted to f32 when loaded, and from it when stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements {
    /// Loads and stores of tensors.
    pub width: Width,
    /// Whether tensors are stored as f16.
    pub half: bool,
    /// Whether the first tensor holds parts of sums, which are f32 always.
    pub first_sums: bool,
    /// Whether the output holds such parts.
    pub output_sums: bool,
    /// Whether the two quads of a strip lie apart; see `block.wgsl`.
    pub apart: bool,
    /// Whether the text uses cooperative matrices.
    pub matrices: bool,
}

impl Elements {
    fn aliases(self) -> String {
        let number = |half| if half { "f16" } else { "f32" };
        let element = |half| match self.width {
            Width::Scalar => number(half).to_owned(),
            Width::Vec4 => format!("vec4<{}>", number(half)),
            Width::Vec8 => if half { "vec4<u32>" } else { "vec4<u64>" }.to_owned(),
        };
        let (first, output) = (self.half && !self.first_sums, self.half && !self.output_sums);
        let aliases = [
            ("Number", number(self.half).to_owned()),
            ("Element", element(self.half)),
            ("FirstElement", element(first)),
            ("OutputElement", element(output)),
        ];
        aliases.iter().map(|(name, of)| format!("alias {name} = {of};\n")).collect()
    }
}

/// Joins the parts and expands what is marked.
pub(super) fn assemble(constants: &str, elements: Elements, parts: &[String]) -> String {
    // On the first line, which is a comment, so that line numbers stay those of the file.
    let mut text = if elements.half { "enable f16; ".to_owned() } else { String::new() };
    text += if elements.matrices { "enable wgpu_cooperative_matrix; " } else { "" };
    text += &parts.join("\n");
    let _ = write!(text, "\n{}{constants}", elements.aliases());
    let text: String = text
        .lines()
        .map(|line| accessor(line, elements).unwrap_or_else(|| line.to_owned()) + "\n")
        .collect();
    unroll(&text)
}

/// The functions that a `// loader` or `// storer` line stands for, on that one line.
fn accessor(line: &str, Elements { width, apart, .. }: Elements) -> Option<String> {
    let mut words = line.strip_prefix("// ")?.split(' ');
    let (kind, name, buffer, stored) =
        (words.next()?, words.next()?, words.next()?, words.next().unwrap_or("Element"));
    // Four elements, as f32 or as they are stored.
    let load = |number: &str| match width {
        Width::Scalar => {
            let element = |j: usize| {
                format!("select({number}(0.0), {number}({buffer}[at + {j}u]), left > {j}u)")
            };
            format!("return vec4<{number}>({});", [0, 1, 2, 3].map(element).join(", "))
        }
        Width::Vec4 => format!("return vec4<{number}>({buffer}[at / 4u]);"),
        Width::Vec8 => format!(
            "let v = {name}8(at, left); return vec4<{number}>(select(v.low, v.high, at % 8u >= 4u));"
        ),
    };
    let high = if apart { "APART" } else { "4u" };
    match kind {
        "loader" => {
            let eight = match width {
                Width::Vec8 => format!("return unpack8({buffer}[at / 8u]);"),
                _ => format!(
                    "return Eight({name}(at, left), {name}(at + {high}, max(left, {high}) - {high}));"
                ),
            };
            Some(format!(
                "fn {name}(at: u32, left: u32) -> vec4<f32> {{ {} }} fn {name}_stored(at: u32, left: u32) -> vec4<Number> {{ {} }} \
                 fn {name}8(at: u32, left: u32) -> Eight {{ {eight} }}",
                load("f32"),
                load("Number")
            ))
        }
        "storer" => {
            let element =
                |j: usize| format!("if left > {j}u {{ {buffer}[at + {j}u] = {stored}(v[{j}]); }}");
            let four = match width {
                Width::Scalar => [0, 1, 2, 3].map(element).join(" "),
                Width::Vec4 => format!("{buffer}[at / 4u] = {stored}(v);"),
                Width::Vec8 => {
                    return Some(format!(
                        "fn {name}8(at: u32, v: Eight, left: u32) {{ {buffer}[at / 8u] = pack8(v); }}"
                    ));
                }
            };
            Some(format!(
                "fn {name}(at: u32, v: vec4<f32>, left: u32) {{ {four} }} fn {name}8(at: u32, v: Eight, left: u32) {{ \
                 {name}(at, v.low, left); if left > {high} {{ {name}(at + {high}, v.high, left - {high}); }} }}"
            ))
        }
        _ => None,
    }
}

/// Expands every marked loop, the outer ones first.
fn unroll(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(expanded) = unroll_first(&text) {
        text = expanded;
    }
    text
}

/// Expands the first marked loop; one that has not the documented form stays the loop that it is.
fn unroll_first(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let marked = lines.iter().position(|line| line.ends_with("// unroll"))?;
    let head = lines[marked];
    let indent = head.len() - head.trim_start().len();
    // The body ends at the loop's own indent.
    let body = lines[marked + 1..]
        .iter()
        .position(|line| line.get(indent..).is_some_and(|rest| rest.starts_with('}')))?;
    let end = marked + 1 + body;
    let variable = between(head, "(var ", " = 0u")?;
    let count = literal(text, between(head, " < ", "; ")?)?;
    let mut expanded = lines[..marked].join("\n") + "\n";
    for i in 0..count {
        let body: Vec<String> =
            lines[marked + 1..end].iter().map(|line| substitute(line, variable, i)).collect();
        let _ = writeln!(expanded, "{:indent$}{{\n{}\n{:indent$}}}", "", body.join("\n"), "");
    }
    Some(expanded + &lines[end + 1..].join("\n") + "\n")
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

/// The value of a literal or of a `const` of the text, which may be a literal times or over
/// another.
fn literal(text: &str, name: &str) -> Option<u32> {
    if let Ok(value) = name.trim_end_matches('u').parse() {
        return Some(value);
    }
    if let Some((a, b)) = name.split_once(" / ") {
        return literal(text, a)?.checked_div(literal(text, b)?);
    }
    if let Some((a, b)) = name.split_once(" * ") {
        return literal(text, a)?.checked_mul(literal(text, b)?);
    }
    literal(text, between(text, &format!("const {name}: u32 = "), ";")?)
}

/// `line` with the identifier `name` replaced by a literal.
fn substitute(line: &str, name: &str, value: u32) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(name) {
        let after = &rest[at + name.len()..];
        let whole = !rest[..at].ends_with(is_word) && !after.starts_with(is_word);
        out += &rest[..at];
        if whole {
            let _ = write!(out, "{value}u");
        } else {
            out += name;
        }
        rest = after;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_loops_unroll_to_literals() {
        let text = "const N: u32 = 2u;\nfor (var i = 0u; i < N; i++) { // unroll\n    for (var j = 0u; j < 2u; j++) { // unroll\n        a[i][j] += bits;\n    }\n}\n";
        let expanded = unroll(text);
        for pair in
            ["a[0u][0u] += bits", "a[0u][1u] += bits", "a[1u][0u] += bits", "a[1u][1u] += bits"]
        {
            assert!(expanded.contains(pair), "{expanded}");
        }
        assert!(!expanded.contains("for"), "{expanded}");
    }

    #[test]
    fn a_constant_may_be_a_quotient() {
        assert_eq!(
            literal("const ROWS: u32 = 16u;\nconst BLOCKS: u32 = ROWS / 4u;", "BLOCKS"),
            Some(4)
        );
    }
    #[test]
    fn no_marked_loop_is_left_in_any_kernel() {
        for variant in crate::gpu::Variant::all() {
            assert!(!variant.source().contains("// unroll"), "{}", variant.name());
        }
    }
}
