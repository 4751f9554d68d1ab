//! The forms of `dropout`: alpha, Gaussian, a given mask, and axes in NumPy's numbering. What they
//! write is compared with values computed here from the bytes of masks.

use super::cli::{command, devices, refuse, run_in, succeed};
use super::{PLACE, load, load_mask, save};
use crate::common::noise;
use std::path::Path;
use tempfile::TempDir;
use wgpu_dropout::{GaussianDropout, Key, Mask, Rate, oracle};
use wgpu_dropout_cli::npy;

/// Shapes of every rank up to 3, with ragged rows and with an empty axis.
const SHAPES: [&[usize]; 6] = [&[], &[13], &[3, 9], &[2, 3, 65], &[4, 0], &[2, 0, 3]];

/// Returns the rows and columns of the contract for a shape.
fn rows_cols(shape: &[usize]) -> (usize, usize) {
    let cols = shape.last().copied().unwrap_or(1);
    (shape.iter().take(shape.len().saturating_sub(1)).product(), cols)
}

/// Returns what the command `mask` draws for this shape at the place of these tests.
fn drawn(folder: &Path, device: &str, (rows, cols): (usize, usize), rate: &str) -> Vec<u8> {
    let line = format!(
        "mask --device {device} {PLACE} {rate} --rows {rows} --cols {cols} --format npy --output drawn.npy"
    );
    succeed(folder, &line);
    load_mask(folder, "drawn.npy").1
}

/// Saves an input and a gradient of a shape. The first elements are no numbers, if there is room.
fn save_arrays(folder: &Path, shape: &[usize]) -> (Vec<f32>, Vec<f32>) {
    let len = shape.iter().product();
    let (mut x, dy) = (noise(1, len), noise(2, len));
    if let [first, second, third, ..] = &mut x[..] {
        [*first, *second, *third] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    }
    save(folder, "x.npy", shape, &x);
    save(folder, "dy.npy", shape, &dy);
    (x, dy)
}

/// Returns true if two floats have the same bits, or are both no number.
fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

/// Returns true if `y` is `x` times the scale where the mask is 1, and 0 elsewhere, to the bit.
fn is_dropped(x: &[f32], mask: &[u8], scale: f32, y: &[f32]) -> bool {
    x.len() == y.len()
        && x.iter()
            .zip(mask)
            .zip(y)
            .all(|((&x, &kept), &y)| same(y, if kept == 1 { x * scale } else { 0.0 }))
}

/// Returns the factors of alpha dropout at a keep rate: `a`, `b`, the value of a dropped element.
fn alpha_factors(keep: f64) -> [f32; 3] {
    let k = (keep * 65536.0 + 0.5).floor() / 65536.0;
    let saturated = -1.050_700_987_355_480_5 * 1.673_263_242_354_377_2;
    if k == 0.0 {
        return [0.0; 3];
    }
    let a = (k + saturated * saturated * k * (1.0 - k)).sqrt().recip();
    let b = -a * saturated * (1.0 - k);
    [a as f32, b as f32, (a * saturated + b) as f32]
}

/// Returns true if `y` is alpha dropout of `x`: dropped elements have the bits of their value, and
/// kept ones those of one or two roundings, since a device may contract the product and the sum.
fn is_alpha(x: &[f32], mask: &[u8], [a, b, dropped]: [f32; 3], y: &[f32]) -> bool {
    x.len() == y.len()
        && x.iter().zip(mask).zip(y).all(|((&x, &kept), &y)| match kept {
            1 if b == 0.0 => same(y, x * a),
            1 => same(y, a * x + b) || same(y, a.mul_add(x, b)),
            _ => same(y, dropped),
        })
}

