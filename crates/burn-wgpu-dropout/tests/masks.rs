//! Checks that the module draws the contract's masks, bit for bit, for tensors of any rank and
//! layout.

mod common;

use burn_wgpu_dropout::burn::module::Module;
use burn_wgpu_dropout::burn::store::ModuleRecord;
use burn_wgpu_dropout::burn::tensor::{DType, Device, Tensor};
use burn_wgpu_dropout::functional::dropout;
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode, mask::PREDICTION};
use burn_wgpu_dropout::{DropoutConfig, Error, Rate};
use common::{bits, devices, numbers, tensor, values};

fn mask(keep: f64, layer: u32, step: u32) -> Mask {
    Mask::new(Rate::keep(keep).unwrap(), Key { seed: 42, layer, step })
}

fn site(mask: Mask) -> wgpu_dropout::Dropout {
    wgpu_dropout::Dropout::train(Mode::Inverted, mask)
}

/// Computes `M·s·x` on the host, by selection.
fn expected(x: &[f32], cols: usize, mask: Mask) -> Vec<f32> {
    let scale = mask.rate.inverse();
    x.iter()
        .enumerate()
        .map(|(i, x)| if mask.keeps(i / cols, i % cols) { x * scale } else { 0.0 })
        .collect()
}

/// Returns numbers that include NaN and infinities.
fn awkward(count: usize) -> Vec<f32> {
    let mut x = numbers(count, 1);
    for (i, x) in x.iter_mut().enumerate() {
        match i % 7 {
            2 => *x = f32::NAN,
            4 => *x = f32::INFINITY,
            5 => *x = f32::NEG_INFINITY,
            _ => {}
        }
    }
    x
}

fn check<const D: usize>(shape: [usize; D], keep: f64, device: &Device) {
    let count = shape.iter().product();
    let (x, mask) = (numbers(count, 0), mask(keep, 1, 3));
    let y = values(dropout(tensor(&x, shape, device), site(mask)).unwrap());
    assert_eq!(bits(&y), bits(&expected(&x, shape[D - 1], mask)), "{shape:?}, keep {keep}");
}

#[test]
fn masks_are_the_contracts_for_any_rank_and_rate() {
    for device in devices() {
        for keep in [0.5, 0.8, 0.1, 1.0, 0.0] {
            check([1], keep, device);
            check([1037], keep, device);
            check([33, 65], keep, device);
            check([3, 5, 7], keep, device);
            check([2, 3, 4, 128], keep, device);
            check([0, 8], keep, device);
        }
        check([512, 1000], 0.5, device);
    }
}

#[test]
fn another_step_or_layer_draws_another_mask() {
    for device in devices() {
        let x = vec![1.0; 64 * 64];
        let draw = |layer, step| {
            values(dropout(tensor(&x, [64, 64], device), site(mask(0.5, layer, step))).unwrap())
        };
        assert_eq!(draw(1, 3), draw(1, 3));
        assert_ne!(draw(1, 3), draw(1, 4));
        assert_ne!(draw(1, 3), draw(2, 3));
    }
}

#[test]
fn what_is_dropped_is_0_whatever_it_was() {
    for device in devices() {
        let x = awkward(40 * 50);
        for mask in [mask(0.5, 0, 0), mask(0.0, 0, 0)] {
            let y = values(dropout(tensor(&x, [40, 50], device), site(mask)).unwrap());
            for (i, (&x, &y)) in x.iter().zip(&y).enumerate() {
                match mask.keeps(i / 50, i % 50) {
                    true if x.is_nan() => assert!(y.is_nan(), "element {i} of {x} is {y}"),
                    true => assert_eq!(y, x * 2.0, "element {i}"),
                    false => assert_eq!(y.to_bits(), 0, "element {i} of {x} is {y}"),
                }
            }
        }
    }
}

#[test]
fn layouts_other_than_row_major_are_read_as_they_look() {
    for device in devices() {
        let (x, mask) = (numbers(30 * 40, 0), mask(0.7, 1, 0));
        let whole = tensor(&x, [30, 40], device);
        let transposed: Vec<f32> = (0..40 * 30).map(|i| x[i % 30 * 40 + i / 30]).collect();
        let y = values(dropout(whole.clone().transpose(), site(mask)).unwrap());
        assert_eq!(bits(&y), bits(&expected(&transposed, 30, mask)));

        let columns: Vec<f32> = (0..30 * 11).map(|i| x[i / 11 * 40 + 5 + i % 11]).collect();
        let y = values(dropout(whole.clone().slice([0..30, 5..16]), site(mask)).unwrap());
        assert_eq!(bits(&y), bits(&expected(&columns, 11, mask)));

        let y = values(dropout(whole.slice([7..9, 0..40]), site(mask)).unwrap());
        assert_eq!(bits(&y), bits(&expected(&x[7 * 40..9 * 40], 40, mask)));

        let row = tensor(&x[..40], [1, 40], device).expand([16, 40]);
        let y = values(dropout(row, site(mask)).unwrap());
        assert_eq!(bits(&y), bits(&expected(&x[..40].repeat(16), 40, mask)));
    }
}

#[test]
fn the_module_acts_in_training_counts_and_leaves_inference_alone() {
    for device in devices() {
        let training = device.clone().autodiff();
        let x = numbers(20 * 30, 0);
        let module =
            DropoutConfig::new(Rate::drop(0.5).unwrap()).with_seed(42).with_layer(1).init(device);
        let forward = |device: &Device| values(module.forward(tensor(&x, [20, 30], device)));
        assert_eq!(forward(device), x);
        for step in 0..3 {
            assert_eq!(module.steps.get(), step);
            assert_eq!(bits(&forward(&training)), bits(&expected(&x, 30, mask(0.5, 1, step))));
            assert_eq!(forward(device), x, "inference counts no step");
        }
        let frozen = module.clone().freeze();
        assert_eq!(values(frozen.forward(tensor(&x, [20, 30], &training))), x);
        let valid = module.valid();
        assert_eq!(values(valid.forward(tensor(&x, [20, 30], device))), x);
        assert_eq!((module.steps.get(), frozen.steps.get(), valid.train().steps.get()), (3, 3, 3));
    }
}

