// eight: pieces of a matrix that are loaded at once.

// Eight elements of a row: the piece that `NAME8` of a `// loader NAME BUFFER` line loads, and that
// of a `// storer` line stores.
struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Four lines of four elements that a product's factor is computed from, as they are stored. A loop
// can fetch the next lines, compute, and only then convert them: any use of a loaded value, even
// its conversion to f32, waits for the load.
struct Fetched {
    values: mat4x4<Number>,
    output: mat4x4<Number>,  // the layer's output, under `GATE relu`
}
