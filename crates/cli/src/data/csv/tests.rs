use super::*;

fn parse_as(text: &str, columns: &Columns, wanted: Wanted) -> Result<Table> {
    Table::parse(Path::new("x.csv"), text, columns, wanted)
}

fn parse(text: &str) -> Result<Table> {
    parse_as(text, &Columns::default(), Wanted::Labels)
}

fn labeled(label: Label) -> Columns {
    Columns { label: Some(label), ..Columns::default() }
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

/// Returns a table without its layout.
fn contents(table: Table) -> Table {
    let layout = Layout { separator: Separator::Comma, header: None, label: None };
    Table { layout, ..table }
}

#[test]
fn header_separators_spaces_quotes_and_blank_lines_make_no_difference() {
    let plain = "1,2.5,b\n3,4,a\n-9e-1,+10,b\n";
    let right = contents(parse(plain).unwrap());
    let labels = Some(vec![Some(1), Some(0), Some(1)]);
    let classes = vec!["a".to_owned(), "b".to_owned()];
    assert_eq!(right.features, [1.0, 2.5, 3.0, 4.0, -0.9, 10.0]);
    assert_eq!((right.cols, right.labels.clone(), right.classes.clone()), (2, labels, classes));
    for same in [
        plain.trim_end().to_owned(),
        format!("x,y,label\n{plain}"),
        format!("\"a, b\",,label\n{plain}"),
        format!("\"two\nlines\",y,label\n{plain}"),
        format!("\n \n{plain}\n\t\n"),
        plain.replace(',', ";"),
        plain.replace(',', "\t"),
        format!("\"x;y\",\"a;b;c\",label\n{plain}"),
        plain.replace(',', " ,\t").replace('\n', "\n\n  \n"),
        plain.replace("3,4,a", "\"3\",\" 4 \",\"a\""),
    ] {
        assert_eq!(contents(parse(&same).unwrap()), right, "{same:?}");
    }
}

#[test]
fn the_label_may_be_any_column() {
    let text = "x,kind,y\n1,b,2\n3,a,4\n";
    let right = contents(parse("1,2,b\n3,4,a\n").unwrap());
    for label in [Label::Number(2), Label::Name("kind".to_owned())] {
        let table = parse_as(text, &labeled(label), Wanted::Labels).unwrap();
        assert_eq!(contents(table), right);
    }
    let first = parse_as("b,1,2\na,3,4\n", &labeled(Label::First), Wanted::Labels).unwrap();
    assert_eq!(contents(first), right);
    let no_header = Columns { header: Some(Header::No), ..labeled(Label::Name("x".to_owned())) };
    for (columns, what) in [
        (labeled(Label::Number(4)), "--label 4: the file has 3 columns"),
        (
            labeled(Label::Name("z".to_owned())),
            "--label z: the first row has no such name: `x`, `kind`, `y`",
        ),
        (no_header, "--label x: without a header, give the column's number"),
    ] {
        let error = parse_as(text, &columns, Wanted::Labels).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert_eq!(error.to_string(), what);
    }
    let twice = parse_as("a,a,b\n1,2,3\n", &labeled(Label::Name("a".to_owned())), Wanted::Labels);
    assert_eq!(
        twice.unwrap_err().to_string(),
        "--label a: the name of columns 1 and 2: give the number"
    );
}

#[test]
fn a_first_row_of_names_is_a_header() {
    let header = |text: &str, columns: &Columns| {
        parse_as(text, columns, Wanted::Labels).unwrap().layout.header.map(|(line, _)| line)
    };
    let auto = Columns::default();
    for (text, line) in [
        ("x,y,label\n1,2,0\n", Some(1)),
        ("\n\nx,y,label\n1,2,0\n", Some(3)),
        ("x,3,0\n1,2,0\n", Some(1)),
        // The label's name tells if the labels are numbers, not if they are names.
        ("0,1,label\n1,2,0\n", Some(1)),
        ("0,1,setosa\n1,2,virginica\n", None),
        ("0,1,2\n1,2,0\n", None),
    ] {
        assert_eq!(header(text, &auto), line, "{text:?}");
    }
    let told = |header| Columns { header: Some(header), ..Columns::default() };
    assert_eq!(header("0,1,2\n1,2,0\n", &told(Header::Yes)), Some(1));
    assert_eq!(header("0,1,a\n1,2,0\n", &told(Header::No)), None);
    assert_eq!(
        error("x,y,label\n"),
        "x.csv: has no rows of data: its first row was taken for a header; --header no reads it \
         as data"
    );
    assert_eq!(error("1,,0\n1,2,0\n"), "x.csv: line 1, column 2: ``: expected a number");
}

#[test]
fn a_network_s_features_tell_if_there_is_a_label() {
    let auto = Columns::default();
    let cols = |text: &str, columns: &Columns, features| {
        parse_as(text, columns, Wanted::Features(features)).map(|t| (t.cols, t.layout.label))
    };
    assert_eq!(cols("1,2\n", &auto, 2).unwrap(), (2, None));
    assert_eq!(cols("x,y\n1,2\n", &auto, 2).unwrap(), (2, None));
    assert_eq!(cols("1,2,a\n", &auto, 2).unwrap(), (2, Some(2)));
    assert_eq!(cols("a,1,2\n", &labeled(Label::First), 2).unwrap(), (2, Some(0)));
    let missing = parse_as("1,2,a\n3,4,\n", &auto, Wanted::Features(2)).unwrap();
    assert_eq!(missing.labels, Some(vec![Some(0), None]));
    // `--header yes` with no row below it is no rows.
    let none = Columns { header: Some(Header::Yes), ..Columns::default() };
    assert_eq!(parse_as("x,y\n", &none, Wanted::Features(2)).unwrap().rows, 0);
    for (text, columns) in [("1,2,3,4\n", &auto), ("1\n", &auto), ("1,2\n", &labeled(Label::Last))]
    {
        let error = cols(text, columns, 2).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains("the network takes 2 features"), "{error}");
    }
}

