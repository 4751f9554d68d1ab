//! Lists adapters, chooses one and opens a device on it.

use super::experimental;
use crate::{Error, Result};
use std::ffi::OsStr;

/// Adapter as a user names it on the command line or in `WGPU_DROPOUT_DEVICE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The best: discrete before integrated before virtual before software.
    Best,
    /// The best that is not software.
    Hardware,
    /// By index in [`adapters`].
    Index(usize),
    /// By a part of the name, case-insensitive.
    Name(String),
}

/// Returns every adapter that can run compute shaders, the best first.
///
/// OpenGL is queried only if no other backend has an adapter: it offers the same devices again with
/// lower limits. `WGPU_BACKEND` (such as `vulkan` or `gl`) narrows the search. Drivers may print to
/// stderr, as [`Gpu::open`](super::Gpu::open) says.
///
/// # Errors
/// [`Error::Invalid`] if `WGPU_BACKEND` names an unknown backend.
pub fn adapters() -> Result<Vec<wgpu::Adapter>> {
    pollster::block_on(adapters_async())
}

/// Does what [`adapters`] does without blocking, for use in a browser.
///
/// # Errors
/// Those of [`adapters`].
pub async fn adapters_async() -> Result<Vec<wgpu::Adapter>> {
    let wanted = backends(std::env::var_os("WGPU_BACKEND").as_deref())?;
    // wgpu panics if no backend is compiled in.
    if wgpu::Instance::enabled_backend_features().is_empty() {
        return Ok(Vec::new());
    }
    let found = adapters_of(wanted - wgpu::Backends::GL).await;
    Ok(if found.is_empty() { adapters_of(wanted & wgpu::Backends::GL).await } else { found })
}

/// Returns the adapters of some backends, the best first.
async fn adapters_of(backends: wgpu::Backends) -> Vec<wgpu::Adapter> {
    if backends.is_empty() {
        return Vec::new();
    }
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty().with_env(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = instance.enumerate_adapters(backends).await;
    adapters.retain(|adapter| {
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
            && adapter.get_info().backend != wgpu::Backend::Noop
    });
    adapters.sort_by_key(|adapter| rank(adapter.get_info().device_type));
    adapters
}

/// Parses `WGPU_BACKEND`; all backends if it is unset or blank.
fn backends(name: Option<&OsStr>) -> Result<wgpu::Backends> {
    let name = name.unwrap_or_default().to_string_lossy();
    if name.trim().is_empty() {
        return Ok(wgpu::Backends::all());
    }
    let unknown = |name: &str| {
        Error::invalid(format!("WGPU_BACKEND names `{name}`: must be vulkan, metal, dx12 or gl"))
    };
    name.split(',').try_fold(wgpu::Backends::empty(), |found, name| {
        Ok(found
            | match name.trim().to_ascii_lowercase().as_str() {
                "vulkan" | "vk" => wgpu::Backends::VULKAN,
                "metal" | "mtl" => wgpu::Backends::METAL,
                "dx12" | "d3d12" => wgpu::Backends::DX12,
                "gl" | "gles" | "opengl" => wgpu::Backends::GL,
                other => return Err(unknown(other)),
            })
    })
}

/// Returns the order of a type of device among adapters, 0 for the best.
fn rank(kind: wgpu::DeviceType) -> u8 {
    match kind {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    }
}

/// Formats an adapter for lists and errors: `INDEX: NAME (backend, type)`.
fn line(index: usize, info: &wgpu::AdapterInfo) -> String {
    format!("{index}: {} ({}, {:?})", info.name, info.backend, info.device_type)
}

/// Returns the index of the chosen adapter in `infos`.
fn choose(choice: &AdapterChoice, infos: &[wgpu::AdapterInfo]) -> Result<usize> {
    let list =
        || infos.iter().enumerate().map(|(i, info)| line(i, info)).collect::<Vec<_>>().join("; ");
    let none = |what: String| Error::Adapter { what };
    if infos.is_empty() {
        let advice = "install a Vulkan driver (Debian: mesa-vulkan-drivers) or use --device cpu";
        return Err(none(format!("no GPU adapter found: {advice}")));
    }
    match choice {
        AdapterChoice::Best => Ok(0),
        AdapterChoice::Hardware if infos[0].device_type != wgpu::DeviceType::Cpu => Ok(0),
        AdapterChoice::Hardware => {
            Err(none(format!("no hardware GPU, only software: found {}", list())))
        }
        AdapterChoice::Index(index) if *index < infos.len() => Ok(*index),
        AdapterChoice::Index(index) => {
            Err(none(format!("no adapter has index {index}: found {}", list())))
        }
        AdapterChoice::Name(name) => {
            let wanted = name.to_lowercase();
            let named = |info: &wgpu::AdapterInfo| info.name.to_lowercase().contains(&wanted);
            let mut found =
                infos.iter().enumerate().filter(|(_, info)| named(info)).map(|(i, _)| i);
            match (found.next(), found.next()) {
                (Some(only), None) => Ok(only),
                (Some(_), Some(_)) => Err(none(format!(
                    "several adapters match `{name}`; choose one by its index: {}",
                    list()
                ))),
                (None, _) => Err(none(format!("no adapter matches `{name}`: found {}", list()))),
            }
        }
    }
}

/// Returns the features of an adapter that the kernels can use, to request for a caller's own
/// device. The kernels work without any: 64-bit integers, f16 and subgroups make them faster or
/// tensors smaller, and timestamps measure time.
pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
    let useful = wgpu::Features::TIMESTAMP_QUERY
        | wgpu::Features::SHADER_INT64
        | wgpu::Features::SHADER_F16
        | wgpu::Features::SUBGROUP;
    adapter.features() & useful
}

