//! A counter in a module's state, which Burn's records save and load.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use std::sync::atomic::{AtomicU32, Ordering};

/// A counter that a forward pass can increment.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU32);

impl Count {
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Returns the value and increments it for the next call.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Clone for Count {
    /// Returns a copy that counts independently, so that the draws of one copy never depend on
    /// those of another.
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.get()))
    }
}

/// Step of a training run. A record stores it as an integer tensor with one element.
#[derive(Debug, Clone)]
pub struct Steps {
    id: ParamId,
    /// Device for the tensor of a record. The counter itself stays on the host.
    device: Device,
    count: Count,
}

impl Steps {
    pub(crate) fn new(device: &Device) -> Self {
        Self { id: ParamId::new(), device: device.clone().inner(), count: Count::default() }
    }

    /// Returns the next step.
    pub fn get(&self) -> u32 {
        self.count.get()
    }

    /// Sets the next step.
    pub fn set(&self, step: u32) {
        self.count.set(step);
    }

    pub(crate) fn next(&self) -> u32 {
        self.count.next()
    }

    /// Returns a parameter that creates its tensor only when it is read, so that mapping a module's
    /// weights, as an optimizer does, costs nothing.
    fn param(&self) -> Param<Tensor<1, Int>> {
        let step = self.get();
        // The bits are kept, whatever their sign as i32.
        let tensor = move |device: &Device, _| {
            Tensor::from_data(TensorData::from([step.cast_signed()]), device)
        };
        Param::uninitialized(self.id, tensor, self.device.clone(), false, Shape::from([1]))
    }
}

impl Module for Steps {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        visitor.visit_int(&self.param());
    }

    fn map<M: ModuleMapper>(mut self, mapper: &mut M) -> Self {
        let param = mapper.map_int(self.param());
        self.id = param.id;
        if param.is_initialized()
            && let Some(step) = param.val().into_data().iter::<i64>().next()
        {
            self.set(step as u32);
        }
        self
    }

    fn to_device(self, device: &Device) -> Self {
        Self { device: device.clone().inner(), ..self }
    }

    fn fork(self, device: &Device) -> Self {
        self.to_device(device)
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn materialize(self) -> Self {
        self
    }

    fn valid(&self) -> Self {
        self.clone()
    }

    fn train(self) -> Self {
        self
    }
}

impl ModuleDisplayDefault for Steps {
    fn content(&self, content: Content) -> Option<Content> {
        content.add_formatted(&self.get()).optional()
    }
}

impl ModuleDisplay for Steps {}
