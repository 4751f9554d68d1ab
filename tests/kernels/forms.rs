//! The other forms of dropout, `dropout_broadcast`, `dropout_bits`, `alpha_dropout` and
//! `gaussian_dropout`, and `mask_bytes`.

use crate::common::{MULTIPLICATIONS, noise, poisoned, same_bits};
use crate::{mask, on_backends, sites};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
use wgpu_dropout::Backend;
use wgpu_dropout::Cpu;
use wgpu_dropout::call::{
    AlphaDropoutCall, DropoutBits, DropoutBroadcast, DropoutCall, GaussianDropoutCall, MaskBits,
    MaskBytes,
};
use wgpu_dropout::oracle;
use wgpu_dropout::{AlphaDropout, AxisMap, Dropout, Error, GaussianDropout, Key, Mask, Mode, Rate};

const SHAPES: [[usize; 2]; 16] = [
    [1, 1],
    [1, 7],
    [1, 12],
    [1, 64],
    [7, 1],
    [3, 8],
    [9, 9],
    [63, 64],
    [64, 63],
    [65, 65],
    [4, 12],
    [2, 129],
    [129, 2],
    [13, 1009],
    [0, 5],
    [5, 0],
];

/// Returns masks with rates 0, 1 and between, for whole tensors and for shards, aligned to a group
/// of draws and not.
fn masks() -> Vec<Mask> {
    let places = [(0, 0), (5, 11), (1 << 31, 16), ((1 << 32) - 200, (1 << 35) - 3000)];
    let mut masks: Vec<Mask> = [0.0, 0.3, 1.0].map(mask).to_vec();
    masks.extend(places.map(|(row, col)| mask(0.7).at(row, col)));
    masks
}

/// Returns the named maps, and maps with every number of runs whose last run lies along columns,
/// along rows and along neither. Entries of `free` are `(shape, row axes, column axes)`.
fn maps() -> Vec<AxisMap> {
    let named = [
        AxisMap::channels(&[3, 5, 13]),
        AxisMap::channels(&[2, 9, 4, 6]),
        AxisMap::channels(&[2, 3, 4, 2, 3]),
        AxisMap::channels_last(&[3, 7, 2, 16]),
        AxisMap::channels_last(&[3, 5, 13]),
        AxisMap::over_time(&[4, 6, 40]),
        AxisMap::over_time(&[4, 6, 9]),
        AxisMap::drop_path(&[9, 4, 16]),
        AxisMap::drop_path(&[7, 13]),
        AxisMap::drop_path(&[1]),
    ];
    let free: [(&[usize], &[usize], &[usize]); 12] = [
        (&[6, 35], &[0], &[1]),
        (&[35, 6], &[1], &[0]),
        (&[2, 3, 4, 5], &[0, 2], &[1, 3]),
        (&[2, 3, 4, 16], &[0, 2], &[1, 3]),
        (&[3, 4, 5, 7], &[0, 2], &[3]),
        (&[3, 4, 5, 6], &[0], &[2]),
        (&[3, 4, 5], &[2, 0], &[1]),
        (&[3, 33], &[], &[1]),
        (&[3, 33], &[], &[]),
        (&[], &[], &[]),
        (&[3, 0, 8], &[0], &[2]),
        (&[3, 1, 7, 1], &[0], &[2]),
    ];
    let free = free.map(|(shape, rows, cols)| AxisMap::new(shape, rows, cols));
    named.into_iter().chain(free).map(Result::unwrap).collect()
}

fn broadcast_on<B: Backend>(
    backend: &mut B,
    x: &[f32],
    axes: &AxisMap,
    dropout: Dropout,
) -> Vec<f32> {
    // Any matrix with this number of elements will do: only the map's shape counts.
    let (rows, cols) = if x.len().is_multiple_of(2) { (2, x.len() / 2) } else { (x.len(), 1) };
    let x = backend.tensor(rows, cols, x).unwrap();
    let mut y = poisoned(backend, rows, cols);
    backend.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout }).unwrap();
    backend.read(&y).unwrap()
}

