//! Reads what a shader says of itself in its marks: comment lines that begin with a keyword.
//!
//! | mark | meaning |
//! |---|---|
//! | `// join PART …` | files that are joined to this one, in order; `product` stands for the files of a tile |
//! | `// width WIDTH …` | widths of loads and stores that the kernel has: `scalar` (alone where there is no mark), `vec4`, `vec8` |
//! | `// choice NAME VALUE … [if NAME VALUE …]` | a constant that is compiled in; its first value is the default, and the only one unless the conditions hold |
//! | `// takes WHAT [if NAME VALUE …]` | `state` (rate, scale, step and seed can be read from a buffer), `f16` (tensors can be stored so), `sums` (comes as the second dispatch of a split sum), `spread` (a strip's quads can lie a workgroup apart) |
//! | `// if NAME VALUE …`, `// else`, `// end` | lines that are kept where a choice has one of these values |
//! | `// loader …`, `// storer …`, `// unroll` | see [`source`](super::source) |
//!
//! The first four stand together, in the paragraph after the head; each line of it must be a mark.
//! In conditions `DIVISION`, `WIDTH`, `IN_PLACE`, `STATE` (read from a buffer) and `OWN` (the kernel
//! has words of its own) are names too. A mark that cannot be read is an error, which a test of every
//! shader finds.

use super::source::Width;
use super::tile::Tile;
use super::variant::{Division, Variant};

/// Most choices of a kernel.
pub(super) const CHOICES: usize = 4;

/// A constant that is compiled in, and its values.
#[derive(Debug)]
pub(super) struct Choice {
    pub name: &'static str,
    /// The default first.
    pub values: Vec<&'static str>,
    /// Conditions under which there is more than the default.
    only_if: Vec<Condition>,
}

/// A name and the value that it must have.
type Condition = (&'static str, &'static str);

/// An open `// if`: a name, its values, and true in the lines before `// else`.
type Test<'a> = (&'a str, Vec<&'a str>, bool);

/// A tensor that the shader declares.
#[derive(Debug)]
struct Tensor {
    name: &'static str,
    index: usize,
    written: bool,
    only_if: Vec<Test<'static>>,
}

/// Something that a kernel can take, and the forms that take it.
#[derive(Debug)]
struct Takes {
    what: &'static str,
    only_if: Vec<Condition>,
}

/// A kernel's file, read.
#[derive(Debug)]
pub(super) struct Shader {
    pub text: &'static str,
    /// Names of the files joined to it, in order.
    pub joins: Vec<&'static str>,
    pub widths: Vec<Width>,
    pub choices: Vec<Choice>,
    /// Ways in which threads can share the work, the default first.
    pub divisions: Vec<Division>,
    takes: Vec<Takes>,
    tensors: Vec<Tensor>,
    /// Name and type of each field of the struct `Own`.
    pub own: Vec<(&'static str, &'static str)>,
}

impl Shader {
    /// Reads the marks of a kernel's file.
    pub fn read(text: &'static str) -> Result<Self, String> {
        let mut shader = Self {
            text,
            joins: Vec::new(),
            widths: vec![Width::Scalar],
            choices: Vec::new(),
            divisions: Vec::new(),
            takes: Vec::new(),
            tensors: tensors(text)?,
            own: own_fields(text)?,
        };
        for line in marks(text) {
            let mut words = line.trim_start_matches("// ").split(' ');
            match words.next() {
                Some("join") => shader.joins.extend(words),
                Some("width") => {
                    shader.widths =
                        words.map(|word| read_width(word, line)).collect::<Result<_, _>>()?;
                }
                Some("choice") => shader.choices.push(read_choice(words, line)?),
                Some("takes") => {
                    let (named, only_if) = named_and_conditions(words, line)?;
                    let [what @ ("state" | "f16" | "sums" | "spread")] = named[..] else {
                        return Err(format!("`{line}`: must name state, f16, sums or spread"));
                    };
                    shader.takes.push(Takes { what, only_if });
                }
                _ => return Err(format!("`{line}`: no mark begins so")),
            }
        }
        if shader.choices.len() > CHOICES {
            return Err(format!("more than {CHOICES} choices"));
        }
        shader.divisions = shader.divided();
        Ok(shader)
    }

    /// The divisions that follow from what is joined.
    fn divided(&self) -> Vec<Division> {
        if self.is_joined_with("product") {
            let tiles = Tile::ALL.map(Division::Tile).into_iter();
            tiles.chain(self.can_take("sums").then_some(Division::Join)).collect()
        } else if self.is_joined_with("block") {
            let stacked = self.is_joined_with("rows").then_some(Division::Stacked);
            [Division::Pairs].into_iter().chain(stacked).chain([Division::Flat]).collect()
        } else {
            vec![Division::Itself]
        }
    }

    /// Returns the tensors that a form binds, in order: the index of each among the kernel's, and
    /// true if it is written.
    pub fn bindings(&self, form: Variant) -> impl Iterator<Item = (usize, bool)> {
        let bound = self.tensors.iter().filter(move |tensor| form.passes(&tensor.only_if));
        bound.map(|tensor| (tensor.index, tensor.written))
    }

