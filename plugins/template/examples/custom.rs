//! Your own program: foil with the plugins of this crate linked in, and none of the methods.
//!
//! `cargo run --release -p foil-template --example custom -- list`

use foil_template as _;

fn main() -> std::process::ExitCode {
    foil_cli::main()
}
