//! Where dropout belongs: the networks that have the layers it was made for, its effect on two
//! heads on the same convolutions, and the effect of early and late dropout on nets that underfit
//! and overfit.

mod heads;

use crate::failure::Failure;
use crate::report::{figure, table};
use crate::study::experiment::Study;
use crate::study::plan::{Arm, Dropping, Recipe, Scene};
use crate::study::plot::{Line, Plot};
use crate::study::results::Results;
use crate::study::spread::Spread;
use crate::study::verdict::Verdict;
use heads::Head;

/// Study `where`.
pub static STUDY: Study = Study {
    name: "where",
    claim: "Dropout is a tool for large fully connected layers and for networks that overfit. It hurts \
            a network that underfits, unless it ends early, and a head of global average pooling.",
    published: "VGG-16 has 123 M of 138 M parameters in its fully connected layers (Simonyan, Zisserman 2014), a network that ends in global \
                average pooling has none to drop (Lin et al. 2014); cited, not run here: ViT-T 73.9 % without, 67.9 with standard, 74.3 with early dropout (Liu et \
                al. 2023, accuracy); dropout before batch normalization 77.4 to 68.6 % on CIFAR-100 (Li et al. 2018, accuracy)",
    source: "Liu et al. 2023, Dropout reduces underfitting; layer shapes as published",
    arms,
    judge,
    columns: &[
        ("test_error", "test error, %", 2),
        ("train_error", "train error, %", 2),
        ("train_loss", "train loss", 4),
    ],
    figures,
};

/// Forms of dropout that each network is trained with.
const WAYS: [&str; 4] = ["none", "standard", "early", "late"];
const SMALL: &str = "underfits";
const LARGE: &str = "overfits";

fn name(net: &str, way: &str) -> String {
    format!("{net}: {way}")
}

fn arms(scene: &Scene) -> Vec<Arm> {
    let small = Recipe::plain(
        scene.rows(scene.pick(10_000, 60_000)),
        &scene.pick([24, 24], [64, 64]),
        scene.pick(1500, 12_000),
    );
    let large = Recipe::plain(
        scene.rows(scene.pick(2000.min(scene.data.train.rows / 2), 10_000)),
        &scene.pick([400, 400], [1024, 1024]),
        scene.pick(1500, 24_000),
    );
    let ways = |net: &'static str, recipe: Recipe| {
        let dropped = recipe.clone().keep(0.5, 1.0);
        let scheduled = |drop| Recipe { drop, ..dropped.clone() };
        let recipes = [
            recipe,
            dropped.clone(),
            scheduled(Dropping::Early(0.4)),
            scheduled(Dropping::Late(0.4)),
        ];
        WAYS.into_iter().zip(recipes).map(move |(way, recipe)| Arm::train(name(net, way), recipe))
    };
    ways(SMALL, small).chain(ways(LARGE, large)).chain(heads::arms(scene)).collect()
}

fn judge(scene: &Scene, results: &Results<'_>) -> Vec<Verdict> {
    let less = |net: &str, more: &str, less: &str| {
        let difference = results.excess(&name(net, more), &name(net, less), "test_error");
        Verdict::more(
            format!("the net that {net}: a lower test error with {less} dropout than with {more}"),
            difference,
            0.0,
            "points",
        )
    };
    let share = |network: &Network| Spread::of([100.0 * network.share()]);
    let mut verdicts = vec![
        Verdict::more(
            "VGG-16: the share of its fully connected layers, above 85 %",
            share(&vgg16()),
            85.0,
            "%",
        ),
        Verdict::more(
            "AlexNet: the share of its fully connected layers, above 85 %",
            share(&alexnet()),
            85.0,
            "%",
        ),
        Verdict::at_most(
            "ResNet-50: the share of its one fully connected layer, which has no hidden unit",
            share(&resnet50()),
            10.0,
            "%",
        ),
        less(SMALL, "standard", "none"),
        less(SMALL, "standard", "early"),
        less(LARGE, "none", "standard"),
        less(LARGE, "none", "late"),
    ];
    if let Some([connected, average]) = heads::networks(scene) {
        let [average_to, average_from] =
            &[heads::KEEP, 1.0].map(|keep| heads::name(Head::Average, keep));
        let [connected_to, connected_from] =
            &[heads::KEEP, 1.0].map(|keep| heads::name(Head::Connected, keep));
        verdicts.extend([
            Verdict::more(
                "the fully connected head here: its share of the parameters, above 85 %",
                share(&connected),
                85.0,
                "%",
            ),
            Verdict::more(
                "the head behind global average pooling: a smaller share than that",
                Spread::of([100.0 * (connected.share() - average.share())]),
                0.0,
                "points",
            ),
            Verdict::more(
                "global average pooling: a lower test error without dropout",
                results.excess(average_to, average_from, "test_error"),
                0.0,
                "points",
            ),
            Verdict::more(
                "dropout costs that head more than the fully connected one",
                results.excess_of_rise(
                    [average_to, average_from],
                    [connected_to, connected_from],
                    "test_error",
                ),
                0.0,
                "points",
            ),
        ]);
    }
    verdicts
}

