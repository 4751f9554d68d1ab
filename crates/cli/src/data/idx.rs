//! Folders of IDX files, MNIST's format: a header of sizes, then unsigned bytes.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{DataSet, Samples, Values, unpacked, unreadable};
use wgpu_dropout::{Error, Result, Unit, file};

/// Names of the parts of a data set, and of the files of each part.
const TRAIN: &[&str] = &["train"];
const TEST: &[&str] = &["t10k", "test"];
const IMAGES: &str = "images-idx3-ubyte";
const LABELS: &str = "labels-idx1-ubyte";

/// Returns the files of a folder that belong to its data set.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let parts = [TRAIN, TEST].into_iter().flat_map(|sets| [(sets, IMAGES), (sets, LABELS)]);
    parts.filter_map(|(sets, part)| find(folder, sets, part).ok()).collect()
}

pub(super) fn open(folder: &Path) -> Result<DataSet> {
    let [(train, train_shape), (test, test_shape)] =
        [samples(folder, TRAIN)?, samples(folder, TEST)?];
    if train_shape != test_shape {
        let what = format!(
            "images of {} for training, of {} for the test",
            sizes(&train_shape),
            sizes(&test_shape)
        );
        return Err(file::refused(folder.display(), what));
    }
    DataSet::new(folder, "idx", train, test)
}

/// Reads one part of the data set; returns its samples and the shape of its images.
fn samples(folder: &Path, sets: &[&str]) -> Result<(Samples, Vec<usize>)> {
    let images = find(folder, sets, IMAGES)?;
    let labels = find(folder, sets, LABELS)?;
    let image = read(&images)?;
    let label = read(&labels)?;
    if image.shape.is_empty() {
        return Err(file::refused(images.display(), "1 dimension: images need at least 2"));
    }
    if !label.shape.is_empty() {
        return Err(file::refused(
            labels.display(),
            format!("{} dimensions: labels have 1", label.shape.len() + 1),
        ));
    }
    if image.rows != label.rows {
        let what =
            format!("{} labels for the {} images of {}", label.rows, image.rows, images.display());
        return Err(file::refused(labels.display(), what));
    }
    let samples = Samples {
        values: Values::Bytes(image.bytes),
        unit: Unit::Byte,
        rows: image.rows,
        cols: image.cols,
        labels: label.bytes.into_iter().map(u32::from).collect(),
    };
    Ok((samples, image.shape))
}

/// Returns the first existing file among all names in use for this part.
fn find(folder: &Path, sets: &[&str], part: &str) -> Result<PathBuf> {
    let parts = [part.to_owned(), part.replacen('-', ".", 1)];
    let names = sets.iter().flat_map(|set| parts.iter().map(move |part| format!("{set}-{part}")));
    let mut paths = names.flat_map(|name| [folder.join(&name), folder.join(name + ".gz")]);
    paths.find(|path| path.exists()).ok_or_else(|| {
        let names =
            sets.iter().map(|set| format!("`{set}-{part}`")).collect::<Vec<_>>().join(" or ");
        Error::File {
            path: folder.display().to_string(),
            what: format!("has no {names}, plain or with .gz"),
        }
    })
}