#[test]
fn sampling_draws_anywhere_from_keys_of_its_own() {
    for device in devices() {
        let x = numbers(20 * 30, 0);
        let module =
            DropoutConfig::new(Rate::drop(0.5).unwrap()).with_seed(42).with_layer(1).init(device);
        module.steps.set(17);
        let module = module.valid().sampling(4);
        for (sample, device) in
            [(4, device.clone()), (5, device.clone().autodiff()), (6, device.clone())]
        {
            let y = values(module.forward(tensor(&x, [20, 30], &device)));
            assert_eq!(bits(&y), bits(&expected(&x, 30, mask(0.5, 1 | PREDICTION, sample))));
        }
        assert_eq!(module.steps.get(), 17);
        let module = module.not_sampling();
        assert_eq!(values(module.forward(tensor(&x, [20, 30], device))), x);
    }
}

#[test]
fn two_shards_draw_the_mask_of_the_whole() {
    for device in devices() {
        let training = device.clone().autodiff();
        let x = numbers(24 * 40, 0);
        let mut module =
            DropoutConfig::new(Rate::drop(0.3).unwrap()).with_seed(42).with_layer(1).init(device);
        let first = values(module.forward(tensor(&x[..10 * 40], [10, 40], &training)));
        module.row_offset = 10;
        module.steps.set(0);
        let second = values(module.forward(tensor(&x[10 * 40..], [14, 40], &training)));
        let whole = expected(&x, 40, mask(0.7, 1, 0));
        assert_eq!(bits(&[first, second].concat()), bits(&whole));
    }
}

#[derive(Module, Debug)]
struct Nested {
    sites: Vec<burn_wgpu_dropout::Dropout>,
}

#[test]
fn a_record_resumes_each_sites_step() {
    for device in devices() {
        let training = device.clone().autodiff();
        let init = || {
            let site = |layer| {
                DropoutConfig::new(Rate::drop(0.5).unwrap())
                    .with_seed(42)
                    .with_layer(layer)
                    .init(device)
            };
            Nested { sites: vec![site(0), site(1)] }
        };
        let x = vec![1.0; 16 * 16];
        let forward = |net: &Nested, site: usize| {
            values(net.sites[site].forward(tensor(&x, [16, 16], &training)))
        };
        let net = init();
        net.sites[1].steps.set(u32::MAX - 1);
        (0..5).for_each(|_| drop(forward(&net, 0)));
        let bytes = net.clone().into_record().into_bytes().unwrap();
        let resumed = init().load_record(ModuleRecord::from_bytes(bytes).unwrap());
        assert_eq!((resumed.sites[0].steps.get(), resumed.sites[1].steps.get()), (5, u32::MAX - 1));
        for site in [0, 1] {
            assert_eq!(forward(&resumed, site), forward(&net, site));
        }
        assert_ne!(
            forward(&init(), 0),
            forward(&net, 0),
            "the control: a run that starts anew draws other masks"
        );
    }
}

#[test]
fn a_configuration_goes_through_a_file() {
    use burn_wgpu_dropout::burn::config::Config;
    let config = DropoutConfig::new(Rate::drop(0.1).unwrap()).with_seed(u64::MAX).with_layer(3);
    let json = config.to_string();
    assert_eq!(DropoutConfig::load_binary(json.as_bytes()).unwrap(), config, "{json}");
    let error = DropoutConfig::load_binary(br#"{"keep": 1.5, "seed": 0, "layer": 0}"#).unwrap_err();
    assert!(error.to_string().contains("1.5"), "{error}");
}

#[test]
fn what_the_kernels_cannot_take_is_an_error() {
    for device in devices() {
        let x: Tensor<2> = tensor(&[1.0; 4], [2, 2], device);
        let brain = Tensor::<2>::empty([2, 2], (device, DType::BF16));
        assert!(matches!(dropout(brain, site(mask(0.5, 0, 0))), Err(Error::Invalid { .. })));
        let past = mask(0.5, 0, 0).at(u64::from(u32::MAX), 0);
        assert!(matches!(dropout(x, site(past)), Err(Error::TooLarge { .. })));
    }
    // A device of Burn that has not been adopted.
    if let [device, ..] = devices() {
        let burn_wgpu_dropout::burn::backend::DispatchDevice::Cube(_) = device.as_dispatch() else {
            panic!("a device of CubeCL")
        };
        let setup = Device::wgpu_options()
            .device_kind(burn_wgpu_dropout::burn::tensor::DeviceKind::Cpu)
            .init_with_setup();
        let Ok((unknown, setup)) = setup else { return };
        let y = dropout(tensor(&[1.0; 4], [2, 2], &unknown), site(mask(0.5, 0, 0)));
        let Err(Error::Adapter { what }) = y else { panic!("an unknown device was used") };
        assert!(what.contains("adopt"), "{what}");
        burn_wgpu_dropout::adopt(&unknown, &setup).unwrap();
        burn_wgpu_dropout::adopt(&unknown, &setup).unwrap();
        assert!(dropout(tensor(&[1.0; 4], [2, 2], &unknown), site(mask(0.5, 0, 0))).is_ok());
    }
}