/// Returns the limits under which the kernels run fastest on an adapter, to request for a caller's
/// own device. All other limits are WebGPU's defaults, or the adapter's if those are lower. The
/// kernels also work under the defaults: bindings then hold 128 MiB, and larger tensors are
/// processed in windows.
pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
    let most = adapter.limits();
    wgpu::Limits {
        max_buffer_size: most.max_buffer_size,
        max_storage_buffer_binding_size: most.max_storage_buffer_binding_size,
        max_compute_workgroup_storage_size: most.max_compute_workgroup_storage_size,
        max_compute_invocations_per_workgroup: most.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: most.max_compute_workgroup_size_x,
        max_compute_workgroups_per_dimension: most.max_compute_workgroups_per_dimension,
        min_storage_buffer_offset_alignment: most.min_storage_buffer_offset_alignment,
        min_uniform_buffer_offset_alignment: most.min_uniform_buffer_offset_alignment,
        ..wgpu::Limits::default().or_worse_values_from(&most)
    }
}

/// Opens a device on the chosen adapter, with all the limits that the adapter offers.
///
/// # Errors
/// [`Error::Adapter`] if no adapter or more than one matches, or if the adapter cannot open a
/// device.
pub fn open(choice: &AdapterChoice) -> Result<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    pollster::block_on(open_async(choice))
}

/// Does what [`open`] does without blocking, for use in a browser.
///
/// # Errors
/// Those of [`open`].
pub async fn open_async(
    choice: &AdapterChoice,
) -> Result<(wgpu::AdapterInfo, wgpu::Device, wgpu::Queue)> {
    let adapters = adapters_async().await?;
    let infos: Vec<wgpu::AdapterInfo> = adapters.iter().map(wgpu::Adapter::get_info).collect();
    let index = choose(choice, &infos)?;
    let adapter = &adapters[index];
    let (experimental, experimental_features) = experimental::features(adapter);
    let descriptor = wgpu::DeviceDescriptor {
        label: Some("wgpu-dropout"),
        required_features: required_features(adapter) | experimental,
        required_limits: adapter.limits(),
        experimental_features,
        ..Default::default()
    };
    let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| {
        Error::Adapter { what: format!("opening {} failed: {error}", line(index, &infos[index])) }
    })?;
    Ok((infos[index].clone(), device, queue))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infos() -> Vec<wgpu::AdapterInfo> {
        let info = |name: &str, kind| wgpu::AdapterInfo {
            name: name.to_owned(),
            ..wgpu::AdapterInfo::new(kind, wgpu::Backend::Vulkan)
        };
        vec![
            info("Radeon RX 7900", wgpu::DeviceType::DiscreteGpu),
            info("llvmpipe", wgpu::DeviceType::Cpu),
            info("llvmpipe GL", wgpu::DeviceType::Cpu),
        ]
    }

    #[test]
    fn adapters_are_found_by_index_and_by_part_of_the_name() {
        let infos = infos();
        assert_eq!(choose(&AdapterChoice::Best, &infos).unwrap(), 0);
        assert_eq!(choose(&AdapterChoice::Index(1), &infos).unwrap(), 1);
        assert_eq!(choose(&AdapterChoice::Name("radeon".into()), &infos).unwrap(), 0);
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_refused_with_the_list() {
        let infos = infos();
        for choice in [
            AdapterChoice::Index(3),
            AdapterChoice::Name("llvm".into()),
            AdapterChoice::Name("geforce".into()),
        ] {
            let error = choose(&choice, &infos).unwrap_err().to_string();
            assert!(error.contains("0: Radeon RX 7900"), "{error}");
        }
        assert!(choose(&AdapterChoice::Hardware, &infos[1..]).is_err());
        assert!(
            choose(&AdapterChoice::Best, &[])
                .unwrap_err()
                .to_string()
                .contains("mesa-vulkan-drivers")
        );
    }

    #[test]
    fn an_unknown_backend_is_an_error_and_not_an_empty_list() {
        let named = |name: &str| backends(Some(OsStr::new(name)));
        assert!(named("vulcan").is_err());
        assert_eq!(named("vulkan,gl").unwrap(), wgpu::Backends::VULKAN | wgpu::Backends::GL);
        assert_eq!(named(" ").unwrap(), wgpu::Backends::all());
        assert_eq!(backends(None).unwrap(), wgpu::Backends::all());
    }
}
