//! A count that belongs to a module's state: Burn's records save it and load it.

use burn::module::{
    Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor,
    Param, ParamId,
};
use burn::tensor::{Device, Int, Shape, Tensor, TensorData};
use std::sync::atomic::{AtomicU32, Ordering};

/// A count that a forward pass can raise.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU32);

impl Count {
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// The value, raised for the next call.
    pub fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

impl Clone for Count {
    /// A copy that counts on its own, so that what one copy draws never depends on what another
    /// does.
    fn clone(&self) -> Self {
        Self(AtomicU32::new(self.get()))
    }
}

/// The step of a training run. In a record it is an int tensor of one element.
#[derive(Debug, Clone)]
pub struct Steps {
    id: ParamId,
    /// Where a record's tensor is made. The count itself stays on the host.
    device: Device,
    count: Count,
}

impl Steps {
    pub(crate) fn new(device: &Device) -> Self {
        Self { id: ParamId::new(), device: device.clone().inner(), count: Count::default() }
    }

    /// The next step.
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

    /// A parameter that makes its tensor when it is looked at, so that mapping a module's weights,
    /// as an optimizer does, costs nothing.
    fn param(&self) -> Param<Tensor<1, Int>> {
        let step = self.get();
        // The bits are kept, whatever sign they then have.
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
