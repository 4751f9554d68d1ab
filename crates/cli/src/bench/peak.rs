//! `multiply_add`: the arithmetic peak of a GPU, measured by a probe that only multiplies and adds.
//!
//! The CPU backend has no such probe; its peak is taken to be the fastest matrix product of the
//! run.

use super::pass::Pass;
use super::work::{Bound, Entry, Work};
use std::time::Duration;
use wgpu_dropout::gpu::Gpu;
use wgpu_dropout::{Result, wgpu};

/// Number of independent vectors of four per invocation: enough to hide the latency, few enough to
/// stay in 16 registers.
const CHAINS: usize = 3;
/// Steps of every chain in the loop body.
const STEPS: usize = 16;
/// Iterations of the loop.
const ROUNDS: usize = 128;
/// Invocations in a workgroup; must match the shader.
const WORKGROUP: usize = 64;

/// Returns the probe's entry for a GPU of `kind`.
pub fn entry(kind: wgpu::DeviceType) -> Entry {
    let invocations = workgroups(kind) as usize * WORKGROUP;
    let operations = 2 * 4 * CHAINS * STEPS * ROUNDS;
    Entry {
        kernel: "multiply_add",
        shape: vec![invocations, operations],
        dtype: "f32",
        bytes: 4 * invocations as u64,
        flops: (invocations * operations) as u64,
        bound: Bound::Flops,
        per_call: 1,
    }
}

/// Returns enough workgroups to keep all units busy for about a millisecond.
fn workgroups(kind: wgpu::DeviceType) -> u32 {
    match kind {
        wgpu::DeviceType::Cpu => 32,
        wgpu::DeviceType::DiscreteGpu => 1 << 14,
        _ => 1 << 11,
    }
}

/// The probe and its buffer.
pub struct Peak<'a> {
    gpu: &'a Gpu,
    pipeline: wgpu::ComputePipeline,
    output: wgpu::BindGroup,
    grid: u32,
    /// Calls since the last finish.
    calls: usize,
    pass: Pass,
}

impl<'a> Peak<'a> {
    /// Compiles the probe.
    pub fn new(gpu: &'a Gpu) -> Self {
        let device = gpu.device();
        let grid = workgroups(gpu.info().device_type);
        let label = Some("multiply_add");
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label,
            source: wgpu::ShaderSource::Wgsl(source().into()),
        });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        });
        let (size, usage) = (4 * u64::from(grid) * WORKGROUP as u64, wgpu::BufferUsages::STORAGE);
        let y = device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size,
            usage,
            mapped_at_creation: false,
        });
        let output = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: y.as_entire_binding() }],
        });
        Self { gpu, pipeline, output, grid, calls: 0, pass: Pass::new(device) }
    }
}

impl Work for Peak<'_> {
    fn call(&mut self, _: usize) -> Result<()> {
        self.calls += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Duration>> {
        let calls = std::mem::take(&mut self.calls);
        self.pass.run(self.gpu, |pass| {
            pass.set_pipeline(&self.pipeline);
            pass.set_bind_group(0, &self.output, &[]);
            (0..calls).for_each(|_| pass.dispatch_workgroups(self.grid, 1, 1));
        })
    }
}

/// Returns the shader with its chains unrolled.
fn source() -> String {
    let each = |line: &dyn Fn(usize) -> String| (0..CHAINS).map(line).collect::<Vec<_>>();
    let chains = each(&|chain| format!("var c{chain} = a * {chain}.0;\n")).concat();
    let steps = each(&|chain| format!("c{chain} = fma(c{chain}, a, b);\n")).concat().repeat(STEPS);
    let sum = each(&|chain| format!("c{chain}")).join(" + ");
    include_str!("multiply_add.wgsl")
        .replace("// chains", &chains)
        .replace("// steps", &steps)
        .replace("i < ROUNDS", &format!("i < {ROUNDS}u"))
        .replace("dot(SUM", &format!("dot({sum}"))
}
