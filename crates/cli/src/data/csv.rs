//! CSV files: an optional header, then rows of features, with a class in one column.

use std::io::{Chain, Read};
use std::path::Path;

use ::csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Terminator, Trim};

use super::classes::Names;
use super::columns::{Columns, Header, Label, Layout, Separator, is_header};
use super::{Samples, Values};
use wgpu_dropout::{Error, Result, Unit, file};

/// Rows of a CSV file, in the file's order.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Features, `rows × cols`, finite.
    pub features: Vec<f32>,
    /// Number of rows.
    pub rows: usize,
    /// Number of features of a row.
    pub cols: usize,
    /// Class of each row, an index into `classes`, if there is a label column. A row whose label is
    /// empty has none.
    pub labels: Option<Vec<Option<u32>>>,
    /// Names of the classes, sorted.
    pub classes: Vec<String>,
    pub(super) layout: Layout,
}

/// Column of the label that a reader needs or accepts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Wanted {
    /// There is one, and no label is empty.
    Labels,
    /// There is one if an option says so, or if the file has a column more than these features.
    Features(usize),
}

impl Table {
    /// Reads the rows of a text. `path` is for errors.
    ///
    /// Blank lines, of spaces alone, are skipped. Spaces around a field do not count.
    pub(super) fn parse(
        path: &Path,
        text: &str,
        columns: &Columns,
        wanted: Wanted,
    ) -> Result<Self> {
        let separator = columns.separator.unwrap_or_else(|| Separator::found(text));
        let mut rows = Rows::new(path, text, separator).peekable();
        let Some(first) = rows.next().transpose()? else {
            return Err(file::refused(path.display(), "has no rows"));
        };
        let width = first.fields.len();
        let label = label(path, columns, wanted, &first.fields)?;
        let second = rows.peek().and_then(|row| row.as_ref().ok());
        let header = match (columns.header, &columns.label) {
            (Some(Header::No), Some(Label::Name(name))) => {
                let what = format!("--label {name}: without a header, give the column's number");
                return Err(Error::Invalid { what });
            }
            (Some(header), _) => header == Header::Yes,
            (None, Some(Label::Name(_))) => true,
            (None, _) => is_header(&first.fields, second.map(|row| &row.fields), label),
        };

        let names = |row: &Row| row.fields.iter().map(str::to_owned).collect();
        let layout =
            Layout { separator, header: header.then(|| (first.line, names(&first))), label };
        let mut table = Self {
            features: Vec::new(),
            rows: 0,
            cols: width - usize::from(label.is_some()),
            labels: label.map(|_| Vec::new()),
            classes: Vec::new(),
            layout,
        };
        let mut classes = Names::default();
        for row in (!header).then_some(Ok(first)).into_iter().chain(rows) {
            table.push(path, &row?, width, &mut classes, matches!(wanted, Wanted::Labels))?;
        }
        if table.rows == 0 && columns.header.is_none() {
            let what = "has no rows of data: its first row was taken for a header; --header no \
                        reads it as data";
            return Err(file::refused(path.display(), what));
        }
        table.name(&classes);
        Ok(table)
    }

    /// Adds a row.
    fn push(
        &mut self,
        path: &Path,
        row: &Row,
        width: usize,
        classes: &mut Names,
        labels_needed: bool,
    ) -> Result<()> {
        let Row { start, line, fields } = row;
        let path = path.display();
        let refused = |column: usize, what: String| {
            let column = self.layout.column(column);
            file::refused(format_args!("{path}: line {line}, {column}"), what)
        };
        if fields.as_slice().contains('\n') {
            let what = "one row: a field runs over a line's end, or its quote is never closed";
            return Err(file::refused(format_args!("{path}: lines {start} to {line}"), what));
        }
        if fields.len() != width {
            let what = format!(
                "{} columns, separated by {}; the first row has {width}",
                fields.len(),
                self.layout.separator
            );
            return Err(file::refused(format_args!("{path}: line {line}"), what));
        }
        let mut features = Vec::with_capacity(self.cols);
        let mut class = None;
        for (column, text) in fields.iter().enumerate() {
            if Some(column) != self.layout.label {
                features.push(feature(text).map_err(|what| refused(column, what))?);
                continue;
            }
            class = classes.index(text).map_err(|what| refused(column, what))?;
            if class.is_none() && labels_needed {
                return Err(refused(column, "the label is missing".to_owned()));
            }
        }
        self.features.append(&mut features);
        self.labels.iter_mut().for_each(|labels| labels.push(class));
        self.rows += 1;
        Ok(())
    }

