//! A driver that fails at any call. Functions between wgpu and Vulkan refuse memory, a submit or a
//! wait from the n-th call on. Each failure must end in a typed error within a second, without a
//! hang or a panic.
#![cfg(all(feature = "vulkan", target_os = "linux"))]

mod common;

use ash::vk;
use common::noise;
use std::ffi::{CStr, c_char};
use std::mem::transmute;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use wgpu::hal;
use wgpu_dropout::Backend;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::mlp::{Architecture, Mlp, Resident, Source, Training};
use wgpu_dropout::{Error, Key, Mask, Mode, Rate, Result};

/// Kind of call that is refused.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Memory,
    Submit,
    Wait,
}

/// Number of calls of each kind since a fault was armed, and the number of them that succeed.
static CALLS: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
static SUCCEED: [AtomicU64; 3] = [const { AtomicU64::new(u64::MAX) }; 3];
/// Time of the first refusal.
static FAILED: Mutex<Option<Instant>> = Mutex::new(None);

fn arm(fault: Fault, succeed: u64) {
    CALLS[fault as usize].store(0, SeqCst);
    SUCCEED[fault as usize].store(succeed, SeqCst);
    *FAILED.lock().unwrap() = None;
}

fn fails(fault: Fault) -> bool {
    let fails = CALLS[fault as usize].fetch_add(1, SeqCst) >= SUCCEED[fault as usize].load(SeqCst);
    if fails {
        FAILED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
    }
    fails
}

/// The loader's functions, to which the functions below pass their calls on.
static INSTANCE_PROC: OnceLock<vk::PFN_vkGetInstanceProcAddr> = OnceLock::new();
static DEVICE_PROC: OnceLock<vk::PFN_vkGetDeviceProcAddr> = OnceLock::new();
static SUBMIT: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static SEMAPHORES: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static FENCES: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());
static ALLOCATE: AtomicPtr<()> = AtomicPtr::new(std::ptr::null_mut());

/// Vulkan's functions with some replaced. Unless a call is refused, it is passed on to the driver
/// unchanged.
#[allow(unsafe_code)]
mod between {
    use super::*;

    /// Type-erased function. Its name determines its real type.
    type Function = unsafe extern "system" fn();

    /// Returns the loader's instance function `name`, except that `vkGetDeviceProcAddr` becomes
    /// [`device_proc`].
    ///
    /// # Safety
    /// `instance` and `name` must be as Vulkan requires of `vkGetInstanceProcAddr`.
    pub unsafe extern "system" fn instance_proc(
        instance: vk::Instance,
        name: *const c_char,
    ) -> vk::PFN_vkVoidFunction {
        // SAFETY: Vulkan requires `name` to be a C string, and the name determines the type of the
        // function.
        unsafe {
            let real = INSTANCE_PROC.get()?(instance, name);
            if CStr::from_ptr(name) != c"vkGetDeviceProcAddr" {
                return real;
            }
            DEVICE_PROC
                .get_or_init(|| transmute::<Function, vk::PFN_vkGetDeviceProcAddr>(real.unwrap()));
            Some(transmute::<vk::PFN_vkGetDeviceProcAddr, Function>(device_proc))
        }
    }

    /// Returns the driver's device function `name`, or the function below that stands for it.
    ///
    /// # Safety
    /// `device` and `name` must be as Vulkan requires of `vkGetDeviceProcAddr`.
    unsafe extern "system" fn device_proc(
        device: vk::Device,
        name: *const c_char,
    ) -> vk::PFN_vkVoidFunction {
        // SAFETY: as in `submit`.
        unsafe {
            let real = DEVICE_PROC.get()?(device, name)?;
            let (kept, ours) = match CStr::from_ptr(name).to_bytes() {
                b"vkQueueSubmit" => (&SUBMIT, transmute::<vk::PFN_vkQueueSubmit, Function>(submit)),
                b"vkWaitSemaphores" | b"vkWaitSemaphoresKHR" => {
                    (&SEMAPHORES, transmute::<vk::PFN_vkWaitSemaphores, Function>(semaphores))
                }
                b"vkWaitForFences" => {
                    (&FENCES, transmute::<vk::PFN_vkWaitForFences, Function>(fences))
                }
                b"vkAllocateMemory" => {
                    (&ALLOCATE, transmute::<vk::PFN_vkAllocateMemory, Function>(allocate))
                }
                _ => return Some(real),
            };
            kept.store(real as *mut (), SeqCst);
            Some(ours)
        }
    }

