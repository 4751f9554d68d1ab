//! Checks the order of this crate's submissions among Burn's own kernels: each reads the results of
//! the previous one, however Burn collects and fuses its launches.

mod common;

use burn_wgpu_dropout::Rate;
use burn_wgpu_dropout::functional::{dropout, linear_relu_dropout};
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode};
use common::{bits, devices, numbers, tensor, values};

fn site(step: u32) -> wgpu_dropout::Dropout {
    wgpu_dropout::Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::drop(0.25).unwrap(), Key { seed: 1, layer: 0, step }),
    )
}

const SHAPE: [usize; 2] = [16, 24];

/// Computes one round of the chain on the host. It is exact, since every number is a small multiple
/// of a power of two.
fn round(x: &mut [f32], step: u32) {
    for (i, x) in x.iter_mut().enumerate() {
        *x += 1.0;
        *x = if site(step).mask.keeps(i / SHAPE[1], i % SHAPE[1]) {
            *x * site(step).scale
        } else {
            0.0
        };
        *x *= 0.5;
        *x -= 3.0;
    }
}

#[test]
fn a_long_chain_of_burns_kernels_and_ours_is_in_order() {
    for device in devices() {
        for rounds in [1, 2, 31, 64] {
            let mut exact: Vec<f32> =
                numbers(SHAPE[0] * SHAPE[1], 0).iter().map(|x| (x * 64.0).round()).collect();
            let mut x = tensor(&exact, SHAPE, device);
            for step in 0..rounds {
                // In place if Burn can; this reuses the range that our kernel has just read or
                // written.
                x = dropout(x + 1.0, site(step)).unwrap() * 0.5 - 3.0;
                round(&mut exact, step);
            }
            assert_eq!(bits(&values(x)), bits(&exact), "{rounds} rounds");
        }
    }
}

#[test]
fn ranges_that_burn_hands_out_again_are_not_overwritten_too_early() {
    for device in devices() {
        let x = numbers(SHAPE[0] * SHAPE[1], 0);
        let held = tensor(&x, SHAPE, device);
        let results: Vec<_> = (0..40)
            .map(|step| {
                let y = dropout(held.clone(), site(step)).unwrap();
                // Free at once: the pool gives this range to the next tensor, possibly before our
                // kernel has run.
                drop(held.clone() * 7.0 + step as f32);
                y
            })
            .collect();
        for (step, y) in results.into_iter().enumerate() {
            let site = site(step as u32);
            let exact: Vec<f32> = (0..x.len())
                .map(|i| {
                    if site.mask.keeps(i / SHAPE[1], i % SHAPE[1]) {
                        x[i] * site.scale
                    } else {
                        0.0
                    }
                })
                .collect();
            assert_eq!(bits(&values(y)), bits(&exact), "step {step}");
        }
    }
}

#[test]
fn tensors_made_on_other_threads_are_waited_for() {
    for device in devices() {
        let exact: Vec<f32> = (0..SHAPE[0] * SHAPE[1]).map(|i| i as f32).collect();
        let (thread_device, thread_values) = (device.clone(), exact.clone());
        let made = std::thread::spawn(move || {
            let mut x = tensor(&thread_values, SHAPE, &thread_device);
            for _ in 0..20 {
                x = x + 1.0;
            }
            x
        });
        let y = dropout(made.join().unwrap(), site(9)).unwrap();
        let z = std::thread::spawn(move || values(y + 1.0)).join().unwrap();
        for (i, z) in z.into_iter().enumerate() {
            let kept = site(9).mask.keeps(i / SHAPE[1], i % SHAPE[1]);
            let expected = if kept { (exact[i] + 20.0) * site(9).scale } else { 0.0 } + 1.0;
            assert_eq!(z, expected, "element {i}");
        }
    }
}

#[test]
fn threads_that_share_a_device_do_not_disturb_one_another() {
    for device in devices() {
        let work = |thread: u32| {
            let (x, w, b) =
                (numbers(12 * 20, thread), numbers(20 * 8, thread + 50), numbers(8, thread + 90));
            let run = || {
                let mut y = tensor(&x, [12, 20], device);
                for step in 0..10 {
                    let z = linear_relu_dropout(
                        y,
                        tensor(&w, [20, 8], device),
                        Some(tensor(&b, [8], device)),
                        site(step),
                    )
                    .unwrap();
                    y = dropout(z.repeat_dim(1, 3).slice([0..12, 0..20]) + 0.5, site(step + 100))
                        .unwrap();
                }
                bits(&values(y))
            };
            (run(), run())
        };
        let alone: Vec<_> = (0..4).map(work).collect();
        let work = &work;
        let together = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|thread| scope.spawn(move || work(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(alone.iter().all(|(first, second)| first == second));
        assert_eq!(alone, together);
    }
}
