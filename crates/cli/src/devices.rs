//! `devices`: lists the adapters, their features and their kernels, and gives advice if none is
//! usable.

use crate::args::Common;
use crate::failure::Failure;
use crate::{bench, engine, output, trials};
use serde_json::{Value, json};
use wgpu_dropout::gpu::{
    AdapterChoice, Chosen, Class, Division, Planner, Stem, Tile, Timing, Variant, adapters,
};
use wgpu_dropout::wgpu::{self, Features};
use wgpu_dropout::{Device, DeviceChoice};

/// Features beyond the baseline that the kernels can use.
const USEFUL: [(Features, &str); 5] = [
    (Features::TIMESTAMP_QUERY, "timestamps"),
    (Features::SUBGROUP, "subgroups"),
    (Features::SHADER_INT64, "64-bit integers"),
    (Features::SHADER_F16, "16-bit floats"),
    (Features::EXPERIMENTAL_COOPERATIVE_MATRIX, "cooperative matrices"),
];

/// An adapter, and the outcome of opening it.
struct Found {
    index: usize,
    info: wgpu::AdapterInfo,
    features: Features,
    limits: wgpu::Limits,
    planner: Planner,
    /// Origin of the plan.
    chosen: Chosen,
    /// Reason why the adapter cannot be used.
    problem: Option<String>,
}

/// Runs `devices`.
pub fn run(common: &Common) -> Result<(), Failure> {
    // If an adapter is named, it must exist.
    let device = engine::open(&common.device, common.tile)?;
    let found: Vec<Found> = adapters()?
        .iter()
        .enumerate()
        .map(|(index, adapter)| Found::new(index, adapter, common))
        .collect();
    let advice = advice(&found);
    if common.json {
        advice.iter().for_each(|line| output::note(line));
        return output::json(&found.iter().map(Found::json).collect());
    }
    let mut text: String = found.iter().map(Found::text).collect();
    text += "cpu: CPU backend\n";
    advice.iter().for_each(|line| text += &format!("{line}\n"));
    text += &format!("chosen here: {}\n", engine::describe(&device));
    output::text(&text)
}

/// Returns a diagnosis and a remedy if no adapter, or only a software adapter, is usable.
fn advice(found: &[Found]) -> Option<&'static str> {
    let usable = |found: &&Found| found.problem.is_none();
    if found.is_empty() {
        Some(
            "no GPU adapter found: install a Vulkan driver (Debian: mesa-vulkan-drivers), or use the CPU backend",
        )
    } else if !found.iter().any(|found| usable(&found)) {
        Some("no adapter runs the kernels: update the driver, or use the CPU backend")
    } else if found
        .iter()
        .filter(usable)
        .all(|found| found.info.device_type == wgpu::DeviceType::Cpu)
    {
        Some("software adapters only: --device auto uses the CPU backend, --device gpu the adapter")
    } else {
        None
    }
}

impl Found {
    fn new(index: usize, adapter: &wgpu::Adapter, common: &Common) -> Self {
        let (info, limits) = (adapter.get_info(), adapter.limits());
        let by_rule = Planner::new(&info, adapter.features(), &limits);
        let (planner, chosen, problem) =
            match engine::open(&DeviceChoice::Adapter(AdapterChoice::Index(index)), common.tile) {
                Ok(Device::Gpu(gpu)) => (*gpu.kernels().planner(), gpu.chosen().clone(), None),
                Ok(Device::Cpu(_)) => (by_rule, Chosen::Planned, None),
                Err(error) => (by_rule, Chosen::Planned, Some(error.to_string())),
            };
        Self { index, features: adapter.features(), planner, chosen, problem, info, limits }
    }