    /// Returns the names of the tensors that a form binds, in order.
    pub fn names(&self, form: Variant) -> impl Iterator<Item = &'static str> {
        let bound = self.tensors.iter().filter(move |tensor| form.passes(&tensor.only_if));
        bound.map(|tensor| tensor.name)
    }

    /// Returns true if the form takes `what`.
    pub fn takes(&self, what: &str, form: &Variant) -> bool {
        let met = |takes: &Takes| takes.what == what && form.meets(&takes.only_if);
        self.takes.iter().any(met)
    }

    /// Returns true if some form takes `what`.
    pub fn can_take(&self, what: &str) -> bool {
        self.takes.iter().any(|takes| takes.what == what)
    }

    /// Returns true if a file of this name is joined.
    pub fn is_joined_with(&self, part: &str) -> bool {
        self.joins.contains(&part)
    }

    /// The values that a form can have in choice `index`.
    pub fn values(&self, index: usize, form: &Variant) -> usize {
        let choice = &self.choices[index];
        if form.meets(&choice.only_if) { choice.values.len() } else { 1 }
    }
}

/// The lines of the paragraph of marks: the first paragraph of comments after the head of which a
/// line begins as a mark does. All of its lines must be marks.
fn marks(text: &'static str) -> impl Iterator<Item = &'static str> {
    let is_mark = |line: &str| {
        ["// join ", "// width ", "// choice ", "// takes "]
            .iter()
            .any(|mark| line.starts_with(mark))
    };
    let paragraph = text.split("\n\n").skip(1).find(|part| part.lines().any(is_mark));
    paragraph.unwrap_or_default().lines()
}

fn read_width(word: &str, line: &str) -> Result<Width, String> {
    match word {
        "scalar" => Ok(Width::Scalar),
        "vec4" => Ok(Width::Vec4),
        "vec8" => Ok(Width::Vec8),
        _ => Err(format!("`{line}`: `{word}` is no width")),
    }
}

fn read_choice(words: std::str::Split<'static, char>, line: &str) -> Result<Choice, String> {
    let (mut named, only_if) = named_and_conditions(words, line)?;
    if named.len() < 2 {
        return Err(format!("`{line}`: must have a name and a value at least"));
    }
    let name = named.remove(0);
    Ok(Choice { name, values: named, only_if })
}

/// The words before `if`, and the pairs after it.
fn named_and_conditions(
    words: std::str::Split<'static, char>,
    line: &str,
) -> Result<(Vec<&'static str>, Vec<Condition>), String> {
    let words: Vec<&'static str> = words.collect();
    let at = words.iter().position(|&word| word == "if").unwrap_or(words.len());
    let pairs = words.get(at + 1..).unwrap_or_default().chunks(2);
    let pairs: Option<Vec<Condition>> =
        pairs.map(|pair| Some((*pair.first()?, *pair.get(1)?))).collect();
    match pairs {
        Some(pairs) if at > 0 && (at == words.len() || !pairs.is_empty()) => {
            Ok((words[..at].to_vec(), pairs))
        }
        _ => Err(format!("`{line}`: conditions must be pairs of a name and a value")),
    }
}

/// The fields of the struct `Own`.
fn own_fields(text: &'static str) -> Result<Vec<(&'static str, &'static str)>, String> {
    let Some((_, body)) = text.split_once("struct Own {\n") else { return Ok(Vec::new()) };
    let body = body.split_once('}').ok_or("struct Own has no end")?.0;
    let field = |line: &'static str| {
        let (name, rest) = line.trim().split_once(": ")?;
        Some((name, rest.split_once(',')?.0))
    };
    let lines = body.lines().filter(|line| !line.trim().starts_with("//"));
    let fields: Option<Vec<_>> = lines.map(field).collect();
    let fields = fields.ok_or("struct Own has a field that is not `name: type,`")?;
    match fields.iter().all(|(_, kind)| matches!(*kind, "u32" | "f32")) {
        true => Ok(fields),
        false => Err("struct Own has a field that is neither u32 nor f32".to_owned()),
    }
}

/// The lines that are no marks of conditions, each with what it is kept for.
fn tested(text: &str) -> Result<Vec<(&str, Vec<Test<'_>>)>, String> {
    let mut open: Vec<Test<'_>> = Vec::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mark = line.trim_start().strip_prefix("// ").map(|mark| mark.split(' '));
        let mut words = mark.into_iter().flatten();
        match (words.next(), words.next()) {
            (Some("if"), Some(name)) if is_name(name) => open.push((name, words.collect(), true)),
            (Some("else"), None) => {
                let last = open.last_mut().ok_or("`// else` without `// if`")?;
                last.2 = !last.2;
            }
            (Some("end"), None) => {
                open.pop().ok_or("`// end` without `// if`")?;
            }
            _ => lines.push((line, open.clone())),
        }
    }
    if open.is_empty() { Ok(lines) } else { Err("`// if` without `// end`".to_owned()) }
}

