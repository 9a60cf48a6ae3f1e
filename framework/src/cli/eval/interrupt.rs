//! Ctrl-C in an evaluation.

use crate::{Error, Result};
use std::path::Path;

/// As long as it lives, the first Ctrl-C or SIGTERM ends the program at once, and says how to go on: a batch may take minutes, and
/// what came before it is on disk.
pub(super) struct Interrupt(signal_hook::iterator::Handle);

impl Interrupt {
    pub fn new(path: &Path) -> Result<Self> {
        use signal_hook::consts::{SIGINT, SIGTERM};
        let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])
            .map_err(|e| Error::new(format!("Ctrl-C cannot be handled: {e}")))?;
        let (handle, path) = (signals.handle(), path.display().to_string());
        std::thread::spawn(move || {
            if signals.forever().next().is_some() {
                eprintln!("\nstopped; the same command goes on from here (this evaluation alone: foil eval {path})");
                signal_hook::low_level::exit(130);
            }
        });
        Ok(Self(handle))
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.0.close();
    }
}