    /// Returns the limits that decide which tensors fit and which kernels run.
    fn limits(&self) -> [(&'static str, u64); 9] {
        let limits = &self.limits;
        [
            ("max_buffer_size", limits.max_buffer_size),
            ("max_storage_buffer_binding_size", limits.max_storage_buffer_binding_size),
            (
                "min_storage_buffer_offset_alignment",
                limits.min_storage_buffer_offset_alignment.into(),
            ),
            (
                "max_storage_buffers_per_shader_stage",
                limits.max_storage_buffers_per_shader_stage.into(),
            ),
            (
                "max_compute_workgroups_per_dimension",
                limits.max_compute_workgroups_per_dimension.into(),
            ),
            (
                "max_compute_invocations_per_workgroup",
                limits.max_compute_invocations_per_workgroup.into(),
            ),
            (
                "max_compute_workgroup_storage_size",
                limits.max_compute_workgroup_storage_size.into(),
            ),
            ("min_subgroup_size", self.info.subgroup_min_size.into()),
            ("max_subgroup_size", self.info.subgroup_max_size.into()),
        ]
    }

    fn driver(&self) -> String {
        [&self.info.driver, &self.info.driver_info].map(String::as_str).join(" ").trim().to_owned()
    }

    /// Returns the names of the kernels in the form chosen for this adapter.
    fn kernels(&self) -> Vec<String> {
        let forms = |stem: Stem| -> Vec<Variant> {
            let mut tiles: Vec<Tile> = Class::all()
                .filter(|class| class.stem == stem)
                .map(|class| self.planner.tiles.get(class))
                .collect();
            tiles.sort_by_key(|tile| *tile as usize);
            tiles.dedup();
            match tiles.is_empty() {
                true => vec![Variant::new(stem)],
                false => {
                    let tiles = tiles.into_iter().map(Division::Tile);
                    tiles.map(|division| Variant { division, ..Variant::new(stem) }).collect()
                }
            }
        };
        Stem::ALL.into_iter().flat_map(forms).map(|variant| variant.name()).collect()
    }

    /// Returns the origin of the choice of tiles and Philox, in words.
    fn chosen_by(&self) -> &'static str {
        match self.chosen {
            Chosen::Planned => "by the rule for this type of device",
            Chosen::Named(_) => "by name",
            Chosen::Trial(_) => "by a timed trial:",
        }
    }

    /// Returns a line for each class that was tried, with the time of each choice.
    fn timings(&self) -> Vec<String> {
        let Chosen::Trial(trial) = &self.chosen else { return Vec::new() };
        let mut lines: Vec<(&str, String)> = Vec::new();
        for Timing { what, choice, seconds } in &trial.timings {
            let took = format!("{choice} {}", bench::seconds(*seconds));
            match lines.last_mut() {
                Some((last, line)) if last == what => *line += &format!(", {took}"),
                _ => lines.push((what, format!("{what}: {took}"))),
            }
        }
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn chosen_json(&self) -> Value {
        let (by, trial) = match &self.chosen {
            Chosen::Planned => ("rule", Value::Null),
            Chosen::Named(_) => ("name", Value::Null),
            Chosen::Trial(trial) => ("trial", trials::json(trial)),
        };
        json!({"by": by, "tiles": self.planner.tiles.to_string(), "int64": self.planner.int64, "trial": trial})
    }

    fn json(&self) -> Value {
        let mut object = json!({
            "index": self.index,
            "name": self.info.name,
            "backend": self.info.backend.to_string(),
            "type": format!("{:?}", self.info.device_type),
            "driver": self.driver(),
            "features": self.features.iter_names().map(|(name, _)| name).collect::<Vec<_>>(),
            "limits": self.limits().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<serde_json::Map<_, _>>(),
            "kernels": self.kernels(),
            "chosen": self.chosen_json(),
        });
        if let (Some(object), Some(problem)) = (object.as_object_mut(), &self.problem) {
            object.insert("problem".to_owned(), problem.as_str().into());
        }
        object
    }

    fn text(&self) -> String {
        let info = &self.info;
        let mut text =
            format!("{}: {} ({}, {:?})\n", self.index, info.name, info.backend, info.device_type);
        let mut line = |name: &str, value: &str| text += &format!("   {name:<12}{value}\n");
        line("driver", &self.driver());
        let (features, missing): (Vec<_>, Vec<_>) =
            USEFUL.iter().partition(|(feature, _)| self.features.contains(*feature));
        let names = |features: Vec<&(Features, &str)>| {
            if features.is_empty() {
                "none".to_owned()
            } else {
                features.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
            }
        };
        line("offers", &format!("{}; lacks {}", names(features), names(missing)));
        let limits = &self.limits;
        let buffer = bytes(limits.max_buffer_size);
        let binding = bytes(limits.max_storage_buffer_binding_size);
        let shared = bytes(limits.max_compute_workgroup_storage_size.into());
        line("limits", &format!("buffer {buffer}, binding {binding}, workgroup memory {shared}"));
        let philox = if self.planner.int64 { "in 64-bit integers" } else { "in 16-bit limbs" };
        line("tiles", &self.planner.tiles.to_string());
        line("philox", philox);
        line("chosen", self.chosen_by());
        self.timings().iter().for_each(|timing| line("", timing));
        if let Some(problem) = &self.problem {
            line("problem", problem);
        }
        text
    }
}

/// Formats a size in GiB, MiB or KiB: the largest of these units that does not exceed it.
fn bytes(value: u64) -> String {
    match value {
        value if value >= 1 << 30 => format!("{:.1} GiB", value as f64 / f64::from(1 << 30)),
        value if value >= 1 << 20 => format!("{} MiB", value >> 20),
        value => format!("{} KiB", value >> 10),
    }
}
