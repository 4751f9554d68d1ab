//! Checks the errors on a wgpu device that Burn has opened by itself. They have a program of their
//! own, since the other tests open the device first.

use burn_wgpu_dropout::burn::tensor::{Device, Tensor};
use burn_wgpu_dropout::functional::{dropout, linear_relu_dropout};
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode, gpu};
use burn_wgpu_dropout::{DropoutConfig, Error, LinearReluDropoutConfig, Rate, open};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The line to type.
const LINE: &str = "let device = burn_wgpu_dropout::open(Device::wgpu_options())?;";

fn adapter_error<T>(result: wgpu_dropout::Result<T>) -> String {
    match result {
        Err(Error::Adapter { what }) => what,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is accepted"),
    }
}

/// Returns the message of the panic in which a call ends.
fn panic_of(call: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(call)).expect_err("it panics");
    *panic.downcast::<String>().expect("a message")
}

#[test]
fn a_device_that_was_used_before_it_was_opened_is_an_error_with_the_line_to_type() {
    if gpu::adapters().is_ok_and(|adapters| adapters.is_empty()) {
        assert_ne!(std::env::var("WGPU_DROPOUT_REQUIRE_GPU").as_deref(), Ok("1"));
        return eprintln!("SKIPPED: no adapter");
    }
    let device = Device::wgpu(Default::default());
    let (x, w) = (Tensor::<2>::ones([4, 8], &device), Tensor::<2>::ones([8, 5], &device));
    // The control: the device works.
    assert_eq!(x.clone().sum().into_scalar::<f32>(), 32.0);

    let rate = Rate::drop(0.5).unwrap();
    let mask = Mask::new(rate, Key { seed: 0, layer: 0, step: 0 });
    let site = wgpu_dropout::Dropout::train(Mode::Inverted, mask);
    let config = DropoutConfig::new(rate);
    let trained = device.clone().autodiff();
    let [module, layer] = [config.init(&trained), config.init(&trained).sampling(0)];
    let fused = LinearReluDropoutConfig::new(8, 5, config).init(&trained);
    let on_trained = Tensor::<2>::ones([4, 8], &trained);
    for what in [
        adapter_error(dropout(x.clone(), site)),
        adapter_error(linear_relu_dropout(x.clone(), w, None, site)),
        adapter_error(module.try_forward(on_trained.clone())),
        adapter_error(layer.try_forward(x)),
        adapter_error(fused.try_forward(on_trained.clone())),
        panic_of(|| drop(module.forward(on_trained.clone()))),
        panic_of(|| drop(fused.forward(on_trained.clone()))),
    ] {
        assert!(what.contains(LINE), "{what}");
    }

    let what = adapter_error(open(Device::wgpu_options()));
    assert!(what.contains("before the first tensor on the device"), "{what}");
    assert!(what.contains(LINE), "{what}");
    // Burn's own words remain.
    assert!(what.starts_with("Burn cannot open the device: "), "{what}");
}
