//! `patches`, `patches_grad`, `pool` and `pool_grad`.

use crate::common::{noise, poisoned, same_bits};
use crate::on_backends;
use wgpu_dropout::Backend;
use wgpu_dropout::call::{
    Filter, Image, LinearForward, Patches, PatchesGrad, Pool, PoolCall, PoolGrad, Pooling,
};
use wgpu_dropout::{Dropout, Error, oracle};

/// Numbers of images and their sizes: one pixel, ragged, one row, one column, many channels, empty.
const IMAGES: [(usize, [usize; 3]); 8] = [
    (1, [1, 1, 1]),
    (3, [5, 7, 3]),
    (2, [1, 9, 2]),
    (2, [11, 1, 1]),
    (129, [4, 4, 1]),
    (2, [6, 5, 65]),
    (7, [28, 28, 1]),
    (0, [3, 3, 2]),
];

fn images() -> impl Iterator<Item = (usize, Image)> {
    IMAGES
        .into_iter()
        .map(|(count, [height, width, channels])| (count, Image { height, width, channels }))
}

/// Returns the convolution windows that fit an image.
fn filters(image: Image) -> Vec<Filter> {
    let all = [(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (5, 0), (5, 2), (5, 4), (28, 0)];
    all.map(|(side, padding)| Filter { side, padding })
        .into_iter()
        .filter(|filter| filter.patches(image).is_ok())
        .collect()
}

/// Returns the pooling windows that fit an image: windows that tile it exactly, windows that leave
/// a remainder, and one that covers the whole image.
fn pools(image: Image) -> Vec<Pool> {
    let sizes = [(1, 1), (2, 2), (3, 2), (1, 4), (3, 3), (image.height, image.width)];
    let pool = |pooling| sizes.map(|(height, width)| Pool { pooling, height, width });
    [pool(Pooling::Max), pool(Pooling::Average)]
        .concat()
        .into_iter()
        .filter(|pool| pool.pooled(image).is_ok())
        .collect()
}

fn patches<B: Backend>(
    backend: &mut B,
    x: &[f32],
    count: usize,
    image: Image,
    filter: Filter,
) -> Vec<f32> {
    let made = filter.patches(image).unwrap();
    let x = backend.tensor(count, image.elements(), x).unwrap();
    let mut y = poisoned(backend, count * made.pixels(), made.channels);
    backend.run(Patches { x: &x, image, filter, patches: &mut y }).unwrap();
    backend.read(&y).unwrap()
}

#[test]
fn patches_and_the_way_back_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for (count, image) in images() {
            for filter in filters(image) {
                let made = filter.patches(image).unwrap();
                let what = format!("{} {count} of {image:?} {filter:?}", backend.name());
                let values = noise(1, count * image.elements());
                let got = patches(backend, &values, count, image, filter);
                oracle::patches(&values, image, filter, made).check(&what, &got).unwrap();
                let grad = noise(2, count * made.elements());
                // A different split into rows: the images are contiguous all the same.
                let grad_patches = backend.tensor(count, made.elements(), &grad).unwrap();
                let x = backend.tensor(count, image.elements(), &values).unwrap();
                for scale in [None, Some(1.25)] {
                    let mut grad_x = poisoned(backend, count * image.pixels(), image.channels);
                    let through = scale.map(|scale| (&x, scale));
                    let call = PatchesGrad {
                        grad_patches: &grad_patches,
                        image,
                        filter,
                        grad_x: &mut grad_x,
                        through,
                    };
                    backend.run(call).unwrap();
                    let through = scale.map(|scale| (values.as_slice(), scale));
                    let exact = oracle::patches_grad(&grad, image, filter, made, through);
                    exact
                        .check(&format!("{what} {scale:?}"), &backend.read(&grad_x).unwrap())
                        .unwrap();
                }
                // The control: with no padding, or a different one, the patches hold other pixels.
                let other = Filter { padding: if filter.padding > 0 { 0 } else { 1 }, ..filter };
                if count > 0 && filter.side > 1 && other.patches(image).is_ok() {
                    let exact =
                        oracle::patches(&values, image, other, other.patches(image).unwrap());
                    assert!(exact.check(&what, &got).is_err(), "{what}");
                }
            }
        }
    }
    on_backends!(check);
}

