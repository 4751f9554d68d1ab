//! CSV files: an optional header, then rows of features with the label in the last column.

use std::io::Read;
use std::path::Path;

use ::csv::{ByteRecord, ErrorKind, ReaderBuilder, Terminator, Trim};

use super::{DataSet, MAX_LABEL, Samples, Values, unpacked, unreadable};
use wgpu_dropout::{Result, Unit, file};

pub(super) fn open(path: &Path) -> Result<DataSet> {
    let [train, test] = read(path, file::open(path)?)?;
    DataSet::new(path, "every fifth row", train, test)
}

/// Reads the rows of a file, packed or plain, into a training set and a test set. Every fifth row
/// is a test row, because files are often sorted and the last rows would not represent the rest.
/// `path` is for errors.
pub(super) fn read(path: &Path, input: impl Read) -> Result<[Samples; 2]> {
    let input = unpacked(input).map_err(|e| unreadable(path, &e))?;
    // Only `\n` ends a line, and one is appended to the file. The last line of every row is then
    // the one before the reader's own. A `\r` before the `\n` is a space to trim, and a line of
    // spaces is a row of one empty field.
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(Trim::All)
        .terminator(Terminator::Any(b'\n'))
        .from_reader(input.chain(&b"\n"[..]));

    let mut record = ByteRecord::new();
    let mut columns = None;
    let mut rows = 0;
    let mut parts: [(Vec<f32>, Vec<u32>); 2] = Default::default();
    while reader.read_byte_record(&mut record).map_err(|e| match e.into_kind() {
        ErrorKind::Io(e) => unreadable(path, &e),
        other => file::refused(path.display(), format!("{other:?}")),
    })? {
        if record.len() == 1 && record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let line = reader.position().line().saturating_sub(1);
        let refused = |column: usize, what| {
            let path = path.display();
            file::refused(format_args!("{path}: line {line}, column {column}"), what)
        };

        let first = columns.is_none();
        if !first && record.as_slice().contains(&b'\n') {
            let start = record.position().map_or(line, |start| start.line());
            let what = "one row: a number runs over a line's end, or its quote is never closed";
            return Err(file::refused(
                format_args!("{}: lines {start} to {line}", path.display()),
                what,
            ));
        }
        let columns = *columns.get_or_insert(record.len());
        if columns < 2 {
            return Err(refused(
                1,
                "the only column: expected features and, in the last column, a label".to_owned(),
            ));
        }
        if record.len() != columns {
            let what = format!("the row ends here, expected {columns} columns as in the first row");
            return Err(refused(record.len(), what));
        }
        if first && record.iter().any(is_name) {
            continue;
        }

        let [train, test] = &mut parts;
        let (values, labels) = if rows % 5 == 4 { test } else { train };
        for (column, text) in (1..).zip(&record) {
            if column < columns {
                values.push(feature(text).map_err(|what| refused(column, what))?);
            } else {
                labels.push(label(text).map_err(|what| refused(column, what))?);
            }
        }
        rows += 1;
    }

    if rows < 5 {
        let what = format!(
            "{rows} rows of data: at least 5 are needed, since every fifth one is a test row"
        );
        return Err(file::refused(path.display(), what));
    }
    let cols = columns.unwrap_or(1) - 1;
    Ok(parts.map(|(values, labels)| Samples {
        values: Values::Floats(values),
        unit: Unit::One,
        rows: labels.len(),
        cols,
        labels,
    }))
}

/// Returns true if this field of the first row shows that the row is a header. An empty field does
/// not: it may be a missing number.
fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && number::<f32>(text).is_none()
}

fn feature(text: &[u8]) -> std::result::Result<f32, String> {
    match number::<f32>(text) {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => Err(format!("{}: features must be finite f32 numbers", shown(text))),
        None => Err(format!("{}: expected a number", shown(text))),
    }
}

