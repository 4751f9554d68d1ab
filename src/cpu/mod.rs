//! The kernels on the CPU, as functions of slices: [`fast`] on all threads and the processor's
//! vector units, [`mod@reference`], one readable twin a shader. Both draw the same bits.

pub mod fast;
pub mod reference;