/// Checks that `patches_grad` is the transpose of `patches`: for whole numbers,
/// `Σ dy·patches(x) = Σ x·patches_grad(dy)` exactly. The control changes one element.
#[test]
fn the_way_back_is_the_transpose() {
    fn check<B: Backend>(backend: &mut B) {
        let count = 3;
        let image = Image { height: 6, width: 5, channels: 2 };
        let filter = Filter { side: 3, padding: 1 };
        let made = filter.patches(image).unwrap();
        let whole = |seed, len| {
            noise(seed, len).into_iter().map(|x| (x * 4.5).trunc()).collect::<Vec<f32>>()
        };
        let x = whole(1, count * image.elements());
        let dy = whole(2, count * made.elements());
        let y = patches(backend, &x, count, image, filter);
        let grad_patches = backend.tensor(count, made.elements(), &dy).unwrap();
        let mut grad_x = poisoned(backend, count, image.elements());
        backend
            .run(PatchesGrad {
                grad_patches: &grad_patches,
                image,
                filter,
                grad_x: &mut grad_x,
                through: None,
            })
            .unwrap();
        let mut dx = backend.read(&grad_x).unwrap();
        let dot = |a: &[f32], b: &[f32]| {
            a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>()
        };
        assert_eq!(dot(&dy, &y), dot(&x, &dx), "{}", backend.name());
        let at = x.iter().position(|&x| x != 0.0).unwrap();
        dx[at] += 1.0;
        assert_ne!(dot(&dy, &y), dot(&x, &dx));
    }
    on_backends!(check);
}

/// Checks that a product over patches, with dropout in its epilogue, equals the direct convolution.
/// With the filters flipped it must not.
#[test]
fn a_product_over_patches_is_a_convolution() {
    fn check<B: Backend>(backend: &mut B) {
        let count = 2;
        let image = Image { height: 6, width: 7, channels: 3 };
        let filter = Filter { side: 3, padding: 1 };
        let outputs = 5;
        let made = filter.patches(image).unwrap();
        let x = noise(1, count * image.elements());
        let w = noise(2, made.channels * outputs);
        let y = patches(backend, &x, count, image, filter);
        let patches = backend.tensor(count * made.pixels(), made.channels, &y).unwrap();
        let weight = backend.tensor(made.channels, outputs, &w).unwrap();
        let mut y = poisoned(backend, count * made.pixels(), outputs);
        backend
            .run(LinearForward {
                x: &patches,
                weight: &weight,
                bias: None,
                y: &mut y,
                relu: false,
                dropout: Dropout::NONE,
            })
            .unwrap();
        let y = backend.read(&y).unwrap();
        let off = |turned: bool| {
            let mut most = 0.0f64;
            for (i, y) in y.iter().enumerate() {
                let o = i % outputs;
                let col = i / outputs % made.width;
                let row = i / outputs / made.width % made.height;
                let b = i / outputs / made.pixels();
                let mut sum = 0.0;
                for (u, v) in (0..9).map(|place| (place / 3, place % 3)) {
                    let (r, c) = (row as isize + u - 1, col as isize + v - 1);
                    if r < 0 || c < 0 || r >= image.height as isize || c >= image.width as isize {
                        continue;
                    }
                    let (u, v) = if turned { (2 - u, 2 - v) } else { (u, v) };
                    for channel in 0..image.channels {
                        let at = ((b * image.height + r as usize) * image.width + c as usize)
                            * image.channels
                            + channel;
                        let of = ((u as usize * 3 + v as usize) * image.channels + channel)
                            * outputs
                            + o;
                        sum += f64::from(x[at]) * f64::from(w[of]);
                    }
                }
                most = most.max((sum - f64::from(*y)).abs());
            }
            most
        };
        assert!(
            off(false) < 1e-5 && off(true) > 0.1,
            "{}: {} {}",
            backend.name(),
            off(false),
            off(true)
        );
    }
    on_backends!(check);
}