fn figures(scene: &Scene, results: &Results<'_>) -> Result<Vec<String>, Failure> {
    let networks = [alexnet(), vgg16(), resnet50()];
    let ours = heads::networks(scene);
    let rows = networks.iter().chain(ours.iter().flatten()).map(|network| {
        let Network { name, convolution, hidden, classes } = network;
        let short = |count: &u64| match *count as f64 {
            0.0 => "0".to_owned(),
            count if count < 1e5 => format!("{:.1} k", count / 1e3),
            count => format!("{:.2} M", count / 1e6),
        };
        vec![
            (*name).to_owned(),
            short(convolution),
            short(hidden),
            short(classes),
            format!("{:.1} %", 100.0 * network.share()),
        ]
    });
    let columns = ["network", "convolution", "hidden", "last layer", "fully connected"];
    let plot = |title, net: &str| {
        let lines = WAYS
            .map(|way| Line::new(way, results.curve(&name(net, way), "epoch", "test_error")))
            .to_vec();
        Plot { title, x: "epoch", y: "error on test rows (%)", log: false, falling: true, lines }
            .draw()
    };
    let mut pictures = vec![
        figure(
            "Parameters by kind of layer, from the published shapes, and of what is trained here",
            &table(&columns, rows),
        ),
        plot("A net that underfits", SMALL)?,
        plot("A net that overfits", LARGE)?,
    ];
    if ours.is_some() {
        let arms = [Head::Connected, Head::Average]
            .into_iter()
            .flat_map(|head| [1.0, heads::KEEP].map(|keep| heads::name(head, keep)));
        let lines = arms
            .map(|arm| Line::new(arm.as_str(), results.curve(&arm, "epoch", "test_error")))
            .collect();
        pictures.push(
            Plot {
                title: "Two heads on the same convolutions",
                x: "epoch",
                y: "error on test rows (%)",
                log: false,
                falling: true,
                lines,
            }
            .draw()?,
        );
    }
    Ok(pictures)
}

/// Number of parameters of a network by kind of layer.
struct Network {
    name: &'static str,
    /// Convolutions, with the batch normalization behind them.
    convolution: u64,
    /// Fully connected layers before the last one.
    hidden: u64,
    /// The last layer.
    classes: u64,
}

impl Network {
    /// Returns the share of the parameters that the fully connected layers have.
    fn share(&self) -> f64 {
        let connected = self.hidden + self.classes;
        connected as f64 / (self.convolution + connected) as f64
    }
}

/// Returns the number of weights and biases of `side × side` filters from `inputs` channels to
/// `outputs`.
fn filters(side: u64, inputs: u64, outputs: u64) -> u64 {
    (side * side * inputs + 1) * outputs
}

/// Returns the parameters of AlexNet (Krizhevsky et al. 2012). Each filter of the second, fourth
/// and fifth layer sees half of the channels.
fn alexnet() -> Network {
    let convolution = [(11, 3, 96), (5, 48, 256), (3, 256, 384), (3, 192, 384), (3, 192, 256)];
    Network {
        name: "AlexNet",
        convolution: convolution
            .map(|(side, inputs, outputs)| filters(side, inputs, outputs))
            .iter()
            .sum(),
        hidden: filters(6, 256, 4096) + filters(1, 4096, 4096),
        classes: filters(1, 4096, 1000),
    }
}

/// Returns the parameters of VGG-16 (Simonyan, Zisserman 2014, configuration D).
fn vgg16() -> Network {
    let channels = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512];
    Network {
        name: "VGG-16",
        convolution: channels.windows(2).map(|pair| filters(3, pair[0], pair[1])).sum(),
        hidden: filters(7, 512, 4096) + filters(1, 4096, 4096),
        classes: filters(1, 4096, 1000),
    }
}

/// Returns the parameters of ResNet-50 (He et al. 2015). Global average pooling precedes its one
/// fully connected layer. Filters have no bias; batch normalization has two parameters per channel.
fn resnet50() -> Network {
    let block = |side: u64, inputs: u64, outputs: u64| filters(side, inputs, outputs) + outputs;
    let mut convolution = block(7, 3, 64);
    let mut inputs = 64;
    for (width, blocks) in [(64, 3), (128, 4), (256, 6), (512, 3)] {
        let outputs = 4 * width;
        convolution += block(1, inputs, outputs);
        for _ in 0..blocks {
            convolution +=
                block(1, inputs, width) + block(3, width, width) + block(1, width, outputs);
            inputs = outputs;
        }
    }
    Network { name: "ResNet-50", convolution, hidden: 0, classes: filters(1, 2048, 1000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_add_up_to_the_published_totals() {
        let total = |network: Network| network.convolution + network.hidden + network.classes;
        assert_eq!(total(alexnet()), 60_965_224);
        assert_eq!(total(vgg16()), 138_357_544);
        assert_eq!(total(resnet50()), 25_557_032);
        assert_eq!(vgg16().hidden + vgg16().classes, 123_642_856);
    }
}
