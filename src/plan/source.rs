//! Assembles a kernel's WGSL: first the kernel's own file, so that line numbers in errors refer to
//! it, then the files it includes.
//!
//! The text is transformed in three ways:
//!
//! - A loop marked `for (var i = 0u; i < N; i++) { // unroll` is replaced by N copies of its body
//!   with `i` as a literal. Arrays in registers are then indexed by constants, and no driver has to
//!   discover that. `N` is a literal or a `const` of the text.
//! - `// loader NAME BUFFER` becomes three functions. `NAME` and `NAME8` load four and eight
//!   elements from an index on, of which the first `left` exist. `NAME_stored` loads four without
//!   converting them to f32. The loads take 128 bits if rows are whole vectors ([`Width::Vec4`]),
//!   eight elements at a time ([`Width::Vec8`]), or one element ([`Width::Scalar`]).
//!   `// storer NAME BUFFER` does the same for stores, except that [`Width::Vec8`] can only store
//!   eight. The stored type is `Element`, or the type named at the end of the line.
//! - `Element` becomes an alias of the type in the buffer, which depends on the width and on the
//!   format of the tensors, f32 or f16. Sums are always f32.

use std::fmt::Write as _;

/// Width of a kernel's loads and stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Width {
    /// Any shape: one element at a time.
    Scalar,
    /// Rows and starts are multiples of four elements.
    Vec4,
    /// Rows and starts are multiples of eight elements. On adapters that run on a CPU, eight f32
    /// are moved as four 64-bit integers, which the device must offer. On real GPUs, eight f16 are
    /// moved as four words.
    Vec8,
}

/// Storage format of a kernel's elements. They are converted to f32 when loaded, and from f32 when
/// stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elements {
    /// Loads and stores of tensors.
    pub width: Width,
    /// True if tensors are stored as f16.
    pub half: bool,
    /// True if the first tensor holds parts of sums, which are always f32.
    pub first_sums: bool,
    /// True if the output holds such parts.
    pub output_sums: bool,
    /// True if the two quads of a strip lie apart; see `block.wgsl`.
    pub apart: bool,
    /// True if the text uses cooperative matrices.
    pub matrices: bool,
}

impl Elements {
    /// Returns the WGSL aliases of the element types.
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

/// Joins the parts, adds the aliases and `constants`, and expands accessors and marked loops.
pub(super) fn assemble(constants: &str, elements: Elements, parts: &[String]) -> String {
    // The directives share the first line with a comment, so that line numbers stay those of the
    // file.
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

/// Returns the functions that replace a `// loader` or `// storer` line, all on one line so that
/// line numbers do not change. Returns `None` for any other line.
fn accessor(line: &str, Elements { width, apart, .. }: Elements) -> Option<String> {
    let mut words = line.strip_prefix("// ")?.split(' ');
    let (kind, name, buffer, stored) =
        (words.next()?, words.next()?, words.next()?, words.next().unwrap_or("Element"));
    // The body that loads four elements, converted to f32 or in the stored type.
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

/// Expands every marked loop, outer loops first.
fn unroll(text: &str) -> String {
    let mut text = text.to_owned();
    while let Some(expanded) = unroll_first(&text) {
        text = expanded;
    }
    text
}

/// Expands the first marked loop. Returns `None` if there is none, or if it does not have the
/// documented form; it then stays a loop.
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

/// Returns the text between the first `start` and the next `end`.
fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    text.split_once(start)?.1.split_once(end).map(|(found, _)| found)
}

/// Returns the value of `name`: a literal, a `const` of the text, or a product or quotient of two
/// of them.
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

/// Returns `line` with the identifier `name` replaced by a literal.
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