#[test]
fn errors_name_the_line_and_the_column() {
    let rows = "a,b,kind\n\n1,2,0\n\n1,2,0\n";
    for (row, what) in [
        ("1,zwei,0", ", column 2 `b`: `zwei`: expected a number"),
        ("1,,0", ", column 2 `b`: ``: expected a number"),
        ("nan,2,0", ", column 1 `a`: `nan`: features must be finite f32 numbers"),
        ("1,1e39,0", ", column 2 `b`: `1e39`: features must be finite f32 numbers"),
        ("1,\"2,5\",0", ", column 2 `b`: `2,5`: expected a number, with a point for the decimals"),
        ("1,2,0.5", ", column 3 `kind`: label `0.5`: must be a name or a whole number"),
        ("1,2,nan", ", column 3 `kind`: label `nan`: must be a name or a whole number"),
        ("1,2,", ", column 3 `kind`: the label is missing"),
        ("1,2", ": 2 columns, separated by `,`; the first row has 3"),
        ("1,2,3,0", ": 4 columns, separated by `,`; the first row has 3"),
    ] {
        assert_eq!(error(&format!("{rows}{row}")), format!("x.csv: line 6{what}"));
        assert_eq!(error(&format!("{rows}{row}\n1,2,0")), format!("x.csv: line 6{what}"));
    }
}

#[test]
fn too_few_rows_or_columns_are_refused() {
    for text in ["", "\n \n"] {
        assert_eq!(error(text), "x.csv: has no rows");
    }
    assert_eq!(
        error("1\n2\n"),
        "x.csv: has only one column: expected features and a label; --separator says what \
         divides them"
    );
}

#[test]
fn an_open_quote_is_found_where_it_stands() {
    let message = error(&format!("1,0\n\"2,0\n{}", "1,0\n".repeat(1000)));
    let what = "a field runs over a line's end, or its quote is never closed";
    assert_eq!(message, format!("x.csv: lines 2 to 1003: one row: {what}"));
}

#[test]
fn a_long_field_is_quoted_short() {
    let message = error(&format!("1,0\n{},0\n", "x".repeat(1000)));
    let short = "x".repeat(80);
    assert_eq!(message, format!("x.csv: line 2, column 1: `{short}…`: expected a number"));
}

#[test]
fn tables_that_are_joined_number_the_classes_of_both() {
    let mut tables = ["1,b\n2,d\n", "1,c\n2,b\n3,a\n"].map(|text| parse(text).unwrap());
    Table::share_classes(&mut tables).unwrap();
    for (table, labels) in tables.iter().zip([&[1, 3][..], &[2, 1, 0]]) {
        assert_eq!(table.classes, ["a", "b", "c", "d"]);
        let found: Vec<u32> = table.labels.iter().flatten().copied().flatten().collect();
        assert_eq!(found, labels);
    }
}