#[test]
fn pooling_and_the_way_back_equal_the_oracle() {
    fn check<B: Backend>(backend: &mut B) {
        for (count, image) in images() {
            // Few distinct values, as after a ReLU, so that windows have tied maxima.
            let values: Vec<f32> = noise(1, count * image.elements())
                .into_iter()
                .map(|x| (x * 3.0).round().max(0.0))
                .collect();
            for pool in pools(image) {
                let pooled = pool.pooled(image).unwrap();
                let what = format!("{} {count} of {image:?} {pool:?}", backend.name());
                let x = backend.tensor(count, image.elements(), &values).unwrap();
                let mut y = poisoned(backend, count, pooled.elements());
                backend.run(PoolCall { x: &x, image, pool, y: &mut y }).unwrap();
                let got = backend.read(&y).unwrap();
                oracle::pool(&values, image, pool, pooled).check(&what, &got).unwrap();
                let grad = noise(2, count * pooled.elements());
                let grad_y =
                    backend.tensor(count * pooled.pixels(), pooled.channels, &grad).unwrap();
                for through in [None, Some(1.25)] {
                    let mut grad_x = poisoned(backend, count, image.elements());
                    backend
                        .run(PoolGrad {
                            x: &x,
                            image,
                            pool,
                            grad_y: &grad_y,
                            grad_x: &mut grad_x,
                            through,
                        })
                        .unwrap();
                    let dx = backend.read(&grad_x).unwrap();
                    oracle::pool_grad(&values, &grad, image, pool, pooled, through)
                        .check(&what, &dx)
                        .unwrap();
                }
                // The control: average pooling must not pass for max pooling, nor the reverse.
                let other = Pool {
                    pooling: if pool.pooling == Pooling::Max {
                        Pooling::Average
                    } else {
                        Pooling::Max
                    },
                    ..pool
                };
                if count > 1 && pool.height * pool.width > 1 {
                    assert!(
                        oracle::pool(&values, image, other, pooled).check(&what, &got).is_err(),
                        "{what}"
                    );
                }
            }
        }
    }
    on_backends!(check);
}

/// Checks that the fast path and the reference kernels give the same bits, sums included.
#[test]
fn both_paths_of_the_cpu_have_the_same_bits() {
    let on = |backend: &mut wgpu_dropout::Cpu| {
        let count = 37;
        let image = Image { height: 13, width: 12, channels: 5 };
        let filter = Filter { side: 4, padding: 2 };
        let made = filter.patches(image).unwrap();
        let values = noise(1, count * image.elements());
        let mut all = patches(backend, &values, count, image, filter);
        let grad_patches =
            backend.tensor(count, made.elements(), &noise(2, count * made.elements())).unwrap();
        let mut grad_x = poisoned(backend, count, image.elements());
        backend
            .run(PatchesGrad {
                grad_patches: &grad_patches,
                image,
                filter,
                grad_x: &mut grad_x,
                through: None,
            })
            .unwrap();
        all.extend(backend.read(&grad_x).unwrap());
        let x = backend.tensor(count, image.elements(), &values).unwrap();
        for pool in pools(image) {
            let pooled = pool.pooled(image).unwrap();
            let mut y = poisoned(backend, count, pooled.elements());
            backend.run(PoolCall { x: &x, image, pool, y: &mut y }).unwrap();
            backend
                .run(PoolGrad {
                    x: &x,
                    image,
                    pool,
                    grad_y: &y,
                    grad_x: &mut grad_x,
                    through: Some(1.5),
                })
                .unwrap();
            all.extend([backend.read(&y).unwrap(), backend.read(&grad_x).unwrap()].concat());
        }
        all
    };
    same_bits(
        "fast and reference",
        &on(&mut wgpu_dropout::Cpu::new()),
        &on(&mut wgpu_dropout::Cpu::reference()),
    )
    .unwrap();
}

