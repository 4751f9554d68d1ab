// eight: pieces of a matrix that are loaded at once.

// Eight neighbouring elements of a row, what `// loader NAME BUFFER` lines load and `// storer` lines store in one piece.
struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}

// Four lines of four of a product's factor as they are in memory, with what it takes to make the factor of them: so that a loop can ask for the
// next lines, work, and only then use them, while a thread that uses what it asks for, be it to convert it to f32, waits for it.
struct Fetched {
    values: mat4x4<Number>,
    output: mat4x4<Number>,  // of a layer, under GATE_RELU
}