#[test]
fn a_broadcast_mask_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for axes in maps() {
            let mut x = noise(1, axes.elements());
            x.iter_mut().step_by(17).for_each(|x| *x = f32::NAN);
            for dropout in sites() {
                let what = format!("{} {axes:?} {dropout:?}", backend.name());
                let y = broadcast_on(backend, &x, &axes, dropout);
                oracle::dropout_broadcast(&x, &axes, &dropout).check(&what, &y).unwrap();
                if dropout.scale.log2().fract() == 0.0 {
                    same_bits(&what, &y, &broadcast_on(&mut Cpu::reference(), &x, &axes, dropout))
                        .unwrap();
                }
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Checks random maps of tensors of up to five axes: any axes feed the rows and any others the
/// columns, in any order.
#[test]
fn arbitrary_maps_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        let mut random = StdRng::seed_from_u64(11);
        let (mut right, mut refused) = (0, 0);
        while right < 60 {
            let shape: Vec<usize> =
                (0..random.random_range(0..6)).map(|_| random.random_range(0..10)).collect();
            let mut order: Vec<usize> = (0..shape.len()).collect();
            order.shuffle(&mut random);
            let cut = [random.random_range(0..=shape.len()), random.random_range(0..=shape.len())];
            let rows = &order[..cut[0].min(cut[1])];
            let cols = &order[cut[0].min(cut[1])..cut[0].max(cut[1])];
            let Ok(axes) = AxisMap::new(&shape, rows, cols) else {
                // A map has at most three runs and the last one, so a map of three axes always
                // fits.
                assert!(
                    shape.iter().filter(|&&size| size != 1).count() > 3,
                    "{shape:?} {rows:?} {cols:?}"
                );
                refused += 1;
                continue;
            };
            let dropout = Dropout::train(
                Mode::Inverted,
                mask(0.6).at(random.random_range(0..9), random.random_range(0..20)),
            );
            let x = noise(5, axes.elements());
            let y = broadcast_on(backend, &x, &axes, dropout);
            oracle::dropout_broadcast(&x, &axes, &dropout)
                .check(&format!("{} {axes:?}", backend.name()), &y)
                .unwrap();
            right += 1;
        }
        assert!(refused > 0);
    }
    on_backends!(check);
}

/// Checks that the device drops the elements that the host's mask drops. The control: another map
/// of the same tensor gives another mask.
#[test]
fn ones_show_the_host_s_mask() {
    fn check<B: Backend>(backend: &mut B) {
        let shape = [6, 8, 10];
        let dropout = Dropout::train(Mode::Vanilla, mask(0.5).at(3, 5));
        let axes = AxisMap::over_time(&shape).unwrap();
        let y = broadcast_on(backend, &[1.0; 480], &axes, dropout);
        let bytes: Vec<u8> = y.iter().map(|&y| y as u8).collect();
        assert_eq!(bytes, dropout.mask.broadcast(&axes).unwrap(), "{}", backend.name());
        for other in [
            AxisMap::channels(&shape),
            AxisMap::channels_last(&[6, 80]),
            AxisMap::drop_path(&shape),
        ] {
            assert_ne!(bytes, dropout.mask.broadcast(&other.unwrap()).unwrap());
        }
    }
    on_backends!(check);
}