#[test]
fn alpha_dropout_saturates_what_the_mask_drops() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let mut dropped = 0;
    for device in devices() {
        for (s, shape) in SHAPES.into_iter().enumerate() {
            let (x, dy) = save_arrays(folder, shape);
            for (_, (rate, keep)) in
                [("--drop 0.3", 0.7), ("--keep 0.5", 0.5), ("--drop 1", 0.0), ("--drop 0", 1.0)]
                    .into_iter()
                    .enumerate()
                    .filter(|(r, _)| super::worthwhile(device, s + r))
            {
                let files = "--input x.npy --output y.npy --mask-output m.npy --grad-output dy.npy --grad-input dx.npy";
                let line = format!("dropout --form alpha --device {device} {PLACE} {rate} {files}");
                succeed(folder, &line);
                let (mask_shape, mask) = load_mask(folder, "m.npy");
                assert_eq!(mask_shape, shape, "{line}");
                assert_eq!(mask, drawn(folder, device, rows_cols(shape), rate), "{line}");
                let (y, dx) = (load(folder, "y.npy"), load(folder, "dx.npy"));
                assert_eq!((&y.shape[..], &dx.shape[..]), (shape, shape), "{line}");
                let factors = alpha_factors(keep);
                assert!(is_alpha(&x, &mask, factors, &y.values), "{line}: {y:?}");
                assert!(is_dropped(&dy, &mask, factors[0], &dx.values), "{line}: {dx:?}");
                // The controls: the mask's complement, and the factors of another rate.
                if mask.contains(&0) && mask.contains(&1) {
                    dropped += mask.iter().filter(|&&kept| kept == 0).count();
                    let complement: Vec<u8> = mask.iter().map(|kept| 1 - kept).collect();
                    assert!(!is_alpha(&x, &complement, factors, &y.values), "{line}");
                    assert!(!is_alpha(&x, &mask, alpha_factors(0.69), &y.values), "{line}");
                    assert!(!is_dropped(&dy, &complement, factors[0], &dx.values), "{line}");
                }
            }
        }
        for rest in ["--predict", "--mode none", "--mode none --drop 0.3"] {
            let (x, _) = save_arrays(folder, &[3, 9]);
            let line = format!(
                "dropout --form alpha --device {device} {rest} --input x.npy --output y.npy"
            );
            succeed(folder, &line);
            assert!(is_dropped(&x, &[1; 27], 1.0, &load(folder, "y.npy").values), "{line}");
        }
    }
    assert!(dropped > 100, "too few elements were dropped to tell: {dropped}");
}

#[test]
fn gaussian_dropout_multiplies_by_the_noise_of_the_draws() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for device in devices() {
        for (s, shape) in SHAPES.into_iter().enumerate() {
            let (len, cols) = (shape.iter().product(), rows_cols(shape).1);
            let (x, dy) = (noise(1, len), noise(2, len));
            save(folder, "x.npy", shape, &x);
            save(folder, "dy.npy", shape, &dy);
            for (_, (rate, keep)) in [("--drop 0.3", 0.7), ("--keep 0.05", 0.05), ("--keep 1", 1.0)]
                .into_iter()
                .enumerate()
                .filter(|(r, _)| super::worthwhile(device, s + r))
            {
                let files = "--input x.npy --output y.npy --grad-output dy.npy --grad-input dx.npy";
                let line =
                    format!("dropout --form gaussian --device {device} {PLACE} {rate} {files}");
                succeed(folder, &line);
                let site = |step| {
                    let key = Key { seed: 7, layer: 2, step };
                    let mask = Mask::new(Rate::keep(keep).unwrap(), key).at(11, 5);
                    GaussianDropout::train(mask).unwrap()
                };
                let (y, dx) = (load(folder, "y.npy"), load(folder, "dx.npy"));
                assert_eq!((&y.shape[..], &dx.shape[..]), (shape, shape), "{line}");
                let exact =
                    |values: &[f32], step| oracle::gaussian_dropout(values, cols, &site(step));
                exact(&x, 3).check(&line, &y.values).unwrap();
                exact(&dy, 3).check(&line, &dx.values).unwrap();
                if len > 0 && keep < 1.0 {
                    assert!(exact(&x, 4).check(&line, &y.values).is_err(), "{line}");
                }
            }
        }
    }
}

