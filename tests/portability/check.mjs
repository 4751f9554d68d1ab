// Checks the kernels on another implementation of WebGPU, in Node or in a browser: their masks must
// equal the contract's, and every kernel must be accepted.
//
// `cases` is written by tests/shaders/browsers.rs:
//   masks:   [{name, wgsl, params, grid, words}]
//            the text of mask_bits, its parameter block, its number of workgroups, the mask's bits
//   kernels: [{name, wgsl, needs}]
//            every form that standard WGSL can express, and the features that it needs

// Parses and validates a text, which a browser does before it has a driver compile anything.
async function read(device, { name, wgsl }) {
  device.pushErrorScope("validation");
  const module = device.createShaderModule({ label: name, code: wgsl });
  const error = await device.popErrorScope();
  return { module, said: error?.message };
}

async function mask(device, { name, wgsl, params, grid, words }) {
  const { module, said } = await read(device, { name, wgsl });
  if (said) return said;
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const buffer = (size, usage) => device.createBuffer({ size, usage });
  const bits = buffer(words.length * 4, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC);
  const block = buffer(params.length * 4, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST);
  const back = buffer(words.length * 4, GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST);
  device.queue.writeBuffer(block, 0, new Uint32Array(params));
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  [bits, block].forEach((buffer, group) => {
    const entries = [{ binding: 0, resource: { buffer } }];
    pass.setBindGroup(group, device.createBindGroup({ layout: pipeline.getBindGroupLayout(group), entries }));
  });
  pass.dispatchWorkgroups(grid);
  pass.end();
  encoder.copyBufferToBuffer(bits, 0, back, 0, words.length * 4);
  device.queue.submit([encoder.finish()]);
  await back.mapAsync(GPUMapMode.READ);
  const got = new Uint32Array(back.getMappedRange());
  const first = words.findIndex((word, i) => word !== got[i]);
  return first < 0 ? null : `word ${first}: expected ${words[first]}, got ${got[first]}`;
}

export async function check(gpu, cases) {
  const adapter = await gpu.requestAdapter();
  if (!adapter) return { error: "no adapter" };
  const has = (feature) => adapter.features.has(feature);
  const features = ["shader-f16", "subgroups"].filter(has);
  const device = await adapter.requestDevice({ requiredFeatures: features });
  const kernels = cases.kernels.filter(({ needs }) => needs.every(has));
  const wrong = [];
  const note = (name, said) => said && wrong.push(`${name}: ${said}`);
  for (const one of cases.masks) note(one.name, await mask(device, one));
  for (const one of kernels) note(one.name, (await read(device, one)).said);
  const { vendor, architecture, description } = adapter.info;
  return { adapter: `${vendor} ${architecture} ${description}`.trim(), masks: cases.masks.length, kernels: kernels.length, wrong };
}
