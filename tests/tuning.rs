//! How kernels are chosen: by rule, by name or by a timed trial. The choice takes effect, a slow
//! kernel is not chosen, and every choice draws the same masks and gives the same sums.

mod common;

use common::{adapter, gpu, noise, required, same_bits, skipped};
use std::time::{Duration, Instant};
use wgpu_dropout::Backend;
use wgpu_dropout::call::LinearForward;
use wgpu_dropout::gpu::{Chosen, Class, Gpu, Kernels, Tile, Tiles, Trial, Tuning};
use wgpu_dropout::{Dropout, Error, Key, Mask, Mode, Rate};

fn site() -> Dropout {
    Dropout::train(
        Mode::Inverted,
        Mask::new(Rate::keep(0.7).unwrap(), Key { seed: 11, layer: 2, step: 3 }).at(1, 5),
    )
}

/// Returns a layer's output, computed on whole vectors.
fn layer(gpu: &mut Gpu) -> Vec<f32> {
    let (batch, inputs, outputs) = (40, 36, 72);
    let x = gpu.tensor(batch, inputs, &noise(1, batch * inputs)).unwrap();
    let weight = gpu.tensor(inputs, outputs, &noise(2, inputs * outputs)).unwrap();
    let mut y = gpu.tensor(batch, outputs, &vec![f32::NAN; batch * outputs]).unwrap();
    gpu.run(LinearForward {
        x: &x,
        weight: &weight,
        bias: None,
        y: &mut y,
        relu: true,
        dropout: site(),
    })
    .unwrap();
    gpu.read(&y).unwrap()
}

/// Text of one tile's file, and the loop to insert before it, which only consumes several times the
/// kernel's own time, so that other load on the machine decides nothing. Its iterations are few and
/// long, since llvmpipe ends a thread's loops after 65,535 iterations.
const SLOW: [(Tile, &str, &str); 2] = [
    (
        Tile::Shuffle,
        "        for (var octet = 0u; octet < OCTETS; octet++) { // unroll\n",
        "        for (var i = 0u; i < 100u; i++) {\n            for (var j = 0u; j < 64u; j++) { // unroll\n                slow = fma(slow, vec4<f32>(0.5), vec4<f32>(f32(i + j)));\n            }\n        }\n        if slow.x == 7.0 { sums[0] = slow; }\n",
    ),
    (
        Tile::Register,
        "            var a = a_lines(a_fetch(m + 4u * block, k), m + 4u * block, k);\n",
        "            for (var i = 0u; i < 6u; i++) {\n                for (var j = 0u; j < 64u; j++) { // unroll\n                    slow = fma(slow, vec4<f32>(0.5), vec4<f32>(f32(i + j)));\n                }\n            }\n            if slow.x == 7.0 { sums[0] = slow; }\n",
    ),
];

#[test]
fn the_trial_takes_the_fastest_and_never_a_planted_slow_one() {
    let Some(gpu) = gpu() else { return };
    if gpu.info().device_type != wgpu_dropout::wgpu::DeviceType::Cpu {
        return skipped("the planted loops are in the tiles of software adapters");
    }
    let run = |kernels: &Kernels| Trial::run(&gpu, kernels, Duration::from_secs(100)).unwrap();
    let mut tried = 0;
    for (slow, before, added) in SLOW {
        let kernels =
            Kernels::new(gpu.device()).unwrap().edited(before, &format!("{added}{before}"));
        let kernels = kernels.edited(
            "    // Indexed by constants alone, so",
            "    var slow = vec4<f32>(0.0);\n    // Indexed by constants alone, so",
        );
        let trial = run(&kernels);
        for class in Class::all() {
            let of_class =
                || trial.timings.iter().filter(|timing| timing.what == class.to_string());
            assert!(of_class().count() >= 1, "{class}");
            // If there is only one tile, it is kept.
            if of_class().count() > 1 {
                tried += 1;
                let seconds = |tile: Tile| {
                    of_class().find(|timing| timing.choice == tile.to_string()).unwrap().seconds
                };
                let chosen = trial.tiles.get(class);
                assert_ne!(chosen, slow, "{class}: {:?}", of_class().collect::<Vec<_>>());
                assert!(seconds(chosen) < seconds(slow), "{class}");
            }
        }
        let philox = trial.timings.iter().filter(|timing| timing.what == "philox").count();
        assert_eq!(philox, if kernels.planner().int64 { 2 } else { 0 });
    }
    if Tile::Shuffle.runs_on(gpu.info(), gpu.device().features(), &gpu.device().limits()) {
        assert_eq!(
            tried,
            2 * Class::all().count(),
            "each tile must be slow once, and the other be chosen"
        );
    }
}

