//! The readers of data sets and arrays: the files that they accept, and that no truncated or
//! corrupted file makes them panic.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;
use wgpu_dropout::data::{DataSet, Samples, Values};
use wgpu_dropout::{Error, Unit};
use wgpu_dropout_cli::data::{self, Opened, Options};
use wgpu_dropout_cli::npy;

const IDX: [&str; 4] = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn idx(dims: &[u32], data: &[u8]) -> Vec<u8> {
    let sizes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_be_bytes()).collect();
    [&[0, 0, 8, dims.len() as u8], &sizes[..], data].concat()
}

/// Returns the IDX files of three training and two test images of 2×2 pixels.
fn small_idx() -> [Vec<u8>; 4] {
    let pixels: Vec<u8> = (0..12).map(|i| i * 20).collect();
    [
        idx(&[3, 2, 2], &pixels),
        idx(&[3], &[1, 0, 2]),
        idx(&[2, 2, 2], &pixels[..8]),
        idx(&[2], &[0, 3]),
    ]
}

fn small_csv() -> String {
    "x,y,label\n".to_owned()
        + &(0..11).map(|i| format!("{i}.5,-{i}e-1,{}\n", i % 3)).collect::<String>()
}

/// Returns a folder that contains these files and opens as a data set.
fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn open(path: &Path) -> Result<DataSet, Error> {
    data::open(path, &Options::default()).map(|opened| opened.set)
}

/// Checks the guarantees of every data set, whatever its file format.
fn check(data: &DataSet) {
    for Samples { values, rows, cols, labels, .. } in [&data.train, &data.test] {
        assert!(*rows > 0 && *cols > 0 && *cols == data.train.cols);
        assert_eq!((values.len(), values.is_empty(), labels.len()), (rows * cols, false, *rows));
        assert!(labels.iter().all(|&label| (label as usize) < data.classes.len()));
    }
    assert!(
        data.train.features_f32().iter().chain(&data.test.features_f32()).all(|f| f.is_finite())
    );
}

/// Checks that an error names the file or, if it concerns two files, their folder.
fn check_error(error: &Error, folder: &Path) {
    assert!(matches!(error, Error::Data { .. } | Error::File { .. }), "{error:?}");
    assert!(error.to_string().starts_with(folder.to_str().unwrap()), "{error}");
}

#[test]
fn idx_folders_are_read_under_every_name_and_packing() {
    let [images, labels, test_images, test_labels] = small_idx();
    let plain = folder(&[
        (IDX[0], &images),
        (IDX[1], &labels),
        (IDX[2], &test_images),
        (IDX[3], &test_labels),
    ]);
    let other = folder(&[
        ("train-images.idx3-ubyte.gz", &gzip(&images)),
        ("train-labels.idx1-ubyte", &gzip(&labels)),
        ("test-images-idx3-ubyte", &test_images),
        ("test-labels.idx1-ubyte.gz", &test_labels),
    ]);
    let data = open(plain.path()).unwrap();
    check(&data);
    assert_eq!(data.name, plain.path().file_name().unwrap().to_str().unwrap());
    assert_eq!(
        (data.classes.len(), data.train.rows, data.test.rows, data.train.cols),
        (4, 3, 2, 4)
    );
    assert_eq!(data.train.values, Values::Bytes(images[16..].to_vec()));
    assert_eq!(
        (data.train.labels.as_slice(), data.test.labels.as_slice()),
        (&[1, 0, 2][..], &[0, 3][..])
    );
    assert_eq!(data.train.features_f32()[..3], [0.0, 20.0 * (1.0 / 255.0), 40.0 * (1.0 / 255.0)]);

    let same = open(other.path()).unwrap();
    assert_eq!((same.train, same.test), (data.train, data.test));
}