#[test]
fn a_nan_is_the_largest() {
    fn check<B: Backend>(backend: &mut B) {
        let image = Image { height: 1, width: 8, channels: 1 };
        let inf = f32::INFINITY;
        let x =
            backend.tensor(1, 8, &[1.0, f32::NAN, f32::NAN, 2.0, -inf, -inf, -0.0, inf]).unwrap();
        let mut y = poisoned(backend, 1, 4);
        let pool = Pool { pooling: Pooling::Max, height: 1, width: 2 };
        backend.run(PoolCall { x: &x, image, pool, y: &mut y }).unwrap();
        let values = backend.read(&y).unwrap();
        assert!(
            values[0].is_nan() && values[1].is_nan() && values[2..] == [-inf, inf],
            "{} {values:?}",
            backend.name()
        );
        let grad_y = backend.tensor(1, 4, &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let mut grad_x = poisoned(backend, 1, 8);
        backend
            .run(PoolGrad {
                x: &x,
                image,
                pool,
                grad_y: &grad_y,
                grad_x: &mut grad_x,
                through: None,
            })
            .unwrap();
        assert_eq!(
            backend.read(&grad_x).unwrap(),
            [0.0, 1.0, 2.0, 0.0, 3.0, 0.0, 0.0, 4.0],
            "{}",
            backend.name()
        );
    }
    on_backends!(check);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    fn check<B: Backend>(backend: &mut B) {
        let image = |height, width, channels| Image { height, width, channels };
        let shape = |error: Option<Error>| {
            matches!(error, Some(Error::Shape { .. } | Error::TooLarge { .. }))
        };
        for (of, side, padding) in [
            (image(4, 4, 1), 5, 0),
            (image(4, 4, 1), 0, 0),
            (image(4, 4, 1), 3, 3),
            (image(0, 4, 1), 1, 0),
            (image(4, 4, 0), 1, 0),
            (image(4, 4, 1), usize::MAX, usize::MAX - 1),
            (image(usize::MAX, 2, 2), 1, 0),
            (image(usize::MAX, 1, 1), usize::MAX / 2, usize::MAX / 2 - 1),
        ] {
            assert!(shape(Filter { side, padding }.patches(of).err()), "{of:?} {side} {padding}");
        }
        for (of, height, width) in
            [(image(4, 4, 1), 5, 1), (image(4, 4, 1), 0, 2), (image(4, 4, 1), 1, usize::MAX)]
        {
            assert!(
                shape(Pool { pooling: Pooling::Max, height, width }.pooled(of).err()),
                "{of:?} {height} {width}"
            );
        }
        // Tensors that do not hold a whole number of images, and outputs of the wrong size.
        let of = image(4, 4, 1);
        let filter = Filter { side: 3, padding: 0 };
        let pool = Pool { pooling: Pooling::Max, height: 2, width: 2 };
        for (inputs, patches, pooled) in [(17, 36, 4), (32, 36, 4), (16, 72, 8), (16, 35, 3)] {
            let x = backend.zeros::<f32>(1, inputs).unwrap();
            let mut made = backend.zeros(1, patches).unwrap();
            let mut y = backend.zeros(1, pooled).unwrap();
            assert!(shape(
                backend.run(Patches { x: &x, image: of, filter, patches: &mut made }).err()
            ));
            assert!(shape(backend.run(PoolCall { x: &x, image: of, pool, y: &mut y }).err()));
            let mut back = backend.zeros::<f32>(1, inputs).unwrap();
            let call = PatchesGrad {
                grad_patches: &made,
                image: of,
                filter,
                grad_x: &mut back,
                through: None,
            };
            assert!(shape(backend.run(call).err()));
            let call =
                PoolGrad { x: &x, image: of, pool, grad_y: &y, grad_x: &mut back, through: None };
            assert!(shape(backend.run(call).err()));
        }
    }
    on_backends!(check);
}