#[test]
fn a_given_mask_is_applied_as_it_stands() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    for device in devices() {
        for (s, shape) in SHAPES.into_iter().enumerate() {
            let (x, dy) = save_arrays(folder, shape);
            let mask: Vec<u8> = noise(3, x.len()).iter().map(|&v| u8::from(v > 0.2)).collect();
            npy::write_u8(&folder.join("given.npy"), shape, &mask).unwrap();
            // NumPy's booleans are the same bytes under another name.
            let bytes = std::fs::read(folder.join("given.npy")).unwrap();
            let at = bytes.windows(3).position(|three| three == b"|u1").unwrap();
            let booleans = [&bytes[..at], b"|b1", &bytes[at + 3..]].concat();
            std::fs::write(folder.join("booleans.npy"), booleans).unwrap();
            for (_, (rate, scale)) in [
                ("--mode vanilla", 1.0),
                ("--drop 0.3", (65536.0 / 45875.0) as f32),
                ("--keep 0.25", 4.0),
            ]
            .into_iter()
            .enumerate()
            .filter(|(r, _)| super::worthwhile(device, s + r))
            {
                for file in ["given.npy", "booleans.npy"] {
                    let files = "--input x.npy --output y.npy --mask-output m.npy --grad-output dy.npy --grad-input dx.npy";
                    let line =
                        format!("dropout --device {device} {rate} --mask-input {file} {files}");
                    succeed(folder, &line);
                    let (y, dx) = (load(folder, "y.npy"), load(folder, "dx.npy"));
                    assert_eq!((&y.shape[..], &dx.shape[..]), (shape, shape), "{line}");
                    assert!(is_dropped(&x, &mask, scale, &y.values), "{line}: {y:?}");
                    assert!(is_dropped(&dy, &mask, scale, &dx.values), "{line}: {dx:?}");
                    assert_eq!(load_mask(folder, "m.npy"), (shape.to_vec(), mask.clone()));
                    // The control: a mask that differs in the last element.
                    if let [first @ .., last] = &mask[..] {
                        let other = [first, &[1 - last]].concat();
                        assert!(!is_dropped(&dy, &other, scale, &dx.values), "{line}");
                    }
                }
            }
        }
        // A mask that was drawn gives, as a given mask, the same bytes.
        save_arrays(folder, &[5, 70]);
        let line = format!("dropout --device {device} --drop 0.4 --input x.npy");
        succeed(folder, &format!("{line} {PLACE} --output drawn.npy --mask-output m.npy"));
        succeed(folder, &format!("{line} --mask-input m.npy --output given.npy"));
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        assert_eq!(read("drawn.npy"), read("given.npy"));
        save_arrays(folder, &[5, 70]);
    }
}

#[test]
fn a_mask_of_another_shape_or_type_is_refused() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save_arrays(folder, &[2, 3]);
    npy::write_u8(&folder.join("turned.npy"), &[3, 2], &[1; 6]).unwrap();
    npy::write_u8(&folder.join("two.npy"), &[2, 3], &[0, 1, 1, 0, 2, 0]).unwrap();
    for (mask, named) in [
        ("turned.npy", "turned.npy: shape (3, 2), expected (2, 3)"),
        ("two.npy", "element 4 is 2"),
        ("x.npy", "holds <f4, expected |u1 or |b1"),
        ("none.npy", "none.npy"),
    ] {
        let line = format!(
            "dropout --device cpu --drop 0.5 --input x.npy --output y.npy --mask-input {mask}"
        );
        let error = refuse(folder, &line, 1);
        assert!(error.contains(named), "{error}");
    }
}

/// Returns the mask of a tensor whose element at index `i` takes the draw at the row-major indices
/// over the row axes and over the column axes, as `numpy.ravel_multi_index` gives them.
fn broadcast(shape: &[usize], rows: &[usize], cols: &[usize], drawn: &[u8]) -> Vec<u8> {
    let width: usize = cols.iter().map(|&axis| shape[axis]).product();
    let elements = shape.iter().product();
    let along = |index: usize, axis: usize| {
        index / shape[axis + 1..].iter().product::<usize>() % shape[axis]
    };
    let ravel = |index: usize, axes: &[usize]| {
        axes.iter().fold(0, |place, &axis| place * shape[axis] + along(index, axis))
    };
    (0..elements).map(|i| drawn[ravel(i, rows) * width + ravel(i, cols)]).collect()
}