#[test]
fn idx_files_that_do_not_fit_one_another_are_refused() {
    for (file, bytes, what) in [
        (1, idx(&[2], &[1, 0]), "2 labels for the 3 images of "),
        (1, idx(&[3, 1], &[1, 0, 2]), "2 dimensions: labels have 1"),
        (0, idx(&[3], &[1, 0, 2]), "1 dimension: images need at least 2"),
        (2, idx(&[2, 1, 4], &[0; 8]), "images of 2×2 for training, of 1×4 for the test"),
        (
            3,
            idx(&[1 << 30, 1 << 30], &[]),
            "its header claims 1073741824×1073741824 = 1152921504606846976 bytes, the file holds 0",
        ),
    ] {
        let mut files = small_idx();
        files[file] = bytes;
        let names: Vec<_> = IDX.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
        let folder = folder(&names);
        let error = open(folder.path()).unwrap_err();
        check_error(&error, folder.path());
        assert!(error.to_string().contains(what), "{error}");
    }
}

#[test]
fn parts_without_rows_or_features_and_missing_files_are_refused() {
    let none = idx(&[0, 2, 2], &[]);
    let no_pixels = idx(&[3, 0, 2], &[]);
    let labels = idx(&[3], &[1, 0, 2]);
    let no_labels = idx(&[0], &[]);
    let images = &small_idx()[0];
    for (files, what) in [
        ([images, &labels, &none, &no_labels], "the test set has no rows: at least 1 is needed"),
        (
            [&none, &no_labels, images, &labels],
            "the training set has no rows: at least 1 is needed",
        ),
        (
            [&no_pixels, &labels, &no_pixels, &labels],
            "the training set has no features: at least 1 is needed",
        ),
    ] {
        let names: Vec<_> = IDX.into_iter().zip(files.iter().map(|f| f.as_slice())).collect();
        let error = open(folder(&names).path()).unwrap_err().to_string();
        assert!(error.ends_with(what), "{error}");
    }
    let error =
        open(folder(&[(IDX[0], images), (IDX[1], &labels)]).path()).unwrap_err().to_string();
    assert!(
        error.ends_with(
            "has no `t10k-images-idx3-ubyte` or `test-images-idx3-ubyte`, plain or with .gz"
        ),
        "{error}"
    );
}

#[test]
fn csv_files_are_read_plain_and_packed_under_any_name() {
    let plain = small_csv();
    let packed = gzip(plain.as_bytes());
    let files = folder(&[
        ("a.csv", plain.as_bytes()),
        ("b.CSV.gz", &packed),
        ("c.txt", plain.as_bytes()),
        ("d", &packed),
        ("e.tsv", plain.replace(',', "\t").as_bytes()),
    ]);
    let data = open(&files.path().join("a.csv")).unwrap();
    check(&data);
    assert_eq!(
        (data.name.as_str(), data.classes.len(), data.train.rows, data.test.rows, data.train.cols),
        ("a.csv", 3, 8, 3, 2)
    );
    assert_eq!(data.split, "share=0.2 seed=0");
    assert_eq!(data.test.values, Values::Floats(vec![3.5, -0.3, 5.5, -0.5, 7.5, -0.7]));
    assert_eq!(data.test.labels, [0, 2, 1]);
    for name in ["b.CSV.gz", "c.txt", "d", "e.tsv"] {
        let same = open(&files.path().join(name)).unwrap();
        assert_eq!((same.train, same.test), (data.train.clone(), data.test.clone()), "{name}");
    }
}

#[test]
fn features_are_values_times_the_unit() {
    let samples = |values: Values| Samples {
        values,
        unit: Unit::Sixteenth,
        rows: 1,
        cols: 2,
        labels: vec![0],
    };
    assert_eq!(samples(Values::Bytes(vec![2, 255])).features_f32(), [0.125, 15.9375]);
    assert_eq!(samples(Values::Floats(vec![-12.0, 8.0])).features_f32(), [-0.75, 0.5]);
    assert!(Values::Bytes(Vec::new()).is_empty() && Values::Floats(Vec::new()).is_empty());
}

