//! Checks the fused layer and its gradients by autodiff against the f64 oracle, within its bound.

mod common;

use burn_wgpu_dropout::burn::module::Module;
use burn_wgpu_dropout::burn::tensor::{Device, Tensor};
use burn_wgpu_dropout::functional::{dropout, linear_relu_dropout};
use burn_wgpu_dropout::wgpu_dropout::{self, Key, Mask, Mode, Result, oracle};
use burn_wgpu_dropout::{DropoutConfig, Error, LinearReluDropoutConfig, Rate};
use common::{bits, devices, numbers, tensor, values};

fn site(keep: f64, step: u32) -> wgpu_dropout::Dropout {
    wgpu_dropout::Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(keep).unwrap(), Key { seed: 42, layer: 2, step }),
    )
}

/// Operands of a layer, and the gradient with respect to its output.
struct Case {
    shape: [usize; 3],
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

impl Case {
    fn new([batch, inputs, outputs]: [usize; 3]) -> Self {
        let (x, weight) = (numbers(batch * inputs, 0), numbers(inputs * outputs, 1));
        let (bias, grad) = (numbers(outputs, 2), numbers(batch * outputs, 3));
        Self { shape: [batch, inputs, outputs], x, weight, bias, grad }
    }

    /// Computes `Y`, `dX`, `dW`, `db` of the loss `Σ Y·dY` by Burn's autodiff.
    fn computed(&self, site: wgpu_dropout::Dropout, device: &Device) -> [Vec<f32>; 4] {
        let [batch, inputs, outputs] = self.shape;
        let x = tensor(&self.x, [batch, inputs], device).require_grad();
        let weight = tensor(&self.weight, [inputs, outputs], device).require_grad();
        let bias = tensor(&self.bias, [outputs], device).require_grad();
        let y = linear_relu_dropout(x.clone(), weight.clone(), Some(bias.clone()), site).unwrap();
        let mut grads = (y.clone() * tensor(&self.grad, [batch, outputs], device)).sum().backward();
        let [dx, dw] = [x, weight]
            .map(|tensor| values(tensor.grad_remove(&mut grads).expect("it is tracked")));
        [values(y), dx, dw, values(bias.grad_remove(&mut grads).expect("it is tracked"))]
    }