#[test]
fn axes_count_from_either_end_and_may_be_none() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    let scale = (65536.0 / 45875.0) as f32;
    // The arguments, and the axes they mean.
    let maps = [
        (
            &[3usize, 5, 4, 2][..],
            &["--row-axes", "-4", "--col-axes", "-3"][..],
            &[0usize][..],
            &[1usize][..],
        ),
        (&[3, 5, 4, 2], &["--row-axes", "0", "--col-axes", "-1"], &[0], &[3]),
        (&[3, 5, 2], &["--row-axes", "-1,0", "--col-axes", "1"], &[2, 0], &[1]),
        (&[3, 5, 4, 2], &["--row-axes", "0", "--col-axes", ""], &[0], &[]),
        (&[3, 5, 4, 2], &["--row-axes", "", "--col-axes", "-3"], &[], &[1]),
        (&[3, 5, 4, 2], &["--row-axes", "", "--col-axes", ""], &[], &[]),
        (&[3, 5, 4, 2], &["--row-axes="], &[], &[]),
        (&[7], &["--col-axes=-1"], &[], &[0]),
        (&[], &["--row-axes", "", "--col-axes", ""], &[], &[]),
    ];
    for device in devices() {
        for (shape, arguments, rows, cols) in maps {
            let (x, dy) = save_arrays(folder, shape);
            let size = |axes: &[usize]| axes.iter().map(|&axis| shape[axis]).product::<usize>();
            let drawn = drawn(folder, device, (size(rows), size(cols)), "--drop 0.3");
            let mask = broadcast(shape, rows, cols, &drawn);
            let files = "--input x.npy --output y.npy --mask-output m.npy --grad-output dy.npy --grad-input dx.npy";
            let line = format!("dropout --device {device} {PLACE} --drop 0.3 {files}");
            let output = command(folder, &line).args(arguments).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{arguments:?}: {error}");
            assert_eq!(load_mask(folder, "m.npy"), (shape.to_vec(), mask.clone()), "{arguments:?}");
            let (y, dx) = (load(folder, "y.npy").values, load(folder, "dx.npy").values);
            assert!(is_dropped(&x, &mask, scale, &y), "{arguments:?}");
            assert!(is_dropped(&dy, &mask, scale, &dx), "{arguments:?}");
        }
    }
    // The control: other axes give another mask.
    let drawn = drawn(folder, "cpu", (3, 5), "--drop 0.3");
    assert_ne!(
        broadcast(&[3, 5, 4, 2], &[0], &[1], &drawn),
        broadcast(&[3, 5, 4, 2], &[0], &[2], &drawn)
    );
}