    /// Submits, unless the call is refused.
    ///
    /// # Safety
    /// The arguments must be as Vulkan requires of `vkQueueSubmit`.
    unsafe extern "system" fn submit(
        queue: vk::Queue,
        count: u32,
        submits: *const vk::SubmitInfo<'_>,
        fence: vk::Fence,
    ) -> vk::Result {
        // SAFETY: `SUBMIT` holds the function that was asked for by this name, and the arguments
        // are passed on unchanged.
        let real = unsafe { transmute::<*mut (), vk::PFN_vkQueueSubmit>(SUBMIT.load(SeqCst)) };
        if fails(Fault::Submit) {
            vk::Result::ERROR_DEVICE_LOST
        } else {
            unsafe { real(queue, count, submits, fence) }
        }
    }

    /// Waits for semaphores, unless the call is refused.
    ///
    /// # Safety
    /// The arguments must be as Vulkan requires of `vkWaitSemaphores`.
    unsafe extern "system" fn semaphores(
        device: vk::Device,
        info: *const vk::SemaphoreWaitInfo<'_>,
        timeout: u64,
    ) -> vk::Result {
        // SAFETY: as in `submit`.
        let real =
            unsafe { transmute::<*mut (), vk::PFN_vkWaitSemaphores>(SEMAPHORES.load(SeqCst)) };
        if fails(Fault::Wait) {
            vk::Result::ERROR_DEVICE_LOST
        } else {
            unsafe { real(device, info, timeout) }
        }
    }

    /// Waits for fences, unless the call is refused.
    ///
    /// # Safety
    /// The arguments must be as Vulkan requires of `vkWaitForFences`.
    unsafe extern "system" fn fences(
        device: vk::Device,
        count: u32,
        fences: *const vk::Fence,
        all: u32,
        timeout: u64,
    ) -> vk::Result {
        // SAFETY: as in `submit`.
        let real = unsafe { transmute::<*mut (), vk::PFN_vkWaitForFences>(FENCES.load(SeqCst)) };
        if fails(Fault::Wait) {
            vk::Result::ERROR_DEVICE_LOST
        } else {
            unsafe { real(device, count, fences, all, timeout) }
        }
    }

    /// Allocates memory, unless the call is refused.
    ///
    /// # Safety
    /// The arguments must be as Vulkan requires of `vkAllocateMemory`.
    unsafe extern "system" fn allocate(
        device: vk::Device,
        info: *const vk::MemoryAllocateInfo<'_>,
        allocator: *const vk::AllocationCallbacks<'_>,
        memory: *mut vk::DeviceMemory,
    ) -> vk::Result {
        // SAFETY: as in `submit`.
        let real = unsafe { transmute::<*mut (), vk::PFN_vkAllocateMemory>(ALLOCATE.load(SeqCst)) };
        if fails(Fault::Memory) {
            vk::Result::ERROR_OUT_OF_DEVICE_MEMORY
        } else {
            unsafe { real(device, info, allocator, memory) }
        }
    }

    /// Returns an instance of wgpu on Vulkan with these functions in between.
    pub fn instance() -> Option<wgpu::Instance> {
        let flags = wgpu::InstanceFlags::empty();
        // SAFETY: the loader stays loaded. The raw instance comes from the same entry, has the
        // extensions that wgpu wants, and belongs to wgpu alone from here on.
        unsafe {
            let loaded = Box::leak(Box::new(ash::Entry::load().ok()?));
            INSTANCE_PROC.get_or_init(|| loaded.static_fn().get_instance_proc_addr);
            let entry =
                ash::Entry::from_static_fn(ash::StaticFn { get_instance_proc_addr: instance_proc });
            let version = vk::API_VERSION_1_3;
            let extensions =
                hal::vulkan::Instance::desired_extensions(&entry, version, flags).ok()?;
            let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
            let application = vk::ApplicationInfo::default().api_version(version);
            let info = vk::InstanceCreateInfo::default()
                .application_info(&application)
                .enabled_extension_names(&names);
            let raw = entry.create_instance(&info, None).ok()?;
            let budget = wgpu::MemoryBudgetThresholds::default();
            let of_hal = hal::vulkan::Instance::from_raw(
                entry, raw, version, 0, None, extensions, flags, budget, false, None,
            )
            .ok()?;
            Some(wgpu::Instance::from_hal::<hal::api::Vulkan>(of_hal))
        }
    }
}

