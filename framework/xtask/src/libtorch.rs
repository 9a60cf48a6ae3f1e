//! Where libtorch comes from: what is there already, or what PyPI has, pinned by hash.

pub mod fetch;
pub mod gpu;
pub mod installed;
pub mod link;
pub mod pins;
pub mod pip;
pub mod python;