    /// Checks them against the oracle.
    fn check(&self, [y, dx, dw, db]: &[Vec<f32>; 4], site: wgpu_dropout::Dropout) -> Result<()> {
        let forward = oracle::linear_forward(
            &self.x,
            &self.weight,
            Some(&self.bias),
            self.shape,
            true,
            &site,
        );
        forward.check("Y", y)?;
        let grad_z = oracle::gradient(&self.grad, Some(y), self.shape[2], &site);
        oracle::grad_input(&grad_z, &self.weight, self.shape).check("dX", dx)?;
        let (weight, bias) = oracle::grad_weight(&self.x, &grad_z, self.shape);
        weight.check("dW", dw)?;
        bias.check("db", db)
    }
}

#[test]
fn the_fused_layer_and_its_gradients_are_the_oracles() {
    for device in devices().iter().map(|device| device.clone().autodiff()) {
        for shape in [[1, 1, 1], [5, 7, 3], [33, 65, 17], [64, 128, 96], [130, 40, 257]] {
            for keep in [0.5, 0.8, 1.0, 0.0] {
                let (case, site) = (Case::new(shape), site(keep, 6));
                case.check(&case.computed(site, &device), site)
                    .unwrap_or_else(|error| panic!("{shape:?}, keep {keep}: {error}"));
            }
        }
    }
}

#[test]
fn the_check_refuses_another_mask_and_one_wrong_gradient() {
    let Some(device) = devices().first().map(|device| device.clone().autodiff()) else { return };
    let case = Case::new([33, 65, 17]);
    let computed = case.computed(site(0.5, 6), &device);
    assert!(case.check(&computed, site(0.5, 7)).is_err(), "another step's mask");
    for tensor in 0..4 {
        let mut wrong = computed.clone();
        let largest = wrong[tensor].iter_mut().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap();
        *largest *= 1.001;
        assert!(
            case.check(&wrong, site(0.5, 6)).is_err(),
            "tensor {tensor} is wrong by a thousandth"
        );
    }
}

#[test]
fn no_dropout_is_the_layer_of_a_prediction() {
    for device in devices() {
        let case = Case::new([33, 65, 17]);
        let [x, weight] =
            [tensor(&case.x, [33, 65], device), tensor(&case.weight, [65, 17], device)];
        let y = linear_relu_dropout(
            x,
            weight,
            Some(tensor(&case.bias, [17], device)),
            wgpu_dropout::Dropout::NONE,
        )
        .unwrap();
        let exact = oracle::linear_forward(
            &case.x,
            &case.weight,
            Some(&case.bias),
            case.shape,
            true,
            &wgpu_dropout::Dropout::NONE,
        );
        exact.check("Y", &values(y)).unwrap();
    }
}

#[test]
fn a_layer_without_a_bias_has_none() {
    for device in devices().iter().map(|device| device.clone().autodiff()) {
        let (case, site) = (Case { bias: vec![0.0; 17], ..Case::new([33, 65, 17]) }, site(0.5, 3));
        let [x, weight] =
            [tensor(&case.x, [33, 65], &device), tensor(&case.weight, [65, 17], &device)]
                .map(Tensor::require_grad);
        let y = linear_relu_dropout(x.clone(), weight.clone(), None, site).unwrap();
        let mut grads = (y.clone() * tensor(&case.grad, [33, 17], &device)).sum().backward();
        let [dx, dw] = [x, weight].map(|tensor| values(tensor.grad_remove(&mut grads).unwrap()));
        let [with_y, with_dx, with_dw, _] = case.computed(site, &device);
        assert_eq!([values(y), dx, dw], [with_y, with_dx, with_dw]);
    }
}

#[test]
fn the_module_is_the_function_at_its_own_step() {
    for plain in devices() {
        let device = plain.clone().autodiff();
        let case = Case::new([33, 65, 17]);
        let dropout = DropoutConfig::new(Rate::keep(0.5).unwrap()).with_seed(42).with_layer(2);
        for bias in [true, false] {
            let layer = LinearReluDropoutConfig::new(65, 17, dropout).with_bias(bias).init(&device);
            let x = tensor(&case.x, [33, 65], &device);
            let operands = || (layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()));
            for step in 0..2 {
                let (weight, bias) = operands();
                let expected =
                    linear_relu_dropout(x.clone(), weight, bias, site(0.5, step)).unwrap();
                assert_eq!(bits(&values(layer.forward(x.clone()))), bits(&values(expected)));
            }
            assert_eq!(layer.dropout.steps.get(), 2);
            let (weight, bias) = operands();
            let expected =
                linear_relu_dropout(x, weight, bias, wgpu_dropout::Dropout::NONE).unwrap();
            let y = layer.valid().forward(tensor(&case.x, [33, 65], plain));
            assert_eq!(bits(&values(y)), bits(&values(expected)));
        }
    }
}

#[test]
fn leading_dimensions_are_rows_and_layouts_do_not_matter() {
    for device in devices().iter().map(|device| device.clone().autodiff()) {
        let (case, site) = (Case::new([24, 10, 6]), site(0.6, 0));
        let flat = case.computed(site, &device);
        // X and W are transposes of their transposes; X and dY have rank 4.
        let turned = |values: &[f32], [rows, cols]: [usize; 2]| {
            let transposed: Vec<f32> =
                (0..rows * cols).map(|i| values[i % rows * cols + i / rows]).collect();
            tensor(&transposed, [cols, rows], &device).transpose()
        };
        let x = turned(&case.x, [24, 10]).require_grad();
        let weight = turned(&case.weight, [10, 6]).require_grad();
        let bias = tensor(&case.bias, [6], &device).require_grad();
        let y = linear_relu_dropout(
            x.clone().reshape([2, 3, 4, 10]),
            weight.clone(),
            Some(bias.clone()),
            site,
        )
        .unwrap();
        assert_eq!(y.dims(), [2, 3, 4, 6]);
        // The gradient is transposed.
        let grad = tensor(&case.grad, [24, 6], &device).reshape([2, 3, 4, 6]);
        let mut grads = (y.clone().swap_dims(0, 3) * grad.swap_dims(0, 3)).sum().backward();
        let [dx, dw] = [x, weight].map(|tensor| values(tensor.grad_remove(&mut grads).unwrap()));
        let ranked = [values(y), dx, dw, values(bias.grad_remove(&mut grads).unwrap())];
        assert_eq!(ranked.map(|values| bits(&values)), flat.map(|values| bits(&values)));
    }
}

