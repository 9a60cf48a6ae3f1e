//! Compiles the C++ shim against the libtorch that the framework is compiled against.

fn main() {
    println!("cargo:rerun-if-changed=shim/program.cpp");
    let headers = std::env::var("DEP_FOIL_SHIM_INCLUDE").unwrap_or_default();
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .opt_level(1)
        .includes(headers.split(':'))
        .file("shim/program.cpp")
        .compile("foil_torchscript_shim");
}
