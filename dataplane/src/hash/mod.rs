//! Digests of an upload, computed away from the threads that serve connections.
//!
//! A [`Pool`] of plain threads is shared by all cores. Each digest of each upload is one [`Stream`]: buffers go in
//! in order, a hexadecimal digest comes out. The two digests of one upload are two streams over the same buffers, which are
//! hashed at once while there are no others. Buffers of several streams of one algorithm are hashed side by side in the lanes of
//! vector registers: `schedule.rs` decides which, [`Kernels`] by which code, `rounds.rs` are the algorithms.
//!
//! Unsafe code stands in `simd` alone.

mod algorithm;
mod constants;
mod digest;
mod figures;
mod kernels;
mod pool;
mod rounds;
mod schedule;
#[cfg(target_arch = "x86_64")]
mod simd;
mod stream;

pub use algorithm::{Algorithm, UnknownAlgorithm};
pub use digest::Digest;
pub use figures::Figures;
pub use kernels::{Feed, Kernels, digests_in_turns};
pub use pool::Pool;
pub use stream::{Stream, SubmitError};