/// Contents of a file: `rows` items of `shape`, each of `cols` bytes.
#[derive(Debug)]
struct Array {
    rows: usize,
    cols: usize,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn read(path: &Path) -> Result<Array> {
    parse(path, file::open(path)?)
}

fn parse(path: &Path, input: impl Read) -> Result<Array> {
    let refuse = |what: String| Err(file::refused(path.display(), what));
    let mut input = unpacked(input).map_err(|e| unreadable(path, &e))?;
    let mut take = |most: u64| file::take(&mut input, most).map_err(|e| unreadable(path, &e));

    let magic = take(4)?;
    let &[0, 0, kind, rank] = magic.as_slice() else {
        return refuse(format!(
            "not an IDX file: starts with bytes {magic:02x?}, expected [00, 00, 08, rank]"
        ));
    };
    if kind != 0x08 {
        return refuse(format!("holds {}, expected u8 (type code 0x08)", type_name(kind)));
    }
    let header = take(4 * u64::from(rank))?;
    let dims: Vec<usize> = header
        .chunks_exact(4)
        .map(|dim| dim.iter().fold(0, |n, &byte| n << 8 | usize::from(byte)))
        .collect();
    if dims.len() != usize::from(rank) {
        return refuse(format!(
            "truncated: ends after {} of the header's {} bytes",
            4 + header.len(),
            4 + 4 * usize::from(rank)
        ));
    }
    let Some((&rows, shape)) = dims.split_first() else {
        return refuse("no dimensions: expected at least 1".to_owned());
    };

    let cols = shape.iter().try_fold(1usize, |n, &dim| n.checked_mul(dim));
    let Some((cols, claim)) = cols.and_then(|cols| Some((cols, cols.checked_mul(rows)?))) else {
        return refuse(format!(
            "its header claims {} bytes: more than a file can hold",
            sizes(&dims)
        ));
    };
    let claim = claim as u64;
    let bytes = take(claim.saturating_add(1))?;
    let found = bytes.len() as u64;
    if found < claim {
        return refuse(format!(
            "truncated: its header claims {} = {claim} bytes, the file holds {found}",
            sizes(&dims)
        ));
    }
    if found > claim {
        return refuse(format!(
            "goes on after the {} = {claim} bytes that its header claims",
            sizes(&dims)
        ));
    }
    Ok(Array { rows, cols, shape: shape.to_vec(), bytes })
}

fn type_name(kind: u8) -> String {
    match kind {
        0x09 => "i8".to_owned(),
        0x0b => "i16".to_owned(),
        0x0c => "i32".to_owned(),
        0x0d => "f32".to_owned(),
        0x0e => "f64".to_owned(),
        _ => format!("unknown type code 0x{kind:02x}"),
    }
}

fn sizes(dims: &[usize]) -> String {
    dims.iter().map(usize::to_string).collect::<Vec<_>>().join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(kind: u8, dims: &[u32], data: &[u8]) -> Vec<u8> {
        let sizes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_be_bytes()).collect();
        [&[0, 0, kind, dims.len() as u8], &sizes[..], data].concat()
    }

    fn error(bytes: &[u8]) -> String {
        parse(Path::new("x"), bytes).unwrap_err().to_string()
    }

    #[test]
    fn holds_rows_of_the_product_of_the_other_dimensions() {
        let array = parse(Path::new("x"), &file(8, &[2, 3, 1, 2], &[7; 12])[..]).unwrap();
        assert_eq!(
            (array.rows, array.cols, array.shape, array.bytes),
            (2, 6, vec![3, 1, 2], vec![7; 12])
        );
        let labels = parse(Path::new("x"), &file(8, &[2], &[1, 0])[..]).unwrap();
        assert_eq!(
            (labels.rows, labels.cols, labels.shape, labels.bytes),
            (2, 1, vec![], vec![1, 0])
        );
    }

    #[test]
    fn what_the_header_says_must_be_there() {
        for (bytes, what) in [
            (vec![], "not an IDX file: starts with bytes [], expected [00, 00, 08, rank]"),
            (
                vec![1, 0, 8, 1],
                "not an IDX file: starts with bytes [01, 00, 08, 01], expected [00, 00, 08, rank]",
            ),
            (file(0x09, &[1], &[0]), "holds i8, expected u8 (type code 0x08)"),
            (file(0x0b, &[1], &[0; 2]), "holds i16, expected u8 (type code 0x08)"),
            (file(0x0c, &[1], &[0; 4]), "holds i32, expected u8 (type code 0x08)"),
            (file(0x0d, &[1], &[0; 4]), "holds f32, expected u8 (type code 0x08)"),
            (file(0x0e, &[1], &[0; 8]), "holds f64, expected u8 (type code 0x08)"),
            (file(0x07, &[1], &[0]), "holds unknown type code 0x07, expected u8 (type code 0x08)"),
            (file(8, &[], &[]), "no dimensions: expected at least 1"),
            (vec![0, 0, 8, 2, 0, 0, 0, 1, 0], "truncated: ends after 9 of the header's 12 bytes"),
            (
                file(8, &[2, 3], &[0; 5]),
                "truncated: its header claims 2×3 = 6 bytes, the file holds 5",
            ),
            (file(8, &[2, 3], &[0; 7]), "goes on after the 2×3 = 6 bytes that its header claims"),
        ] {
            assert_eq!(error(&bytes), format!("x: {what}"));
        }
    }

    #[test]
    fn a_claim_beyond_all_memory_allocates_nothing() {
        assert!(
            error(&file(8, &[1 << 20; 3], &[1, 2]))
                .contains("= 1152921504606846976 bytes, the file holds 2")
        );
        assert!(error(&file(8, &[u32::MAX; 200], &[])).contains("more than a file can hold"));
        assert!(
            error(&file(8, &[0, u32::MAX, u32::MAX, u32::MAX], &[]))
                .contains("more than a file can hold")
        );
    }
}
