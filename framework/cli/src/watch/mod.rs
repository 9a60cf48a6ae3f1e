//! Looking at runs while they go on, from another shell: what their folders say, the machine's
//! load, and a page of both.

mod draw;
mod machine;
mod view;

pub use draw::draw;
pub use machine::{Gpu, Load, Machine};
pub use view::{Now, View, Watched};