#[test]
fn a_gzip_stream_that_is_cut_short_or_damaged_is_data_that_cannot_be_used() {
    let mut packed = gzip(small_csv().as_bytes());
    let folder = folder(&[("cut.csv", &packed[..packed.len() - 9])]);
    // This byte belongs to its checksum.
    let at = packed.len() - 8;
    packed[at] ^= 1;
    fs::write(folder.path().join("damaged.csv"), packed).unwrap();
    for (name, what) in [
        ("cut.csv", "truncated: its gzip stream ends too early"),
        ("damaged.csv", "corrupt gzip stream: "),
    ] {
        let error = open(&folder.path().join(name)).unwrap_err();
        assert!(
            matches!(error, Error::Data { .. }) && error.to_string().contains(what),
            "{error:?}"
        );
    }
}

#[test]
fn other_sources_are_refused_with_what_there_is() {
    let files = folder(&[("net.safetensors", b"\x08\x03\0\0\0\0\0\0{}"), ("b.bin", &[0xff; 9])]);
    npy::write_f32(&files.path().join("x.npy"), &[1, 1], &[1.0]).unwrap();
    let error = open(&files.path().join("x.npy")).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
    for (name, what) in [
        ("net.safetensors", "a zero byte: expected text"),
        ("b.bin", "byte 0xff is not UTF-8"),
        ("nowhere", "not found; data is `digits`, a folder of IDX files, or a CSV file"),
        ("nowhere.csv", "not found"),
    ] {
        let path = files.path().join(name);
        let error = open(&path).unwrap_err();
        check_error(&error, &path);
        assert!(error.to_string().contains(what), "{error}");
    }
    assert_eq!(open(Path::new("digits")).unwrap(), DataSet::digits().unwrap());
}

#[test]
fn data_of_one_class_are_refused_and_few_rows_of_a_class_are_said() {
    let mut csv = "x,y,kind\n".to_owned();
    (0..1000).for_each(|i| csv += &format!("{i},1,{}\n", ["a", "b"][i % 2]));
    let files = folder(&[
        ("one.csv", b"x,y\n1,7\n2,7\n3,7\n"),
        ("rare.csv", (csv.clone() + "1,2,rare\n").as_bytes()),
        ("two rare.csv", (csv.clone() + "1,2,rare\n3,4,rare\n").as_bytes()),
        ("even.csv", csv.as_bytes()),
    ]);
    let opened = |name: &str| data::open(files.path().join(name), &Options::default());
    let error = opened("one.csv").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "one class: every label is `7` (separated by `,`, header in line 1, label in column 2 \
             `y`); --label names another column"
        ),
        "{error}"
    );
    for (name, remarks) in [
        ("even.csv", &[][..]),
        (
            "rare.csv",
            &[
                "classes without test rows: rare (1 in all)",
                "classes with at most 0.2 % of the rows: rare (1 in all)",
            ],
        ),
        ("two rare.csv", &["classes with at most 0.2 % of the rows: rare (2 in all)"]),
    ] {
        assert_eq!(opened(name).unwrap().remarks, remarks, "{name}");
    }
    // A folder of IDX files, whose classes are numbers up to the largest.
    let [images, _, test_images, _] = small_idx();
    let labels = [idx(&[3], &[1, 0, 3]), idx(&[2], &[0, 4])];
    let idx_files =
        [(IDX[0], &*images), (IDX[1], &*labels[0]), (IDX[2], &*test_images), (IDX[3], &*labels[1])];
    let opened = data::open(folder(&idx_files).path(), &Options::default()).unwrap();
    assert_eq!(
        opened.remarks,
        [
            "classes without rows: 2 (0 in all)",
            "classes without training rows: 4 (1 in all)",
            "classes without test rows: 1 (1 in all), 3 (1 in all)"
        ]
    );
    let one = [idx(&[3], &[3, 3, 3]), idx(&[2], &[3, 3])];
    let idx_files =
        [(IDX[0], &*images), (IDX[1], &*one[0]), (IDX[2], &*test_images), (IDX[3], &*one[1])];
    let error = open(folder(&idx_files).path()).unwrap_err().to_string();
    assert!(error.ends_with("one class: every label is `3`"), "{error}");
}

