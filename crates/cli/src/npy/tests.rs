use super::*;
use wgpu_dropout::Error;

/// An NPY file with this header.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

fn f4(shape: &str, data: &[u8]) -> Vec<u8> {
    npy(&format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n"), data)
}

fn parse(bytes: &[u8]) -> Result<Array> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    read(file.path()).map_err(|e| match e {
        Error::Data { path, what } => Error::Data {
            what: what.replace(&format!("{path:?}"), "\"x.npy\""),
            path: "x.npy".to_owned(),
        },
        other => other,
    })
}

fn error(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn every_rank_is_seen_as_rows_and_columns() {
    for (shape, axes, rows_cols) in [
        ("()", &[][..], (1, 1)),
        ("(3,)", &[3], (1, 3)),
        ("(2, 3)", &[2, 3], (2, 3)),
        ("(2,3,4)", &[2, 3, 4], (6, 4)),
        ("(0,)", &[0], (1, 0)),
        ("(0, 3)", &[0, 3], (0, 3)),
        ("(2, 0, 5)", &[2, 0, 5], (0, 5)),
        ("(4, 0)", &[4, 0], (4, 0)),
    ] {
        let bytes = vec![0; 4 * axes.iter().product::<usize>()];
        let array = parse(&f4(shape, &bytes)).unwrap();
        assert_eq!((&array.shape[..], array.rows_cols()), (axes, rows_cols));
        assert_eq!(array.values.len(), rows_cols.0 * rows_cols.1);
    }
}

#[test]
fn header_keys_stand_in_any_order_with_any_quotes_and_spaces() {
    let one = 1f32.to_le_bytes();
    for header in [
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }          \n",
        r#"{"shape":(1),"fortran_order":True,"descr":"<f4"}"#,
        " {'fortran_order' :False ,'descr' :'<f4' ,'shape' :( 1 , ) } ",
    ] {
        assert_eq!(
            parse(&npy(header, &one)).unwrap(),
            Array { shape: vec![1], values: vec![1.0] },
            "{header}"
        );
    }
}

#[test]
fn a_header_may_be_as_long_as_its_bound_and_no_longer() {
    let padded = |length: usize| {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }";
        let text = header.to_owned() + &" ".repeat(length - header.len());
        [MAGIC, &[2, 0], &(length as u32).to_le_bytes(), text.as_bytes(), &1f32.to_le_bytes()]
            .concat()
    };
    assert_eq!(parse(&padded(MAX_HEADER as usize)).unwrap().values, [1.0]);
    assert_eq!(
        error(&padded(MAX_HEADER as usize + 1)),
        "x.npy: a header of 65536 bytes: at most 65535"
    );
}

#[test]
fn another_type_or_order_is_refused_with_the_call_that_converts_it() {
    let load = r#"np.load("x.npy")"#;
    let pickle = r#"np.load("x.npy", allow_pickle=True)"#;
    let field = r#"np.load("x.npy")["FIELD"]"#;
    for (descr, order, found, load) in [
        ("'<f8'", "False", "<f8", load),
        ("'>f4'", "False", ">f4", load),
        ("'|u1'", "True", "|u1", load),
        ("'|O'", "False", "|O", pickle),
        (
            "[('a, b', '<f4'), ('}', '<i4', (2, 2))]",
            "False",
            "[('a, b', '<f4'), ('}', '<i4', (2, 2))]",
            field,
        ),
        ("'<f4'", "True", "<f4 in Fortran order", load),
    ] {
        let bytes = npy(
            &format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': (1, 1), }}"),
            &[0; 64],
        );
        let call = format!(r#"np.save("x.npy", np.ascontiguousarray({load}, dtype="<f4"))"#);
        assert_eq!(
            error(&bytes),
            format!("x.npy: holds {found}, expected <f4 in C order; convert with {call}")
        );
    }
}

#[test]
fn bytes_are_read_where_they_may_be_and_converted_to_bytes() {
    let u1 = |order: &str, data: &[u8]| {
        npy(&format!("{{'descr': '|u1', 'fortran_order': {order}, 'shape': (2, 2), }}"), data)
    };
    let parse = |bytes: &[u8]| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let path = file.path().display().to_string();
        read_values(file.path()).map_err(|e| e.to_string().replace(&path, "x.npy"))
    };
    let array = parse(&u1("False", &[0, 1, 128, 255])).unwrap();
    assert_eq!((array.rows_cols(), array.values), ((2, 2), Values::Bytes(vec![0, 1, 128, 255])));
    let array = parse(&f4("(1, 1)", &2.5f32.to_le_bytes())).unwrap();
    assert_eq!(array.values, Values::Floats(vec![2.5]));
    for (bytes, what) in [
        (u1("False", &[0; 3]), "shape (2, 2) needs 4 bytes, the file holds 3"),
        (u1("False", &[0; 5]), "shape (2, 2) needs 4 bytes, the file goes on after them"),
        (
            u1("True", &[0; 4]),
            r#"holds |u1 in Fortran order, expected <f4 or |u1 in C order; convert with np.save("x.npy", np.ascontiguousarray(np.load("x.npy"), dtype="|u1"))"#,
        ),
        (
            npy("{'descr': '<i8', 'fortran_order': False, 'shape': (1, 1), }", &[0; 8]),
            r#"holds <i8, expected <f4 or |u1 in C order; convert with np.save("x.npy", np.ascontiguousarray(np.load("x.npy"), dtype="<f4"))"#,
        ),
    ] {
        assert_eq!(parse(&bytes), Err(format!("x.npy: {what}")));
    }
}

