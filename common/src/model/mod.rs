//! The image as the program sees it: no SQL, no JSON, no HTTP.

pub mod image;
pub mod status;
pub mod task;
pub mod visibility;

pub use image::{Image, Location, Member, MemberStatus};
pub use status::Status;
pub use task::{Task, TaskKind, TaskStatus};
pub use visibility::Visibility;
