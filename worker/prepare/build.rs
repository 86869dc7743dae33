//! Records where a release has libraries of its own. scripts/dist writes another place into the program of a wheel.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-link-arg-bins=-Wl,-rpath,$ORIGIN/../lib/convoy");
}
