// eight: pieces of a matrix that are loaded at once.

// Eight neighbouring elements of a row, what `// loader NAME BUFFER` lines load and `// storer` lines store in one piece.
struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

// A block of 4 x 4 of a product's factor as it is in memory, with what it takes to make the factor of it: so that a loop can ask for the next
// block, work, and only then use it, while a thread that uses what it asks for waits for it.
struct Fetched {
    values: mat4x4<f32>,
    output: mat4x4<f32>,  // of a layer, under GATE_RELU
}
