//! Columns of a CSV file: which separator divides them, which line names them, and which of them is
//! the label. Each is told by an option or recognized in the file.

use std::fmt;

use ::csv::StringRecord;
use wgpu_dropout::file;

/// Options that describe the columns of a CSV file.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Options of CSV files")]
pub struct Columns {
    /// Column of the label: `first`, `last`, its number from 1, or its name in the header [default:
    /// last]
    #[arg(long, value_name = "first|last|NUMBER|NAME", value_parser = label)]
    pub label: Option<Label>,
    /// The first row holds the names of the columns, or data [default: names, if it holds text
    /// where numbers are expected]
    #[arg(long, value_enum)]
    pub header: Option<Header>,
    /// Separator of columns [default: the one that is most frequent in the first line]
    #[arg(long, value_enum, hide_possible_values = true, value_name = ",|;|tab")]
    pub separator: Option<Separator>,
}

impl Columns {
    /// Returns the option that was given, if there is one.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            self.label.as_ref().map(|_| "--label"),
            self.header.map(|_| "--header"),
            self.separator.map(|_| "--separator"),
        ];
        given.into_iter().flatten().next()
    }
}

/// Column that holds the label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    /// The first one.
    First,
    /// The last one.
    Last,
    /// The one with this number, from 1.
    Number(usize),
    /// The one with this name in the header.
    Name(String),
}

fn label(text: &str) -> Result<Label, String> {
    match (text.trim(), text.trim().parse()) {
        ("first", _) => Ok(Label::First),
        ("last", _) => Ok(Label::Last),
        ("", _) | (_, Ok(0)) => {
            Err("must be `first`, `last`, a number from 1, or a name".to_owned())
        }
        (_, Ok(number)) => Ok(Label::Number(number)),
        (name, Err(_)) => Ok(Label::Name(name.to_owned())),
    }
}

impl Label {
    /// Returns the index of the column among those of the first row.
    pub(super) fn index(&self, first: &StringRecord) -> Result<usize, String> {
        let columns = first.len();
        match self {
            Self::First => Ok(0),
            Self::Last => Ok(columns.saturating_sub(1)),
            Self::Number(number) if *number <= columns => Ok(number - 1),
            Self::Number(number) => {
                Err(format!("--label {number}: the file has {columns} columns"))
            }
            Self::Name(name) => {
                let mut found =
                    (0..columns).filter(|&column| first.get(column) == Some(name.as_str()));
                match (found.next(), found.next()) {
                    (Some(column), None) => Ok(column),
                    (Some(one), Some(other)) => Err(format!(
                        "--label {name}: the name of columns {} and {}: give the number",
                        one + 1,
                        other + 1
                    )),
                    _ => Err(format!(
                        "--label {name}: the first row has no such name: {}",
                        list(first)
                    )),
                }
            }
        }
    }
}

/// Meaning of the first row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Header {
    /// It holds names.
    Yes,
    /// It holds data.
    No,
}

/// Character between two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Separator {
    /// `,`
    #[value(name = ",", alias = "comma")]
    Comma,
    /// `;`
    #[value(name = ";", alias = "semicolon")]
    Semicolon,
    /// A tab
    #[value(name = "tab", aliases = ["\\t", "\t"])]
    Tab,
}

impl Separator {
    /// Returns the character.
    pub(super) fn byte(self) -> u8 {
        match self {
            Self::Comma => b',',
            Self::Semicolon => b';',
            Self::Tab => b'\t',
        }
    }

    /// Returns the separator that is most frequent in the first line with text, outside quotes; of
    /// equally frequent ones, the first variant.
    pub(super) fn found(text: &str) -> Self {
        let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let unquoted: String = line.split('"').step_by(2).collect();
        let count = |one: &Self| unquoted.bytes().filter(|byte| *byte == one.byte()).count();
        // Of equals, `max_by_key` returns the last.
        let all = [Self::Tab, Self::Semicolon, Self::Comma];
        all.into_iter().max_by_key(count).unwrap_or(Self::Comma)
    }
}

impl fmt::Display for Separator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tab => f.write_str("tabs"),
            other => write!(f, "`{}`", char::from(other.byte())),
        }
    }
}

/// Returns true if the first row names the columns: if a feature's field holds text, or if the
/// label's does and the label below it is a number. An empty field may be a missing number.
pub(super) fn is_header(
    first: &StringRecord,
    second: Option<&StringRecord>,
    label: Option<usize>,
) -> bool {
    let is_number = |text: &str| text.parse::<f64>().is_ok();
    let is_name = |text: &str| !text.is_empty() && !is_number(text);
    first.iter().enumerate().any(|(column, text)| {
        let number_below = || second.and_then(|second| second.get(column)).is_some_and(is_number);
        is_name(text) && (Some(column) != label || number_below())
    })
}

/// Separator, header and label of a table as they were recognized.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layout {
    pub separator: Separator,
    /// The line of the header, and its names.
    pub header: Option<(u64, Vec<String>)>,
    /// Index of the label's column.
    pub label: Option<usize>,
}

impl Layout {
    /// Returns the name of a column, or an empty string.
    fn name(&self, column: usize) -> &str {
        self.header.as_ref().and_then(|(_, names)| names.get(column)).map_or("", String::as_str)
    }

    /// Returns a column as a message names it.
    pub fn column(&self, column: usize) -> String {
        match self.name(column) {
            "" => format!("column {}", column + 1),
            name => format!("column {} `{}`", column + 1, file::shown(name)),
        }
    }

    /// Returns the names of the features, if there is a header.
    pub fn features(&self) -> Option<Vec<&str>> {
        let (_, names) = self.header.as_ref()?;
        let columns = names.iter().enumerate();
        Some(columns.filter(|(column, _)| Some(*column) != self.label).map(|(_, n)| &**n).collect())
    }

    /// Returns a remark if another column has a name that says that it holds the label.
    pub fn likelier_label(&self) -> Option<String> {
        let label = self.label?;
        let says = |name: &str| {
            ["label", "class", "target", "species"].iter().any(|one| one.eq_ignore_ascii_case(name))
        };
        let (_, names) = self.header.as_ref()?;
        let other = names.iter().position(|name| says(name)).filter(|_| !says(self.name(label)))?;
        Some(format!(
            "{} is taken for the label, although there is {}: add --label {} or --label {}",
            self.column(label),
            self.column(other),
            label + 1,
            other + 1
        ))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "separated by {}, ", self.separator)?;
        match &self.header {
            Some((line, _)) => write!(f, "header in line {line}, ")?,
            None => f.write_str("no header, ")?,
        }
        match self.label {
            Some(label) => write!(f, "label in {}", self.column(label)),
            None => f.write_str("no label"),
        }
    }
}

/// Returns names as a message lists them.
fn list(names: &StringRecord) -> String {
    let shown: Vec<_> =
        names.iter().take(8).map(|name| format!("`{}`", file::shown(name))).collect();
    shown.join(", ") + if names.len() > 8 { ", …" } else { "" }
}
