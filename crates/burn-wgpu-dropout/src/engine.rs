//! Registry of the devices on which this crate's kernels run, and their submission on Burn's
//! tensors.

use burn::backend::wgpu::{AutoCompiler, CubeTensor, WgpuResource, WgpuSetup};
use burn::backend::{DeviceId, DispatchDevice};
use burn::cubecl::wgpu::WgpuServer;
use burn::tensor::wgpu::{WgpuInitError, WgpuOptions};
use burn::tensor::{DType, Device};
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use wgpu_dropout::gpu::{Kernels, Prepared, View};
use wgpu_dropout::{Error, Result, wgpu};

/// The kernels on one of Burn's devices. Each is compiled once.
pub(crate) struct Engine {
    pub kernels: Kernels,
    device: wgpu::Device,
    queue: wgpu::Queue,
}

static ENGINES: LazyLock<RwLock<HashMap<DeviceId, Arc<Engine>>>> = LazyLock::new(RwLock::default);

/// Opens Burn's wgpu device and registers it with this crate.
///
/// `options` are Burn's own: `Device::wgpu_options()`, with an adapter, a graphics API or a memory
/// policy if needed. Must be called before the first tensor is created on the device.
///
/// # Errors
/// [`Error::Adapter`] if Burn cannot open the device, for instance because it is in use already, or
/// if its limits are below those that the kernels need.
pub fn open(options: WgpuOptions) -> Result<Device> {
    let (device, setup) = options.init_with_setup().map_err(unopened)?;
    adopt(&device, &setup)?;
    Ok(device)
}

/// Registers a device that Burn has opened or registered: with
/// `Device::wgpu_options().init_with_setup()`, or with `Device::wgpu_options().setup(setup).init()`
/// on a [`wgpu::Device`] of yours.
///
/// The kernels run on the same device and queue as in `setup`. One call per device is enough;
/// adopting a device again has no effect.
///
/// # Errors
/// [`Error::Adapter`] if `device` is not a wgpu device, or if its limits are below those that the
/// kernels need.
pub fn adopt(device: &Device, setup: &WgpuSetup) -> Result<()> {
    let id = id(device).ok_or_else(|| Error::Adapter {
        what: format!("{device:?}: must be a device of Burn's wgpu backend"),
    })?;
    let kernels = Kernels::new(&setup.device)?;
    let mut engines = ENGINES.write().unwrap_or_else(PoisonError::into_inner);
    let engine =
        || Arc::new(Engine { kernels, device: setup.device.clone(), queue: setup.queue.clone() });
    engines.entry(id).or_insert_with(engine);
    Ok(())
}

fn id(device: &Device) -> Option<DeviceId> {
    match device.as_dispatch().clone().inner() {
        DispatchDevice::Cube(device) => Some(device.to_id()),
        #[allow(unreachable_patterns)] // Another crate may enable Burn's other backends.
        _ => None,
    }
}

/// The line that registers a device, and its place.
const OPEN: &str = "let device = burn_wgpu_dropout::open(Device::wgpu_options())?; \
    once, before the first tensor on the device";

/// Says how a device is registered.
fn unregistered(device: &dyn std::fmt::Debug) -> String {
    format!(
        "{device:?} is not registered: {OPEN}; or adopt(&device, &setup)?; \
         after Device::wgpu_options().init_with_setup()"
    )
}

/// Says why Burn cannot open a device. A device that is in use cannot be registered any longer:
/// Burn opens it on first use and keeps its wgpu objects to itself.
fn unopened(error: WgpuInitError) -> Error {
    let what = format!("Burn cannot open the device: {error}");
    let in_use = matches!(error, WgpuInitError::Registration { .. });
    Error::Adapter { what: if in_use { format!("{what} It is in use: {OPEN}") } else { what } }
}

impl Engine {
    /// Returns the engine of one of Burn's wgpu devices, and `None` for one of another backend.
    ///
    /// # Errors
    /// [`Error::Adapter`] for a wgpu device that is not registered.
    pub fn on(device: &Device) -> Result<Option<Arc<Self>>> {
        let Some(id) = id(device) else { return Ok(None) };
        Self::known(id).map(Some).ok_or_else(|| Error::Adapter { what: unregistered(device) })
    }

    /// Returns the engine of a tensor's device.
    pub fn of(tensor: &CubeTensor) -> Result<Arc<Self>> {
        let unknown = || Error::Adapter { what: unregistered(&tensor.device) };
        Self::known(tensor.device.to_id()).ok_or_else(unknown)
    }

    fn known(id: DeviceId) -> Option<Arc<Self>> {
        ENGINES.read().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Submits a call in order with Burn's own kernels: after all launches before this call, and
    /// before all later ones.
    ///
    /// Burn collects launches before it submits them, so the pending ones are flushed first. The
    /// operands must be held until this function returns.
    pub fn submit(&self, on: &CubeTensor, call: &Prepared) -> Result<()> {
        on.client.flush().map_err(|error| Error::Device { what: error.to_string() })?;
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor {
            label: Some("wgpu-dropout"),
        });
        call.record(&mut encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default()));
        self.queue.submit([encoder.finish()]);
        Ok(())
    }
}

/// Range of a tensor in one of Burn's buffers.
pub(crate) struct Operand {
    range: WgpuResource,
    /// Keeps the range from being freed or moved.
    _held: Box<dyn Any>,
    shape: [usize; 2],
    half: bool,
}

impl Operand {
    /// Returns the range of a contiguous tensor, as a matrix of `shape`.
    pub fn new(tensor: &CubeTensor, shape: [usize; 2]) -> Result<Self> {
        let held = tensor.client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone());
        let held = held.map_err(|error| Error::Device { what: error.to_string() })?;
        Ok(Self {
            range: held.resource().clone(),
            _held: Box::new(held),
            shape,
            half: tensor.dtype == DType::F16,
        })
    }

    pub fn view(&self) -> View<'_> {
        let [rows, cols] = self.shape;
        let view = View::new(&self.range.buffer, rows, cols).at(self.range.offset);
        if self.half { view.half() } else { view }
    }
}