/// Opens a device on the failing functions, which succeed until a fault is armed. It has no error
/// handler, so that an error outside of a call's own scopes panics.
fn device() -> Option<(wgpu::Device, wgpu::Queue)> {
    static INSTANCE: OnceLock<Option<wgpu::Instance>> = OnceLock::new();
    let instance = INSTANCE.get_or_init(between::instance).as_ref()?;
    let adapter = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN))
        .into_iter()
        .next()?;
    let (device, queue) = pollster::block_on(adapter.request_device(&Default::default())).ok()?;
    Some((device, queue))
}

/// Exercises memory, submits and waits of every kind: kernels, a training run, and readbacks.
fn work(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Vec<f32>> {
    let mut gpu = Gpu::on(device.clone(), queue.clone())?;
    gpu.read_mask(Mask::new(Rate::drop(0.5)?, Key { seed: 4, layer: 1, step: 0 }), 9, 99)?;
    let rate = Rate::drop(0.5)?;
    let architecture = Architecture {
        inputs: 20,
        hidden: vec![16],
        classes: 3,
        mode: Mode::Inverted,
        rate,
        input_rate: rate,
        seed: 1,
    };
    let mut net = Mlp::new(gpu, architecture)?;
    let (x, labels) = (noise(1, 90 * 20), [0, 1, 2].repeat(30));
    let data = Resident::new(net.backend_mut(), Source::Floats(&x), 20, 1.0, &labels)?;
    net.train_epoch(&data, &Training { batch: 6, ..Training::default() })?;
    // This exceeds any allocator's reserve. No kernel touches it.
    let mut large = Vec::new();
    for _ in 0..3 {
        large.push(net.backend_mut().zeros::<f32>(1 << 12, 1 << 14)?);
    }
    net.backend_mut().wait()?;
    net.predict_on(&data)
}

#[test]
fn a_driver_that_fails_at_any_call_is_a_typed_error_within_a_second() {
    let Some((first, queue)) = device() else { return common::skipped("no Vulkan adapter") };
    for fault in [Fault::Memory, Fault::Submit, Fault::Wait] {
        arm(fault, u64::MAX);
    }
    let right = work(&first, &queue).unwrap();
    let calls = [Fault::Memory, Fault::Submit, Fault::Wait]
        .map(|fault| (fault, CALLS[fault as usize].load(SeqCst)));
    println!("calls that can fail: {calls:?}");
    for (fault, count) in calls {
        assert!(count > 1, "{fault:?} is called {count} times");
        // A rare call fails at each position, a frequent one at about twelve of them. The control,
        // at `count`, lets every call succeed.
        for succeed in (0..count).step_by(count.div_ceil(12) as usize).chain([count]) {
            let (device, queue) = device().unwrap();
            arm(fault, succeed);
            let outcome = work(&device, &queue);
            let returned = Instant::now();
            let failed = FAILED.lock().unwrap().take();
            arm(fault, u64::MAX);
            let Some(failed) = failed else {
                assert!(
                    outcome.is_ok_and(|values| values == right),
                    "{fault:?} after {succeed} calls"
                );
                continue;
            };
            let took = returned - failed;
            match outcome {
                Err(Error::OutOfMemory { .. }) if fault == Fault::Memory => {
                    // A device survives a failed allocation.
                    assert!(
                        work(&device, &queue).is_ok_and(|values| values == right),
                        "after {fault:?} at {succeed}"
                    );
                }
                Err(Error::Device { .. } | Error::OutOfMemory { .. }) => {}
                other => panic!("{fault:?} after {succeed} calls: {other:?}"),
            }
            assert!(took < Duration::from_secs(1), "{fault:?} after {succeed} calls: {took:?}");
        }
    }
}