#[test]
fn only_what_is_tracked_gets_a_gradient() {
    for device in devices().iter().map(|device| device.clone().autodiff()) {
        let (case, site) = (Case::new([9, 8, 7]), site(0.5, 6));
        let all = case.computed(site, &device);
        for tracked in 0..3 {
            let track = |index, tensor: Tensor<2>| {
                if index == tracked { tensor.require_grad() } else { tensor }
            };
            let x = track(0, tensor(&case.x, [9, 8], &device));
            let weight = track(1, tensor(&case.weight, [8, 7], &device));
            let bias = tensor(&case.bias, [7], &device);
            let bias = if tracked == 2 { bias.require_grad() } else { bias };
            let y =
                linear_relu_dropout(x.clone(), weight.clone(), Some(bias.clone()), site).unwrap();
            let mut grads = (y * tensor(&case.grad, [9, 7], &device)).sum().backward();
            let found = [
                x.grad_remove(&mut grads).map(values),
                weight.grad_remove(&mut grads).map(values),
                bias.grad_remove(&mut grads).map(values),
            ];
            for (index, found) in found.into_iter().enumerate() {
                let expected = (index == tracked).then(|| all[index + 1].clone());
                assert_eq!(found, expected, "operand {index} where {tracked} is tracked");
            }
        }
    }
}

#[test]
fn an_empty_batch_has_no_gradient() {
    for device in devices().iter().map(|device| device.clone().autodiff()) {
        let case = Case::new([0, 8, 7]);
        let [y, dx, dw, db] = case.computed(site(0.5, 0), &device);
        assert!(y.is_empty() && dx.is_empty());
        assert_eq!((dw, db), (vec![0.0; 56], vec![0.0; 7]));
    }
}

#[test]
fn dropout_is_its_own_backward_pass_also_where_activations_are_made_again() {
    for plain in devices() {
        let (x, grad, site) = (numbers(31 * 45, 0), numbers(31 * 45, 1), site(0.7, 2));
        let gradient = |device: &Device| {
            let x = tensor(&x, [31, 45], device).require_grad();
            // The next operation needs dropout's output; the previous ones are cheap to recompute.
            let y = dropout(x.clone() * 2.0, site).unwrap();
            let loss = (y.clone() * y * tensor(&grad, [31, 45], device)).sum();
            values(x.grad_remove(&mut loss.backward()).unwrap())
        };
        let kept = gradient(&plain.clone().autodiff());
        let again = gradient(&plain.clone().autodiff().gradient_checkpointing());
        assert_eq!(bits(&kept), bits(&again));
        let scale = f64::from(site.scale);
        for (i, &computed) in kept.iter().enumerate() {
            let keeps = site.mask.keeps(i / 45, i % 45);
            let exact = if keeps {
                8.0 * scale * scale * f64::from(x[i]) * f64::from(grad[i])
            } else {
                0.0
            };
            assert!(
                (f64::from(computed) - exact).abs() <= 1e-6 * exact.abs(),
                "element {i}: {computed}, expected {exact}"
            );
        }
    }
}

#[test]
fn shapes_that_do_not_fit_are_an_error() {
    for device in devices() {
        let layer = |x: [usize; 2], w: [usize; 2], b: usize| {
            let (x, w, b) = (
                Tensor::<2>::ones(x, device),
                Tensor::<2>::ones(w, device),
                Tensor::<1>::ones([b], device),
            );
            linear_relu_dropout(x, w, Some(b), site(0.5, 0))
        };
        assert!(layer([2, 3], [3, 4], 4).is_ok());
        assert!(matches!(layer([2, 3], [4, 4], 4), Err(Error::Shape { .. })));
        assert!(matches!(layer([2, 3], [3, 4], 3), Err(Error::Shape { .. })));
    }
}