#[test]
fn shards_of_a_broadcast_mask_are_parts_of_the_whole() {
    fn check<B: Backend>(backend: &mut B) {
        let (batch, channels, positions) = (5, 11, 7);
        let whole = AxisMap::channels(&[batch, channels, positions]).unwrap();
        let dropout = Dropout::train(Mode::Inverted, mask(0.6).at(100, 3));
        let all = broadcast_on(backend, &vec![1.0; whole.elements()], &whole, dropout);
        let shard = |backend: &mut B, n: usize, c: usize, size: [usize; 2]| {
            let axes = AxisMap::channels(&[size[0], size[1], positions]).unwrap();
            let dropout =
                Dropout { mask: dropout.mask.at(100 + n as u64, 3 + c as u64), ..dropout };
            broadcast_on(backend, &vec![1.0; axes.elements()], &axes, dropout)
        };
        let part = |n: usize, c: usize, size: [usize; 2]| {
            let rows = (n..n + size[0])
                .flat_map(|n| &all[(n * channels + c) * positions..][..size[1] * positions]);
            rows.copied().collect::<Vec<f32>>()
        };
        for (n, c, size) in [(2, 0, [3, 11]), (0, 4, [5, 7]), (1, 3, [2, 5])] {
            same_bits("shard", &shard(backend, n, c, size), &part(n, c, size)).unwrap();
        }
        assert!(
            same_bits("the control", &shard(backend, 2, 0, [2, 11]), &part(1, 0, [2, 11])).is_err()
        );
    }
    on_backends!(check);
}

#[test]
fn a_mask_given_as_bits_drops_what_the_mask_drops() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES {
            let mut values = noise(2, rows * cols);
            values.iter_mut().step_by(13).for_each(|x| *x = f32::INFINITY);
            let x = backend.tensor(rows, cols, &values).unwrap();
            for site in sites() {
                let what = format!("{} {rows}×{cols} {site:?}", backend.name());
                let words = cols.div_ceil(32);
                let mut bits = backend.zeros::<u32>(rows, words).unwrap();
                backend.run(MaskBits { bits: &mut bits, cols, mask: site.mask }).unwrap();
                let mut given = poisoned(backend, rows, cols);
                let mut drawn = poisoned(backend, rows, cols);
                let scale = site.scale;
                backend.run(DropoutBits { x: &x, bits: &bits, y: &mut given, scale }).unwrap();
                backend.run(DropoutCall { x: &x, y: &mut drawn, dropout: site }).unwrap();
                let given = backend.read(&given).unwrap();
                let drawn = backend.read(&drawn).unwrap();
                same_bits(&what, &given, &drawn).unwrap();
                let bytes = site.mask.bytes(rows, cols).unwrap();
                oracle::dropout_bytes(&values, &bytes, scale).check(&what, &given).unwrap();
                // Bits past the last column are ignored; the bit of the last column is not.
                if rows * cols > 0 {
                    let mut changed = backend.read(&bits).unwrap();
                    if cols % 32 > 0 {
                        changed
                            .iter_mut()
                            .skip(words - 1)
                            .step_by(words)
                            .for_each(|word| *word |= u32::MAX << (cols % 32));
                    }
                    let mut run = |changed: &[u32]| {
                        let bits = backend.tensor(rows, words, changed).unwrap();
                        let mut y = poisoned(backend, rows, cols);
                        backend
                            .run(DropoutBits { x: &x, bits: &bits, y: &mut y, scale: 2.0 })
                            .unwrap();
                        backend.read(&y).unwrap()
                    };
                    let exact = oracle::dropout_bytes(&values, &bytes, 2.0);
                    exact.check(&what, &run(&changed)).unwrap();
                    changed[words - 1] ^= 1 << ((cols - 1) % 32);
                    assert!(exact.check("the control", &run(&changed)).is_err(), "{what}");
                }
            }
        }
    }
    on_backends!(check);
}

