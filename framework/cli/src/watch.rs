//! Watching runs from another shell: the state of their folders, the machine's load, and a page
//! with both.

mod draw;
mod machine;
mod view;

pub use draw::draw;
pub use machine::{Gpu, Load, Machine};
pub use view::{Now, View, Watched};