/// Parses a label, which may be written as a float: NumPy writes a column of a float matrix so.
fn label(text: &[u8]) -> std::result::Result<u32, String> {
    number::<f64>(text)
        .filter(|label| label.fract() == 0.0 && (0.0..=f64::from(MAX_LABEL)).contains(label))
        .map(|label| label as u32)
        .ok_or_else(|| format!("label {}: must be an integer from 0 to {MAX_LABEL}", shown(text)))
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns a field as an error quotes it.
fn shown(text: &[u8]) -> String {
    format!("`{}`", file::shown(&String::from_utf8_lossy(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<[Samples; 2]> {
        read(Path::new("x.csv"), text.as_bytes())
    }

    fn error(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn header_line_ends_spaces_quotes_and_blank_lines_make_no_difference() {
        let plain = "1,2.5,0\n3,4,1\n5,6,0\n7,8,1\n-9e-1,+10,2\n11,12,3\n";
        let [train, test] = parse(plain).unwrap();
        assert_eq!(
            train.values,
            Values::Floats(vec![1.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 11.0, 12.0])
        );
        assert_eq!(
            (train.rows, train.cols, train.unit, &train.labels[..]),
            (5, 2, Unit::One, &[0, 1, 0, 1, 3][..])
        );
        assert_eq!(
            (test.values.clone(), &test.labels[..]),
            (Values::Floats(vec![-0.9, 10.0]), &[2][..])
        );
        for same in [
            plain.trim_end().to_owned(),
            format!("x,y,label\n{plain}"),
            format!("\u{feff}\"a, b\",,label\r\n{}", plain.replace('\n', "\r\n")),
            plain.replace(',', " ,\t").replace('\n', "\n\n  \n"),
            plain.replace("3,4,1", "\"3\",\" 4 \",\"1\""),
            plain.replace(",0\n", ",0.000000000000000000e+00\n"),
        ] {
            assert_eq!(parse(&same).unwrap(), [train.clone(), test.clone()], "{same:?}");
        }
    }

    #[test]
    fn errors_name_the_line_and_the_column() {
        let rows = "a,b,c\r\n\r\n1,2,0\n\n1,2,0\n";
        for (row, what) in [
            ("1,zwei,0", "column 2: `zwei`: expected a number"),
            ("1,,0", "column 2: ``: expected a number"),
            ("nan,2,0", "column 1: `nan`: features must be finite f32 numbers"),
            ("1,1e39,0", "column 2: `1e39`: features must be finite f32 numbers"),
            ("1,2,-1", "column 3: label `-1`: must be an integer from 0 to 65535"),
            ("1,2,0.5", "column 3: label `0.5`: must be an integer from 0 to 65535"),
            ("1,2,65536", "column 3: label `65536`: must be an integer from 0 to 65535"),
            ("1,2,nan", "column 3: label `nan`: must be an integer from 0 to 65535"),
            ("1,2", "column 2: the row ends here, expected 3 columns as in the first row"),
            ("1,2,3,0", "column 4: the row ends here, expected 3 columns as in the first row"),
        ] {
            assert_eq!(error(&format!("{rows}{row}")), format!("x.csv: line 6, {what}"));
            assert_eq!(error(&format!("{rows}{row}\r\n1,2,0")), format!("x.csv: line 6, {what}"));
        }
    }

    #[test]
    fn a_missing_number_in_the_first_row_makes_no_header_of_it() {
        assert_eq!(error("1,,0\n1,2,0\n"), "x.csv: line 1, column 2: ``: expected a number");
    }

    #[test]
    fn too_few_rows_or_columns_are_refused() {
        for (text, rows) in
            [("", 0), ("\n \r\n", 0), ("a,b\n", 0), ("1,0\n", 1), ("a,b\n1,0\n1,0\n1,0\n1,0\n", 4)]
        {
            let what = format!(
                "x.csv: {rows} rows of data: at least 5 are needed, since every fifth one is a test row"
            );
            assert_eq!(error(text), what);
        }
        assert_eq!(
            error("1\n2\n"),
            "x.csv: line 1, column 1: the only column: expected features and, in the last column, a label"
        );
    }

    #[test]
    fn an_open_quote_is_found_where_it_stands() {
        let message = error(&format!("1,0\n\"2,0\n{}", "1,0\n".repeat(1000)));
        assert_eq!(
            message,
            "x.csv: lines 2 to 1003: one row: a number runs over a line's end, or its quote is never closed"
        );
    }

    #[test]
    fn a_long_field_is_quoted_short() {
        let message = error(&format!("1,0\n{},0\n", "x".repeat(1000)));
        assert_eq!(
            message,
            format!("x.csv: line 2, column 1: `{}…`: expected a number", "x".repeat(80))
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_refused() {
        let message = read(Path::new("x.csv"), &b"1,0\n\xff,0\n"[..]).unwrap_err().to_string();
        assert_eq!(message, "x.csv: line 2, column 1: `\u{fffd}`: expected a number");
    }
}