#[test]
fn a_mask_as_bytes_is_the_contract_s() {
    fn check<B: Backend>(backend: &mut B) {
        for [rows, cols] in SHAPES.into_iter().chain([[50, 3], [30, 5], [3, 2001]]) {
            for mask in masks() {
                let draw = |backend: &mut B, mask: Mask| {
                    let mut bytes = backend.tensor(rows, cols, &vec![7u8; rows * cols]).unwrap();
                    backend.run(MaskBytes { bytes: &mut bytes, mask }).unwrap();
                    backend.read(&bytes).unwrap()
                };
                let right = mask.bytes(rows, cols).unwrap();
                assert!(draw(backend, mask) == right, "{} {rows}×{cols} {mask:?}", backend.name());
                let other = Mask { key: Key { step: mask.key.step + 1, ..mask.key }, ..mask };
                if rows * cols > 100 && mask.rate.keep_in_effect() % 1.0 != 0.0 {
                    assert!(draw(backend, other) != right, "the control");
                }
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

fn alpha_on<B: Backend>(
    backend: &mut B,
    x: &[f32],
    [rows, cols]: [usize; 2],
    dropout: AlphaDropout,
) -> Vec<f32> {
    let x = backend.tensor(rows, cols, x).unwrap();
    let mut y = poisoned(backend, rows, cols);
    backend.run(AlphaDropoutCall { x: &x, y: &mut y, dropout }).unwrap();
    backend.read(&y).unwrap()
}

#[test]
fn alpha_dropout_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in SHAPES {
            let mut x = noise(3, shape[0] * shape[1]);
            x.iter_mut().step_by(19).for_each(|x| *x = f32::NAN);
            for site in masks().into_iter().map(AlphaDropout::train) {
                let what = format!("{} {shape:?} {site:?}", backend.name());
                let y = alpha_on(backend, &x, shape, site);
                oracle::alpha_dropout(&x, shape[1], &site).check(&what, &y).unwrap();
                match site.mask.rate.keep_in_effect() {
                    1.0 => same_bits(&what, &y, &x).unwrap(),
                    0.0 => same_bits(&what, &y, &vec![0.0; x.len()]).unwrap(),
                    _ => {}
                }
            }
        }
        let minus = alpha_on(backend, &[-0.0; 9], [1, 9], AlphaDropout::train(Mask::KEEP_ALL));
        same_bits("keep 1 is the identity", &minus, &[-0.0; 9]).unwrap();
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Checks `dx = M·a·dy`: y is linear in x, and dx is its slope.
#[test]
fn the_way_back_through_alpha_dropout_is_its_slope() {
    fn check<B: Backend>(backend: &mut B) {
        let shape @ [rows, cols] = [7, 33];
        let site = AlphaDropout::train(mask(0.6).at(1, 2));
        let [one, three] = [1.0, 3.0].map(|x| alpha_on(backend, &[x; 7 * 33], shape, site));
        let dy = backend.tensor(rows, cols, &[1.0f32; 7 * 33]).unwrap();
        let mut dx = poisoned(backend, rows, cols);
        backend.run(DropoutCall { x: &dy, y: &mut dx, dropout: site.backward() }).unwrap();
        let dx = backend.read(&dx).unwrap();
        let slope: Vec<f32> =
            three.iter().zip(&one).map(|(three, one)| (three - one) / 2.0).collect();
        assert!(
            dx.iter().zip(&slope).all(|(dx, slope)| (dx - slope).abs() < 1e-5),
            "{}",
            backend.name()
        );
        assert!(dx.contains(&0.0) && dx.iter().any(|&dx| dx > 0.5));
    }
    on_backends!(check);
}

/// Returns the z-values of the mean and the variance of numbers that should have mean 0, variance 1
/// and the given fourth moment.
fn moments(values: &[f32], fourth: f64) -> [f64; 2] {
    let n = values.len() as f64;
    let sum = |power: i32| values.iter().map(|&v| f64::from(v).powi(power)).sum::<f64>();
    [sum(1) / n.sqrt(), (sum(2) - n) / (n * (fourth - 1.0)).sqrt()]
}

/// Checks that inputs of mean 0 and variance 1 keep that mean and variance. The control is plain
/// dropout, whose output variance is 1/k.
#[test]
fn alpha_dropout_keeps_mean_and_variance() {
    fn check<B: Backend>(backend: &mut B) {
        let shape = [256, 1024];
        let x: Vec<f32> = (0..256 * 1024).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        for keep in [0.5, 0.9] {
            let site = AlphaDropout::train(mask(keep));
            let k = site.mask.rate.keep_in_effect();
            let [a, b, d] = [site.scale, site.shift, site.dropped].map(f64::from);
            let fourth = k * ((a + b).powi(4) + (b - a).powi(4)) / 2.0 + (1.0 - k) * d.powi(4);
            let z = moments(&alpha_on(backend, &x, shape, site), fourth);
            assert!(z.iter().all(|z| z.abs() < 5.0), "{} keep {keep}: {z:?}", backend.name());
            let plain = AlphaDropout { shift: 0.0, dropped: 0.0, scale: 1.0 / k as f32, ..site };
            let z = moments(&alpha_on(backend, &x, shape, plain), fourth);
            assert!(z[1] > 20.0, "the control: {z:?}");
        }
    }
    on_backends!(check);
}

fn gaussian_on<B: Backend>(
    backend: &mut B,
    x: &[f32],
    [rows, cols]: [usize; 2],
    dropout: GaussianDropout,
) -> Vec<f32> {
    let x = backend.tensor(rows, cols, x).unwrap();
    let mut y = poisoned(backend, rows, cols);
    backend.run(GaussianDropoutCall { x: &x, y: &mut y, dropout }).unwrap();
    backend.read(&y).unwrap()
}

#[test]
fn gaussian_dropout_equals_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for shape in SHAPES {
            let x = noise(4, shape[0] * shape[1]);
            for site in masks().into_iter().filter_map(|mask| GaussianDropout::train(mask).ok()) {
                let what = format!("{} {shape:?} {site:?}", backend.name());
                let y = gaussian_on(backend, &x, shape, site);
                let exact = oracle::gaussian_dropout(&x, shape[1], &site);
                exact.check(&what, &y).unwrap();
                if site.mask().rate == Rate::KEEP_ALL {
                    same_bits(&what, &y, &x).unwrap();
                } else if x.len() > 4 {
                    // The control: the noise of the neighboring element.
                    let moved = site.mask().at(site.mask().row_offset, site.mask().col_offset + 1);
                    let y = gaussian_on(backend, &x, shape, GaussianDropout::train(moved).unwrap());
                    assert!(exact.check("the control", &y).is_err(), "{what}");
                }
            }
        }
    }
    on_backends!(check, MULTIPLICATIONS);
}

/// Checks the noise over nearly all 65,536 draws, at a large and a small σ.
#[test]
fn gaussian_noise_is_right_over_nearly_all_draws() {
    fn check<B: Backend>(backend: &mut B) {
        let shape = [512, 1024];
        let ones = vec![1.0; 512 * 1024];
        for keep in [0.05, 0.8] {
            let site = GaussianDropout::train(mask(keep)).unwrap();
            let y = gaussian_on(backend, &ones, shape, site);
            oracle::gaussian_dropout(&ones, shape[1], &site).check(&backend.name(), &y).unwrap();
        }
        let mut seen = vec![false; 65536];
        (0..512).for_each(|row| {
            (0..1024).for_each(|col| seen[usize::from(mask(0.8).key.draw(row, col))] = true)
        });
        assert!(seen.iter().filter(|&&seen| seen).count() > 65_000);
    }
    on_backends!(check);
}

/// Checks that n is standard normal and independent from element to element, with |z| < 5. The
/// controls: a rate that is off by a fiftieth, and the noise correlated with itself.
#[test]
fn gaussian_noise_is_standard_normal() {
    fn check<B: Backend>(backend: &mut B) {
        let shape @ [rows, cols] = [512, 1024];
        let all: Vec<f64> = (0..=u16::MAX).map(oracle::noise).collect();
        let fourth = all.iter().map(|n| n.powi(4)).sum::<f64>() / 65536.0;
        let site = |keep, step| {
            let key = Key { seed: 7, layer: 2, step };
            GaussianDropout::train(Mask::new(Rate::keep(keep).unwrap(), key)).unwrap()
        };
        let mut noise = |site: GaussianDropout, sigma: f64| {
            let y = gaussian_on(backend, &vec![1.0; rows * cols], shape, site);
            y.iter().map(|y| ((f64::from(*y) - 1.0) / sigma) as f32).collect::<Vec<f32>>()
        };
        let a = noise(site(0.5, 0), 1.0);
        let b = noise(site(0.5, 1), 1.0);
        let wrong = noise(site(0.51, 0), 1.0);
        let correlation = |a: &[f32], b: &[f32]| {
            let sum = a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
            sum / (a.len().min(b.len()) as f64).sqrt()
        };
        let [mean, variance] = moments(&a, fourth);
        let statistics = [
            ("mean", mean),
            ("variance", variance),
            ("next column", correlation(&a, &a[1..])),
            ("next group", correlation(&a, &a[8..])),
            ("next row", correlation(&a, &a[cols..])),
            ("next step", correlation(&a, &b)),
        ];
        for (what, z) in statistics {
            assert!(z.abs() < 5.0, "{what}: z = {z}");
        }
        assert!(moments(&wrong, fourth)[1].abs() > 5.0, "the control of the variance");
        assert!(correlation(&a, &a).abs() > 5.0, "the control of the correlation");
    }
    on_backends!(check);
}

#[test]
fn what_does_not_fit_is_a_typed_error() {
    fn check<B: Backend>(backend: &mut B) {
        let x = backend.zeros::<f32>(4, 40).unwrap();
        let mut y = backend.zeros::<f32>(4, 40).unwrap();
        let mut narrow = backend.zeros::<f32>(4, 39).unwrap();
        let bits = backend.zeros::<u32>(4, 2).unwrap();
        let few = backend.zeros::<u32>(4, 1).unwrap();
        let dropout = Dropout::train(Mode::Inverted, mask(0.5));
        let far = Dropout { mask: mask(0.5).at(u64::from(u32::MAX), 0), ..dropout };
        let shape = |result: wgpu_dropout::Result<()>| {
            assert!(matches!(result, Err(Error::Shape { .. })), "{result:?}")
        };
        let large = |result: wgpu_dropout::Result<()>| {
            assert!(matches!(result, Err(Error::TooLarge { .. })), "{result:?}")
        };
        let axes = &AxisMap::channels(&[4, 4, 10]).unwrap();
        let other = &AxisMap::channels(&[4, 4, 11]).unwrap();
        shape(backend.run(DropoutBroadcast { x: &x, y: &mut y, axes: other, dropout }));
        shape(backend.run(DropoutBroadcast { x: &x, y: &mut narrow, axes, dropout }));
        large(backend.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout: far }));
        shape(backend.run(DropoutBits { x: &x, bits: &few, y: &mut y, scale: 2.0 }));
        shape(backend.run(DropoutBits { x: &x, bits: &bits, y: &mut narrow, scale: 2.0 }));
        let alpha = AlphaDropout::train(mask(0.5));
        shape(backend.run(AlphaDropoutCall { x: &x, y: &mut narrow, dropout: alpha }));
        large(backend.run(AlphaDropoutCall {
            x: &x,
            y: &mut y,
            dropout: AlphaDropout::train(far.mask),
        }));
        let gaussian = GaussianDropout::train(mask(0.5)).unwrap();
        shape(backend.run(GaussianDropoutCall { x: &x, y: &mut narrow, dropout: gaussian }));
        let far = GaussianDropout::train(far.mask).unwrap();
        large(backend.run(GaussianDropoutCall { x: &x, y: &mut y, dropout: far }));
        let mut bytes = backend.zeros::<u8>(4, 40).unwrap();
        large(backend.run(MaskBytes { bytes: &mut bytes, mask: *far.mask() }));
        // A valid call still runs.
        backend.run(DropoutBroadcast { x: &x, y: &mut y, axes, dropout }).unwrap();
        assert!(backend.read(&y).unwrap().iter().all(|&y| y == 0.0));
    }
    on_backends!(check);
}
