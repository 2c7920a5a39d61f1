//! Digests of an upload, computed away from the threads that serve connections.
//!
//! A [`Pool`] of plain threads is shared by all cores. Each digest of each upload is one [`Stream`]: buffers go in
//! in order, a hexadecimal digest comes out. The two digests of one upload are two streams over the same buffers,
//! so that a lone upload keeps two workers busy.
//!
//! The only place that hashes bytes is [`kernel`]: it is given a batch of streams of one algorithm, which is where
//! code that hashes several streams at once in SIMD lanes belongs.

mod algorithm;
mod digest;
mod figures;
mod kernel;
mod pool;
mod stream;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use digest::Digest;
pub use figures::Figures;
pub use pool::Pool;
pub use stream::{Stream, SubmitError};