#[test]
fn options_that_do_not_go_together_are_refused_by_name() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save_arrays(folder, &[2, 3]);
    npy::write_u8(&folder.join("m.npy"), &[2, 3], &[1; 6]).unwrap();
    for (options, named) in [
        ("--drop .5 --form beta", &["beta", "alpha"][..]),
        ("--form alpha", &["--drop"]),
        ("--form gaussian", &["--drop"]),
        ("--form gaussian --drop 1", &["keep rate of 0"]),
        ("--form alpha --mode vanilla --drop .5", &["--form alpha", "--mode vanilla"]),
        ("--form gaussian --mode vanilla --drop .5", &["--form gaussian", "--mode vanilla"]),
        ("--form alpha --drop .5 --row-axes 0", &["--form alpha", "--row-axes"]),
        ("--form gaussian --drop .5 --col-axes 0", &["--form gaussian", "--col-axes"]),
        ("--form alpha --drop .5 --mask-input m.npy", &["--form alpha", "--mask-input"]),
        ("--form gaussian --drop .5 --mask-output n.npy", &["--form gaussian", "--mask-output"]),
        ("--mask-input m.npy", &["--drop"]),
        ("--mask-input m.npy --mode none", &["--mask-input", "--mode none"]),
        ("--mask-input m.npy --predict", &["--mask-input", "--predict"]),
        ("--mask-input m.npy --drop .5 --row-axes 0", &["--mask-input", "--row-axes"]),
        ("--mask-input m.npy --drop .5 --step 3", &["--mask-input", "--step"]),
        ("--mask-input m.npy --drop .5 --layer 0", &["--mask-input", "--layer"]),
        ("--mask-input m.npy --drop .5 --row-offset 1", &["--mask-input", "--row-offset"]),
        ("--drop .5 --row-axes 2", &["--row-axes: axis 2", "0 to 1, or -2 to -1"]),
        ("--drop .5 --row-axes -3", &["--row-axes: axis -3", "0 to 1, or -2 to -1"]),
        ("--drop .5 --row-axes 0 --col-axes 1,5", &["--col-axes: axis 5"]),
        ("--drop .5 --row-axes 1 --col-axes -1", &["twice"]),
        ("--drop .5 --row-axes 0,-2", &["twice"]),
        ("--drop .5 --row-axes 0.5", &["--row-axes"]),
        ("--drop .5 --form alpha --predict --grad-output x.npy --grad-input d.npy", &["--predict"]),
    ] {
        let line = format!("dropout --device cpu --input x.npy --output y.npy {options}");
        let error = refuse(folder, &line, 2);
        assert!(named.iter().all(|name| error.contains(name)), "`{line}`: {error}");
    }
}

/// A rate is given to every command that takes one, on every device. The line goes to stderr, and
/// stdout keeps its contents.
#[test]
fn a_rate_that_16_bits_change_is_told_by_every_command() {
    let guard = TempDir::new().unwrap();
    let folder = guard.path();
    save(folder, "x.npy", &[2, 3], &noise(1, 6));
    save(folder, "w.npy", &[3, 5], &noise(2, 15));
    let commands = [
        "mask --rows 2 --cols 3",
        "mask --rows 2 --cols 3 --json",
        "dropout --input x.npy --output y.npy",
        "dropout --input x.npy --output y.npy --form alpha --json",
        "dropout --input x.npy --output y.npy --mode vanilla --predict",
        "linear --input x.npy --weight w.npy --output y.npy",
    ];
    let rates = [
        ("--drop 0.000001", Some("0.000001 is 0 in effect, so nothing is dropped")),
        ("--drop 1e-300", Some("so nothing is dropped")),
        ("--drop 0.999999", Some("so everything is dropped")),
        ("--keep 0.000001", Some("so everything is dropped")),
        ("--keep 0.9999", Some("and its drop rate off by 6.8 %")),
        ("--drop 0.0003", Some("off by 1.7 %")),
        ("--drop 0.0005", None),
        ("--drop 0.2", None),
        ("--drop 0", None),
        ("--drop 1", None),
    ];
    for device in devices() {
        for (c, line) in commands.into_iter().enumerate() {
            for (_, (rate, told)) in
                rates.into_iter().enumerate().filter(|(r, _)| super::worthwhile(device, c + r))
            {
                let line = format!("{line} {rate} --device {device}");
                let output = run_in(folder, &line);
                assert!(output.status.success(), "{line}");
                let error = String::from_utf8(output.stderr).unwrap();
                let notes: Vec<_> =
                    error.lines().filter(|line| line.starts_with("note: ")).collect();
                assert_eq!(notes.len(), usize::from(told.is_some()), "{line}: {error}");
                assert!(told.is_none_or(|told| notes[0].contains(told)), "{line}: {error}");
                let stdout = String::from_utf8(output.stdout).unwrap();
                assert!(!stdout.contains("note: "), "{line}: {stdout}");
                if line.contains("--json") {
                    serde_json::from_str::<serde_json::Value>(&stdout).unwrap();
                }
            }
        }
    }
    // A rate that is ignored is not worth a line.
    for line in [
        "dropout --input x.npy --output y.npy --mode none --drop 0.000001",
        "dropout --input x.npy --output y.npy --predict --drop 0.000001",
    ] {
        super::cli::succeed_quietly(folder, &format!("{line} --device cpu"));
    }
}