#[test]
fn what_the_header_says_must_be_there() {
    let long = [MAGIC, &[2, 0], &u32::MAX.to_le_bytes()].concat();
    for (bytes, what) in [
        (vec![], "not an NPY file: expected the bytes \\x93NUMPY and a version at its start"),
        (
            b"PK\x03\x04 an archive".to_vec(),
            "not an NPY file: expected the bytes \\x93NUMPY and a version at its start",
        ),
        ([MAGIC, &[9, 0]].concat(), "NPY version 9.0: expected 1.0, 2.0 or 3.0"),
        ([MAGIC, &[1, 0, 5]].concat(), "truncated: ends before its header"),
        ([MAGIC, &[1, 0, 5, 0, b'{']].concat(), "truncated: ends after 1 of the header's 5 bytes"),
        (long, "a header of 4294967295 bytes: at most 65535"),
        (npy("{'descr': '<f4'}", &[]), "corrupt header `{'descr': '<f4'}`"),
        (f4("(1, 2)", &[0; 7]), "shape (1, 2) needs 8 bytes, the file holds 7"),
        (f4("(2,)", &[0; 9]), "shape (2,) needs 8 bytes, the file goes on after them"),
        (f4("(0, 3)", &[0]), "shape (0, 3) needs 0 bytes, the file goes on after them"),
    ] {
        assert_eq!(error(&bytes), format!("x.npy: {what}"));
    }
}

#[test]
fn a_claim_beyond_all_memory_allocates_nothing() {
    assert_eq!(
        error(&f4("(1073741824, 1073741824)", &[0; 8])),
        "x.npy: shape (1073741824, 1073741824) needs 4611686018427387904 bytes, the file holds 8"
    );
    for shape in [
        "(4611686018427387904,)",
        "(4294967296, 4294967296)",
        "(4294967296, 4294967296, 4294967296, 0)",
    ] {
        assert_eq!(
            error(&f4(shape, &[])),
            format!("x.npy: shape {shape}: more than a file can hold")
        );
    }
    for order in ["0", "None", "'True'", ""] {
        let header = format!("{{'descr': '<f4', 'fortran_order': {order}, 'shape': (1,), }}");
        assert!(error(&npy(&header, &[0; 4])).starts_with("x.npy: corrupt header `"), "{order}");
    }
    for shape in
        ["(-1,)", "(1e3,)", "(99999999999999999999,)", "(1,,2)", "(,)", "3", "[3]", "(True,)"]
    {
        assert!(error(&f4(shape, &[])).starts_with("x.npy: corrupt header `"), "{shape}");
    }
}

#[test]
fn a_header_of_brackets_is_refused_at_once() {
    for bracket in ["{", "[", "(", "}", "'", ",", ":"] {
        assert!(
            error(&npy(&format!("{{{}}}", bracket.repeat(60_000)), &[]))
                .starts_with("x.npy: corrupt header `")
        );
    }
}

#[test]
fn a_shape_must_have_as_many_elements_as_there_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.npy");
    let error = write_u8(&path, &[2, 3], &[0; 5]).unwrap_err();
    let why = "an array of shape (2, 3) cannot hold 5 elements";
    assert_eq!(error.to_string(), format!("{}: {why}", path.display()));
    assert!(write_f32(&path, &[usize::MAX, 2], &[]).is_err());
    assert!(write_u8(&path, &[1; 100_000], &[0]).is_err());
    assert!(!path.exists());
}
