//! Networks on a lost device: each of their calls, blocking and asynchronous.

use super::{lost, on_owned_devices};
use crate::common::noise;
use pollster::block_on;
use std::path::Path;
use wgpu_dropout::call::{Filter, Image, Pool, Pooling};
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::mlp::{
    Architecture, ConvNet, Front, Interchange, Mlp, Resident, Shard, Sharing, Source, Stage,
    Training,
};
use wgpu_dropout::{Mode, Rate};

fn network() -> Architecture {
    let rate = Rate::drop(0.5).unwrap();
    Architecture {
        inputs: 6,
        hidden: vec![5],
        classes: 3,
        mode: Mode::Inverted,
        rate,
        input_rate: rate,
        seed: 1,
    }
}

/// A file that is never written.
const NOWHERE: &str = "/nowhere/lost.net";

#[test]
fn a_network_on_a_lost_device_says_so() {
    on_owned_devices(|_, owned| {
        let mut net = Mlp::new(owned.gpu(), network()).unwrap();
        let (x, labels, training) = (noise(1, 4 * 6), [0, 1, 2, 0], Training::default());
        let data = Resident::new(net.backend_mut(), Source::Floats(&x), 6, 1.0, &labels).unwrap();
        let (form, path) = (Interchange::default(), Path::new(NOWHERE));
        let gradients = net.gradients(&x, &labels, 0, 4, &training).unwrap();
        let (saved, exported) = (net.to_bytes().unwrap(), net.exported(&form).unwrap());
        let others = [owned.gpu(), owned.gpu()];
        let whole = Shard { index: 0, count: 1 };
        net.predict(&x).unwrap();
        net.train_step(&x, &labels, &training).unwrap();
        owned.device.destroy();
        // First, while the step's loss is still on the device.
        lost("Mlp::loss", || net.loss());
        lost("Mlp::loss_async", || block_on(net.loss_async()));
        lost("Mlp::train_step", || net.train_step(&x, &labels, &training));
        lost("Mlp::train_step_async", || block_on(net.train_step_async(&x, &labels, &training)));
        lost("Mlp::train_epoch", || net.train_epoch(&data, &training));
        lost("Mlp::train_epoch_with", || net.train_epoch_with(&data, &training, |_| {}));
        lost("Mlp::train_epoch_async", || block_on(net.train_epoch_async(&data, &training)));
        lost("Mlp::train_epoch_sharded", || {
            net.train_epoch_sharded(&data, &training, whole, |_| Ok(()))
        });
        lost("Mlp::train_epoch_sharded_async", || {
            block_on(net.train_epoch_sharded_async(&data, &training, whole, async |_| Ok(())))
        });
        lost("Mlp::gradients", || net.gradients(&x, &labels, 0, 4, &training));
        lost("Mlp::gradients_async", || {
            block_on(net.gradients_async(&x, &labels, 0, 4, &training))
        });
        lost("Mlp::apply_gradients", || net.apply_gradients(&gradients, &training));
        lost("Mlp::apply_gradients_async", || {
            block_on(net.apply_gradients_async(&gradients, &training))
        });
        lost("Mlp::predict", || net.predict(&x));
        lost("Mlp::predict_async", || block_on(net.predict_async(&x)));
        lost("Mlp::predict_on", || net.predict_on(&data));
        lost("Mlp::predict_on_async", || block_on(net.predict_on_async(&data)));
        lost("Mlp::evaluate", || net.evaluate(&data));
        lost("Mlp::evaluate_async", || block_on(net.evaluate_async(&data)));
        for sharing in [Sharing::PerRow, Sharing::PerPass] {
            lost("Mlp::predict_monte_carlo", || net.predict_monte_carlo(&data, 3, sharing));
            lost("Mlp::predict_monte_carlo_async", || {
                block_on(net.predict_monte_carlo_async(&data, 3, sharing))
            });
        }
        lost("Mlp::predict_ensemble", || net.predict_ensemble(&data));
        lost("Mlp::predict_ensemble_async", || block_on(net.predict_ensemble_async(&data)));
        lost("Mlp::parameters", || net.parameters(0));
        lost("Mlp::parameters_async", || block_on(net.parameters_async(0)));
        lost("Mlp::set_parameters", || net.set_parameters(0, &[1.0; 30], &[0.0; 5]));
        lost("Mlp::to_bytes", || net.to_bytes());
        lost("Mlp::save", || net.save(path));
        lost("Mlp::exported", || net.exported(&form));
        lost("Mlp::export", || net.export(path, &form));
        lost("Mlp::import_bytes", || net.import_bytes(path, &exported, &form));
        lost("Resident::new", || {
            Resident::new(net.backend_mut(), Source::Floats(&x), 6, 1.0, &labels)
        });
        let [fresh, loaded] = others;
        lost("Mlp::new", || Mlp::new(fresh, network()));
        lost("Mlp::from_bytes", || Mlp::from_bytes(loaded, path, &saved));
        lost("Gpu::on", || Gpu::on(owned.device.clone(), owned.queue.clone()));
    });
}

#[test]
fn a_convolutional_network_on_a_lost_device_says_so() {
    on_owned_devices(|_, owned| {
        let front = Front {
            image: Image { height: 8, width: 8, channels: 1 },
            stages: vec![
                Stage::Convolution { channels: 2, filter: Filter { side: 3, padding: 1 } },
                Stage::Pool(Pool { pooling: Pooling::Max, height: 2, width: 2 }),
            ],
        };
        let head = Architecture { inputs: 32, ..network() };
        let mut net = ConvNet::new(owned.gpu(), &front, head.clone()).unwrap();
        let (x, labels, training) = (noise(1, 4 * 64), [0, 1, 2, 0], Training::default());
        let data = Resident::new(net.backend_mut(), Source::Floats(&x), 64, 1.0, &labels).unwrap();
        let fresh = owned.gpu();
        net.train_step(&x, &labels, &training).unwrap();
        owned.device.destroy();
        // First, while the step's loss is still on the device.
        lost("ConvNet::loss", || net.loss());
        lost("ConvNet::loss_async", || block_on(net.loss_async()));
        lost("ConvNet::train_step", || net.train_step(&x, &labels, &training));
        lost("ConvNet::train_step_async", || {
            block_on(net.train_step_async(&x, &labels, &training))
        });
        lost("ConvNet::train_epoch", || net.train_epoch(&data, &training));
        lost("ConvNet::train_epoch_async", || block_on(net.train_epoch_async(&data, &training)));
        lost("ConvNet::evaluate", || net.evaluate(&data));
        lost("ConvNet::evaluate_async", || block_on(net.evaluate_async(&data)));
        lost("ConvNet::predict", || net.predict(&x));
        lost("ConvNet::predict_async", || block_on(net.predict_async(&x)));
        lost("ConvNet::predict_on", || net.predict_on(&data));
        lost("ConvNet::predict_on_async", || block_on(net.predict_on_async(&data)));
        lost("ConvNet::filters", || net.filters(0));
        lost("ConvNet::filters_async", || block_on(net.filters_async(0)));
        lost("ConvNet::parameters", || net.parameters(0));
        lost("ConvNet::parameters_async", || block_on(net.parameters_async(0)));
        lost("ConvNet::new", || ConvNet::new(fresh, &front, head.clone()));
    });
}
