//! Which transport the ranks use.

use crate::{Error, Result};

/// The transport of sums and broadcasts between the ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Transport {
    /// libtorch's own, in every build.
    #[default]
    Gloo,
    /// The machine's MPI, in a build with the feature `mpi`, for processes that MPI's own launcher
    /// started.
    Mpi,
}

impl Transport {
    /// The transports of this build, by the names that FOIL_TRANSPORT takes.
    pub fn built() -> &'static [&'static str] {
        if cfg!(feature = "mpi") { &["gloo", "mpi"] } else { &["gloo"] }
    }

    /// Parses FOIL_TRANSPORT.
    ///
    /// # Errors
    /// When it does not name a transport, or names one that this build lacks.
    pub(super) fn named(name: &str) -> Result<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "gloo" => Ok(Self::Gloo),
            "mpi" if cfg!(feature = "mpi") => Ok(Self::Mpi),
            "mpi" => Err(Self::no_mpi()),
            _ => {
                Err(Error::new(format!("FOIL_TRANSPORT={name} is not a transport"))
                    .help("`gloo` (the default) or `mpi`"))
            }
        }
    }

    pub(super) fn no_mpi() -> Error {
        Error::new("FOIL_TRANSPORT=mpi, but this foil was built without MPI").help(
            "build it with `--features mpi`, which needs MPI's headers and libclang; or unset FOIL_TRANSPORT: Gloo needs neither",
        )
    }
}