/// Keeps the lines whose conditions the form meets.
pub(super) fn conditional(text: &str, form: &Variant) -> Result<String, String> {
    let mut kept = String::with_capacity(text.len());
    for (line, tests) in tested(text)? {
        if let Some((name, ..)) = tests.iter().find(|(name, ..)| form.value_of(name).is_none()) {
            return Err(format!("`// if {name}`: the kernel has no such choice"));
        }
        if form.passes(&tests) {
            kept += line;
            kept.push('\n');
        }
    }
    Ok(kept)
}

/// The tensors that a shader declares.
fn tensors(text: &'static str) -> Result<Vec<Tensor>, String> {
    let declared = |(line, only_if): (&'static str, Vec<Test<'static>>)| {
        let (index, written) = declared(line)?;
        let name = line.split_once("> ")?.1.split_once(':')?.0;
        Some(Tensor { name, index, written, only_if })
    };
    let tensors: Vec<Tensor> = tested(text)?.into_iter().filter_map(declared).collect();
    match tensors.is_sorted_by_key(|tensor| tensor.index) {
        true => Ok(tensors),
        false => Err("tensors must be declared in the order of their bindings".to_owned()),
    }
}

/// The index of the tensor that a line declares, and true if it is written.
pub(super) fn declared(line: &str) -> Option<(usize, bool)> {
    let (index, rest) = line.strip_prefix("@group(0) @binding(")?.split_once(')')?;
    Some((index.parse().ok()?, rest.starts_with(" var<storage, read_write>")))
}

/// Names of choices are in capitals, so that prose which begins with "if" is no mark.
fn is_name(word: &str) -> bool {
    word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

impl Variant {
    /// Returns true if every name has its value.
    fn meets(&self, conditions: &[Condition]) -> bool {
        conditions.iter().all(|(name, value)| self.value_of(name) == Some(value))
    }

    /// Returns true if the lines under these tests are kept.
    fn passes(&self, tests: &[Test<'_>]) -> bool {
        tests.iter().all(|(name, values, is)| {
            self.value_of(name).is_some_and(|value| values.contains(&value)) == *is
        })
    }

    /// The value of a choice, or of what every kernel has.
    pub(super) fn value_of(&self, name: &str) -> Option<&'static str> {
        let yes = |is| if is { "yes" } else { "no" };
        match name {
            "DIVISION" => Some(match self.division {
                Division::Itself => "itself",
                Division::Tile(_) => "tile",
                Division::Join => "join",
                Division::Pairs => "pairs",
                Division::Stacked => "stacked",
                Division::Flat => "flat",
            }),
            "WIDTH" => Some(match self.width {
                Width::Scalar => "scalar",
                Width::Vec4 => "vec4",
                Width::Vec8 => "vec8",
            }),
            "IN_PLACE" => Some(yes(self.in_place)),
            "STATE" => Some(yes(self.reads_state())),
            "OWN" => Some(yes(!self.stem.own_words().is_empty())),
            _ => self.choice(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Stem;

    #[test]
    fn every_shader_is_read_and_every_condition_names_a_choice_it_has() {
        for stem in Stem::ALL {
            let shader =
                Shader::read(stem.file()).unwrap_or_else(|why| panic!("{}: {why}", stem.name()));
            let conditions = shader.takes.iter().map(|takes| &takes.only_if);
            let conditions = conditions.chain(shader.choices.iter().map(|choice| &choice.only_if));
            for (name, _) in conditions.flatten() {
                let has = Variant::new(stem).value_of(name).is_some();
                assert!(has, "{}: {name}", stem.name());
            }
        }
    }

    #[test]
    fn a_mark_that_cannot_be_read_is_an_error() {
        for text in [
            "// choice GATE",
            "// choice GATE none relu if",
            "// choice GATE none relu if DIVISION",
            "// width scalar vec3",
            "// takes f17",
            "// join relu\n// jion relu",
            "struct Own {\n    rate: vec2<f32>,\n}",
            "struct Own {\n    rate\n}",
        ] {
            let text = format!("// a head\n\n{text}\n\nfn main() {{}}\n").leak();
            assert!(Shader::read(text).is_err(), "{text}");
        }
        let form = Variant::new(Stem::Sgd);
        for text in ["// if NOTHING yes\nx\n// end", "// if IN_PLACE yes", "// else", "// end"] {
            assert!(conditional(text, &form).is_err(), "{text}");
        }
    }

    #[test]
    fn lines_are_kept_where_their_conditions_hold() {
        let text = "a\n// if IN_PLACE yes\nb\n// else\nc\n  // if WIDTH vec4 scalar\nd\n// end\n// end\n// if so\ne\n";
        let form = Variant::new(Stem::Dropout);
        assert_eq!(conditional(text, &form).unwrap(), "a\nc\nd\n// if so\ne\n");
        let in_place = Variant { in_place: true, ..form };
        assert_eq!(conditional(text, &in_place).unwrap(), "a\nb\n// if so\ne\n");
    }
}
