//! Images, tasks and metadata definitions as the program sees them: no SQL, no HTTP.

pub mod image;
pub mod metadef;
pub mod status;
pub mod task;
pub mod visibility;

pub use image::{Image, Location, Member, MemberStatus};
pub use status::Status;
pub use task::{Task, TaskKind, TaskStatus};
pub use visibility::Visibility;