#[test]
fn a_trial_without_time_leaves_the_plan_as_it_is() {
    let Some(gpu) = gpu() else { return };
    let start = Instant::now();
    let trial = Trial::run(&gpu, gpu.kernels(), Duration::ZERO).unwrap();
    assert_eq!(
        trial,
        Trial {
            tiles: gpu.kernels().planner().tiles,
            int64: gpu.kernels().planner().int64,
            timings: Vec::new()
        }
    );
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_chosen_is_taken() {
    let Some(choice) = adapter() else { return };
    let open = |tuning, trial: Option<Trial>| {
        let failed = Error::Invalid { what: "no trial here".to_owned() };
        Gpu::tuned_by(&choice, tuning, |_| trial.ok_or(failed))
    };
    let Some(mut rule) = required(open(Tuning::Rule, None)) else { return };
    let usual = layer(&mut rule);
    assert_eq!(rule.chosen(), &Chosen::Planned);
    // A tile other than the rule's for this class, and multiplication by limbs.
    let tile = if rule.kernels().planner().tiles.only() == Some(Tile::Register) {
        Tile::Small
    } else {
        Tile::Register
    };
    let found = Trial { tiles: Tiles::all(tile), int64: false, timings: Vec::new() };
    let mut tried = open(Tuning::Trial, Some(found.clone())).unwrap();
    let software = tried.info().device_type == wgpu_dropout::wgpu::DeviceType::Cpu;
    let got = layer(&mut tried);
    assert_eq!(tried.chosen(), &Chosen::Trial(found));
    let names = |gpu: &Gpu| gpu.kernels().compiled().join(" ");
    assert!(
        names(&tried).contains(&format!("linear_forward.{tile}."))
            && !names(&tried).contains("int64"),
        "{}",
        names(&tried)
    );
    assert!(
        !names(&rule).contains(&format!("linear_forward.{tile}.")),
        "control: {}",
        names(&rule)
    );
    let mut named = open(Tuning::Tile(tile), None).unwrap();
    let same = layer(&mut named);
    assert_eq!(named.chosen(), &Chosen::Named(tile));
    assert!(names(&named).contains(&format!("linear_forward.{tile}.")), "{}", names(&named));
    if software {
        same_bits("rule and trial", &usual, &got).unwrap();
    }
    same_bits("trial and name", &got, &same).unwrap();
    // A failed trial leaves the plan unchanged.
    assert_eq!(open(Tuning::Trial, None).unwrap().chosen(), &Chosen::Planned);
}

/// Tiles change no bit of a mask. Nor do they change a bit of a sum if the device contracts
/// multiplications and additions in the same way everywhere, as software adapters do.
#[test]
fn every_choice_draws_the_same_masks_and_sums_alike() {
    let Some(gpu) = gpu() else { return };
    let info = gpu.info().clone();
    let features = gpu.device().features();
    let limits = gpu.device().limits();
    let expected = site().mask.bytes(40, 72).unwrap();
    let mut first: Option<Vec<f32>> = None;
    for tile in Tile::ALL.into_iter().filter(|tile| tile.runs_on(&info, features, &limits)) {
        for int64 in [false, gpu.kernels().planner().int64] {
            let trial = Trial { tiles: Tiles::all(tile), int64, timings: Vec::new() };
            let mut form =
                gpu.with_kernels(gpu.kernels().replanned(|planner| trial.apply(planner)).unwrap());
            let y = layer(&mut form);
            // A dropped element is 0, whatever its sum.
            assert!(
                y.iter().zip(&expected).all(|(&y, &kept)| kept == 1 || y.to_bits() == 0),
                "{tile}"
            );
            assert!(form.read_mask(site().mask, 40, 72).unwrap() == expected, "{tile}");
            if info.device_type == wgpu_dropout::wgpu::DeviceType::Cpu {
                same_bits(
                    &format!("{tile}, int64 {int64}"),
                    &y,
                    first.get_or_insert_with(|| y.clone()),
                )
                .unwrap();
            }
        }
    }
}
