//! A reader of the pickles in which PyTorch keeps weights and CIFAR is published, which runs
//! nothing.
//!
//! A pickle is a small program that may call any Python function by name. Here a name is looked up
//! in a short list (`value::Callable`), and each entry is a way to build data: a dictionary, a
//! tensor's shape and position, a numpy array. Any other name is an error that says which name and
//! where. Time and memory are linear in the bytes.

mod machine;
mod value;

pub use machine::read;
pub use value::{Array, Id, Strided, Table, Value};

use crate::Error;

/// Why a pickle cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// It names something that is not on the list.
    Global(String),
    /// It is not a pickle, or is truncated.
    Broken(&'static str),
    /// It uses something that this reader does not support.
    Unknown(String),
}

/// A fault, and where.
#[derive(Debug)]
pub struct Refused {
    pub fault: Fault,
    /// Bytes from the pickle's beginning.
    pub at: usize,
    /// The last text before it, most likely its key; empty at the top.
    pub near: String,
}

impl Refused {
    /// The message, for the pickle called `name`.
    pub fn into_error(self, name: &str) -> Error {
        let place = match self.near.as_str() {
            "" => format!("{name}, byte {}", self.at),
            near => format!("{name}, byte {}, near `{near}`", self.at),
        };
        match self.fault {
            Fault::Global(global) => {
                let error =
                    Error::new(format!("{place}: it calls `{global}`, which is Python code that foil does not run"));
                error.help(
                    "foil reads only arrays, tensors, numbers and strings; where you trust the file, save its weights alone in \
                     Python: torch.save(model.state_dict(), \"weights.pt\")",
                )
            }
            Fault::Broken(why) => {
                Error::new(format!("{place}: {why}")).help("was the file cut short or changed on the way?")
            }
            Fault::Unknown(what) => Error::new(format!("{place}: {what}"))
                .help("save the weights again with a recent PyTorch: torch.save(model.state_dict(), \"weights.pt\")"),
        }
    }
}

#[cfg(test)]
mod tests;