#[test]
fn test_rows_come_from_a_file_of_their_own_with_the_classes_of_both() {
    let files = folder(&[
        ("train.csv", b"x,y,kind\n1,2,b\n3,4,d\n5,6,b\n"),
        ("test.csv", b"x,y,kind\n7,8,a\n9,10,d\n"),
        ("turned.csv", b"y,x,kind\n7,8,a\n9,10,d\n"),
        ("wide.csv", b"1,2,3,a\n"),
        ("bare.csv", b"7;8;a\n9;10;d\n"),
    ]);
    let opened = |test: &str| {
        let options = Options { test_file: Some(files.path().join(test)), ..Options::default() };
        data::open(files.path().join("train.csv"), &options)
    };
    let Opened { set, about, .. } = opened("test.csv").unwrap();
    assert_eq!((&*set.split, &set.classes[..]), ("file", &["a", "b", "d"].map(str::to_owned)[..]));
    assert_eq!((&set.train.labels[..], &set.test.labels[..]), (&[1, 2, 1][..], &[0, 2][..]));
    assert_eq!(set.test.values, Values::Floats(vec![7.0, 8.0, 9.0, 10.0]));
    assert!(about.contains("test     the rows of ") && about.contains("test.csv"), "{about}");
    assert_eq!(opened("bare.csv").unwrap().set.test, set.test);
    let error = opened("turned.csv").unwrap_err().to_string();
    assert!(error.contains("`x` in the one, `y` in the other"), "{error}");
    let error = opened("wide.csv").unwrap_err().to_string();
    assert!(error.ends_with("2 features in the training set, 3 in the test set"), "{error}");
}

#[test]
fn mnist_is_read() {
    let Ok(folder) = std::env::var("WGPU_DROPOUT_MNIST") else {
        eprintln!("SKIPPED: WGPU_DROPOUT_MNIST names no folder with MNIST's four files");
        return;
    };
    let mnist = open(Path::new(&folder)).unwrap();
    check(&mnist);
    assert_eq!(
        (mnist.train.rows, mnist.test.rows, mnist.train.cols, mnist.classes.len()),
        (60_000, 10_000, 784, 10)
    );
    assert_eq!(mnist.train.labels[..3], [5, 0, 4]);
    assert_eq!(mnist.test.labels[..3], [7, 2, 1]);
}

#[test]
fn npy_files_are_what_numpy_writes() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("a.npy");
    let header = |descr, shape| {
        let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
        [b"\x93NUMPY\x01\x00\x76\x00", format!("{text:<117}\n").as_bytes()].concat()
    };

    npy::write_u8(&path, &[3], &[1, 0, 1]).unwrap();
    assert_eq!(fs::read(&path).unwrap(), [header("|u1", "(3,)"), vec![1, 0, 1]].concat());
    npy::write_f32(&path, &[2, 1], &[1.0, -2.5]).unwrap();
    assert_eq!(
        fs::read(&path).unwrap(),
        [header("<f4", "(2, 1)"), vec![0, 0, 0x80, 0x3f, 0, 0, 0x20, 0xc0]].concat()
    );
}

#[test]
fn npy_arrays_come_back_bit_for_bit() {
    let files = tempfile::tempdir().unwrap();
    let path = files.path().join("a.npy");
    let odd = [f32::NAN, f32::NEG_INFINITY, -0.0, 1e-45, 0.1, f32::from_bits(0xffa0_0001)];
    let many: Vec<f32> = (0..40_000u32).map(f32::from_bits).collect();
    let shapes: [(&[usize], &[f32]); 7] = [
        (&[], &odd[..1]),
        (&[6], &odd),
        (&[2, 3], &odd),
        (&[1, 2, 3, 1], &odd),
        (&[0], &[]),
        (&[3, 0, 2], &[]),
        (&[200, 200], &many),
    ];
    for (shape, values) in shapes {
        npy::write_f32(&path, shape, values).unwrap();
        let array = npy::read(&path).unwrap();
        assert_eq!(array.shape, shape);
        assert!(
            array.values.iter().map(|v| v.to_bits()).eq(values.iter().map(|v| v.to_bits())),
            "{shape:?}"
        );
    }
    // Covers every length of header within its padding to 64 bytes.
    for rank in 0..=64 {
        let shape = vec![1; rank];
        npy::write_f32(&path, &shape, &[2.0]).unwrap();
        assert_eq!(fs::read(&path).unwrap().len() % 64, 4, "{rank} axes");
        let array = npy::read(&path).unwrap();
        assert_eq!((array.shape, array.values), (shape, vec![2.0]));
    }
    let error = npy::read(&files.path().join("none.npy")).unwrap_err();
    assert!(matches!(error, Error::File { .. }), "{error:?}");
}

