//! What foil does with plugins: it reads a pipeline, trains a run, evaluates it and keeps its
//! records. The command line is one user of this crate; a test or a notebook is another.
//!
//! | module | what it does |
//! |---|---|
//! | [`pipeline`] | reads YAML, lists what is wrong with it, builds its plugins |
//! | [`data`] | finds and reads a pipeline's data set |
//! | [`train`] | trains a run in its folder, and resumes it |
//! | [`eval`] | attacks a trained network, and checks that the attack can be trusted |
//! | [`record`] | what a run leaves on disk |
//! | [`interop`] | checkpoints of PyTorch, in and out |
//! | [`probe`] | one step or one image, looked at closely |

pub mod data;
pub mod eval;
pub mod interop;
pub mod pipeline;
pub mod probe;
pub mod record;
pub mod train;
