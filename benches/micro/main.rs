//! Micro-benchmarks of what a request passes through. All of them, and a table at the end:
//!
//! ```text
//! cargo bench --bench micro [-- FILTER]
//! ```
//!
//! criterion measures; its options work (`-- --help`). Without `--bench`, which `cargo bench` adds, every case runs twice
//! instead, on small inputs and unmeasured: this is how `cargo test` keeps them from rotting.

mod catalog;
mod chunked;
mod hash;
mod head;
mod inspect;
mod policy;
mod range;
mod routes;
mod rpc;
mod runner;

use std::process::ExitCode;

use runner::Runner;

fn main() -> ExitCode {
    let mut runner = Runner::from_args();
    head::cases(&mut runner);
    routes::cases(&mut runner);
    range::cases(&mut runner);
    chunked::cases(&mut runner);
    rpc::cases(&mut runner);
    policy::cases(&mut runner);
    catalog::cases(&mut runner);
    inspect::cases(&mut runner);
    hash::cases(&mut runner);
    runner.finish()
}