/// Opens a data set, one of whose files is `bytes`. Returns true if it opens, and checks the data
/// or the error.
fn try_data(folder: &Path, opened: &Path, name: &str, bytes: &[u8]) -> bool {
    fs::write(folder.join(name), bytes).unwrap();
    match open(opened) {
        Ok(data) => check(&data),
        Err(error) => {
            check_error(&error, folder);
            return false;
        }
    }
    true
}

fn try_npy(path: &Path, bytes: &[u8]) -> bool {
    fs::write(path, bytes).unwrap();
    match npy::read(path) {
        Ok(array) => assert_eq!(array.values.len(), array.shape.iter().product::<usize>()),
        Err(error) => {
            check_error(&error, path);
            return false;
        }
    }
    true
}

#[test]
fn every_prefix_of_a_file_is_refused_or_a_shorter_csv() {
    for packed in [false, true] {
        let files = small_idx().map(|file| if packed { gzip(&file) } else { file });
        let names: Vec<_> = IDX.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
        for &(name, whole) in &names {
            let folder = folder(&names);
            for length in 0..whole.len() {
                assert!(
                    !try_data(folder.path(), folder.path(), name, &whole[..length]),
                    "{name} cut to {length} bytes"
                );
            }
        }
    }

    let folder = folder(&[]);
    let (csv, packed) = (folder.path().join("a.csv"), gzip(small_csv().as_bytes()));
    let whole = small_csv();
    let read = (0..=whole.len())
        .filter(|&n| try_data(folder.path(), &csv, "a.csv", &whole.as_bytes()[..n]));
    assert!(read.count() > 10, "from the fourth row on, each further line must add a row");
    assert!((0..packed.len()).all(|n| !try_data(folder.path(), &csv, "a.csv", &packed[..n])));

    let array = folder.path().join("a.npy");
    npy::write_f32(&array, &[2, 3], &[1.0; 6]).unwrap();
    let whole = fs::read(&array).unwrap();
    assert!((0..whole.len()).all(|n| !try_npy(&array, &whole[..n])));
}

#[test]
fn no_change_to_a_files_bytes_makes_a_reader_panic() {
    let mut random = StdRng::seed_from_u64(1);
    let mut changed = |whole: &[u8]| {
        let mut bytes = whole.to_vec();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..bytes.len());
            bytes[at] = if random.random() {
                random.random()
            } else {
                bytes[at] ^ (1 << random.random_range(0..8))
            };
        }
        bytes
    };

    let files = small_idx();
    let names: Vec<_> = IDX.into_iter().zip(files.iter().map(Vec::as_slice)).collect();
    for &(name, whole) in &names {
        let folder = folder(&names);
        let packed = gzip(whole);
        for _ in 0..250 {
            try_data(folder.path(), folder.path(), name, &changed(whole));
            try_data(folder.path(), folder.path(), name, &changed(&packed));
        }
    }

    let folder = folder(&[]);
    let (csv, array) = (folder.path().join("a.csv"), folder.path().join("a.npy"));
    npy::write_f32(&array, &[2, 3], &[1.0; 6]).unwrap();
    let plain = small_csv();
    let packed = gzip(small_csv().as_bytes());
    let whole = fs::read(&array).unwrap();
    for _ in 0..500 {
        try_data(folder.path(), &csv, "a.csv", &changed(plain.as_bytes()));
        try_data(folder.path(), &csv, "a.csv", &changed(&packed));
        try_npy(&array, &changed(&whole));
        try_npy(&array, &changed(&whole[..80]));
    }
}
