//! Requirements of the kernels: limits that a device must have, and plans that it can run.

use crate::error::Lack;
use crate::plan::{HALF_BUFFERS, Params, Planner};
use crate::{Error, Result};

/// Least size of a storage binding in bytes.
const LEAST_BINDING: u64 = 1 << 16;
/// Least number of storage buffers of a dispatch.
const LEAST_BUFFERS: u32 = 4;
/// Largest alignment of a storage binding: half of the least binding, so that there is room for
/// data wherever a tensor starts.
const MOST_ALIGN: u64 = LEAST_BINDING / 2;

/// Returns the plan for a device, as `change` changes the one that suits it.
///
/// # Errors
/// - [`Error::Adapter`] if a limit of the device is too low, or if the plan asks for more than the
///   device can do.
/// - [`Error::Invalid`] if the plan sets [`Planner::state`].
pub(super) fn planner(
    device: &wgpu::Device,
    change: impl FnOnce(Planner) -> Planner,
) -> Result<Planner> {
    let (info, features, limits) = (device.adapter_info(), device.features(), device.limits());
    check_limits(&limits)?;
    let most = Planner::new(&info, features, &limits);
    let changed = change(most);
    let planner = Planner { half: changed.half && changed.buffers >= HALF_BUFFERS, ..changed };
    check_plan(&planner, &most)?;
    planner.tiles.used().try_for_each(|tile| tile.check(&info, features, &limits))?;
    Ok(planner)
}

/// Checks the limits that every kernel needs.
fn check_limits(limits: &wgpu::Limits) -> Result<()> {
    let at_least = |limit, has: u64, needs: u64| match has < needs {
        true => Err(Error::lacks("the kernels", Lack { limit, has, needs })),
        false => Ok(()),
    };
    macro_rules! at_least {
        ($($limit:ident: $needs:expr,)*) => {
            $(at_least(stringify!($limit), limits.$limit.into(), $needs)?;)*
        };
    }
    at_least! {
        max_storage_buffer_binding_size: LEAST_BINDING,
        max_buffer_size: LEAST_BINDING,
        max_compute_workgroups_per_dimension: 1,
        max_storage_buffers_per_shader_stage: LEAST_BUFFERS.into(),
        max_bindings_per_bind_group: LEAST_BUFFERS.into(),
        max_bind_groups: 2,
        max_uniform_buffers_per_shader_stage: 1,
        max_uniform_buffer_binding_size: size_of::<Params>() as u64,
        max_dynamic_uniform_buffers_per_pipeline_layout: 1,
    }
    let align = u64::from(limits.min_storage_buffer_offset_alignment);
    if align > MOST_ALIGN {
        return Err(Error::Adapter {
            what: format!(
                "the device's min_storage_buffer_offset_alignment is {align}: the kernels need at most {MOST_ALIGN}"
            ),
        });
    }
    Ok(())
}

/// Checks a plan against `most`, the plan that takes all that the device offers.
fn check_plan(planner: &Planner, most: &Planner) -> Result<()> {
    if planner.state {
        return Err(Error::invalid(
            "Planner::state: only Kernels::reading sets it, together with the buffer",
        ));
    }
    for (field, is, can, feature) in [
        ("half", planner.half, most.half, "SHADER_F16"),
        ("int64", planner.int64, most.int64, "SHADER_INT64"),
    ] {
        if is && !can {
            return Err(Error::Adapter {
                what: format!(
                    "Planner::{field} is true: the device lacks {feature}; request it with the device"
                ),
            });
        }
    }
    let ranges = [
        (
            "binding",
            planner.binding,
            LEAST_BINDING,
            most.binding,
            "max_storage_buffer_binding_size and max_buffer_size",
        ),
        (
            "buffers",
            planner.buffers.into(),
            LEAST_BUFFERS.into(),
            most.buffers.into(),
            "max_storage_buffers_per_shader_stage and max_bindings_per_bind_group",
        ),
        ("grid", planner.grid.into(), 1, most.grid.into(), "max_compute_workgroups_per_dimension"),
    ];
    for (field, is, least, most, limits) in ranges {
        if !(least..=most).contains(&is) {
            let range =
                if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(Error::Adapter {
                what: format!(
                    "Planner::{field} is {is}: must be {range}, as the device's {limits} allow"
                ),
            });
        }
    }
    let (align, least) = (planner.align, most.align);
    if align == 0 || !align.is_multiple_of(least) || align > MOST_ALIGN {
        return Err(Error::Adapter {
            what: format!(
                "Planner::align is {align}: must be a multiple of {least}, the device's min_storage_buffer_offset_alignment, up to {MOST_ALIGN}"
            ),
        });
    }
    Ok(())
}
