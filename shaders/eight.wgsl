// eight: eight neighbouring elements of a row, what `// loader NAME BUFFER` lines load and `// storer` lines store in one piece.

struct Eight {
    low: vec4<f32>,
    high: vec4<f32>,
}