    /// Names the classes, and turns the labels into indices of the sorted names.
    fn name(&mut self, classes: &Names) {
        let (names, places) = classes.sorted();
        self.classes = names;
        self.renumber(&places);
    }

    fn renumber(&mut self, new: &[u32]) {
        for class in self.labels.iter_mut().flatten().flatten() {
            *class = new[*class as usize];
        }
    }

    /// Gives each table the classes of all.
    pub(super) fn share_classes(tables: &mut [Self]) -> std::result::Result<(), String> {
        let mut names = Names::default();
        for table in &mut *tables {
            let shared: std::result::Result<Option<Vec<u32>>, String> =
                table.classes.iter().map(|name| names.index(name)).collect();
            table.renumber(&shared?.unwrap_or_default());
        }
        tables.iter_mut().for_each(|table| table.name(&names));
        Ok(())
    }

    /// Returns the rows for which `takes` is true. A row without a label has class 0.
    pub fn samples(&self, takes: impl Fn(usize) -> bool) -> Samples {
        let rows: Vec<usize> = (0..self.rows).filter(|&row| takes(row)).collect();
        let features = |row: &usize| &self.features[row * self.cols..][..self.cols];
        let class = |row: &usize| self.labels.as_ref().and_then(|labels| labels[*row]).unwrap_or(0);
        Samples {
            values: Values::Floats(rows.iter().flat_map(features).copied().collect()),
            unit: Unit::One,
            labels: rows.iter().map(class).collect(),
            rows: rows.len(),
            cols: self.cols,
        }
    }
}

/// Returns the index of the label's column.
fn label(
    path: &Path,
    columns: &Columns,
    wanted: Wanted,
    first: &StringRecord,
) -> Result<Option<usize>> {
    let width = first.len();
    let given = columns.label.as_ref().map(|label| label.index(first)).transpose();
    let given = given.map_err(|what| Error::Invalid { what })?;
    match wanted {
        Wanted::Labels if width < 2 => Err(file::refused(
            path.display(),
            "has only one column: expected features and a label; --separator says what divides them",
        )),
        Wanted::Labels => Ok(given.or(Some(width - 1))),
        Wanted::Features(features) => {
            let label = given.or((width == features + 1).then_some(features));
            if width == features + usize::from(label.is_some()) {
                return Ok(label);
            }
            let what = format!(
                "{}: {width} columns, but the network takes {features} features a row, with or \
                 without a label",
                path.display()
            );
            Err(Error::Invalid { what })
        }
    }
}

/// A row of text.
struct Row {
    /// Its first line, from 1.
    start: u64,
    /// Its last line.
    line: u64,
    fields: StringRecord,
}

/// Rows of a file that are not blank.
struct Rows<'a> {
    reader: Reader<Chain<&'a [u8], &'a [u8]>>,
    path: &'a Path,
}

impl<'a> Rows<'a> {
    fn new(path: &'a Path, text: &'a str, separator: Separator) -> Self {
        // A line end is appended. The last line of every row is then the one before the reader's
        // own.
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .delimiter(separator.byte())
            .terminator(Terminator::Any(b'\n'))
            .from_reader(text.as_bytes().chain(&b"\n"[..]));
        Self { reader, path }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Result<Row>> {
        let mut fields = StringRecord::new();
        loop {
            match self.reader.read_record(&mut fields) {
                Ok(false) => return None,
                Ok(true) if fields.iter().eq([""]) => {}
                Ok(true) => break,
                Err(error) => {
                    let what = match error.into_kind() {
                        ErrorKind::Io(error) => error.to_string(),
                        other => format!("{other:?}"),
                    };
                    return Some(Err(file::refused(self.path.display(), what)));
                }
            }
        }
        let line = self.reader.position().line().saturating_sub(1);
        let start = fields.position().map_or(line, |start| start.line());
        Some(Ok(Row { start, line, fields }))
    }
}

fn feature(text: &str) -> std::result::Result<f32, String> {
    let shown = file::shown(text);
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err(format!("`{shown}`: features must be finite f32 numbers")),
        Err(_) if text.contains(',') && text.replacen(',', ".", 1).parse::<f32>().is_ok() => {
            Err(format!("`{shown}`: expected a number, with a point for the decimals"))
        }
        Err(_) => Err(format!("`{shown}`: expected a number")),
    }
}

#[cfg(test)]
mod tests;
