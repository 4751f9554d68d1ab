// state: what of a dropout site changes from one recording's run to the next, read from a small buffer when the kernel runs.
//
// Whoever owns the buffer writes it between submits, so that a prepared call is replayed with the next step, and a schedule of rates needs no
// new pipeline. The scale comes with the threshold, since WGSL's division is good to 2.5 ULP only. Host twin: src/gpu/state.rs.

struct State {
    threshold: u32,  // 0 ..= 65536
    scale: f32,
    step: u32,
    seed_low: u32,
    seed_high: u32,
    shift: f32,      // of alpha dropout alone, as the next
    dropped: f32,
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
