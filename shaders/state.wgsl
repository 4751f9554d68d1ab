// state: the part of a dropout site that changes between steps, read from a buffer at run time.
//
// The owner of the buffer writes it between submits, so that a prepared call can be replayed with
// the next step, and a schedule of rates needs no new pipeline. The scale is stored beside the
// threshold, since WGSL's division is accurate to 2.5 ULP only.
// Host twin: src/gpu/state.rs.

struct State {
    threshold: u32,  // 0 ..= 65536
    scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
    shift: f32,      // alpha dropout only
    dropped: f32,    // alpha dropout only
}

@group(1) @binding(1) var<uniform> state: State;

fn take_state() {
    p.threshold = state.threshold;
    p.scale = state.scale;
    p.step = state.step;
    p.seed_low = state.seed_low;
    p.seed_high = state.seed_high;
    take_own_state();
}
