//! Builds the shim over libtorch and a C constant of MPI, and records where libtorch's libraries are.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=libtorch");
    println!("cargo:rerun-if-changed=kernels");
    println!("cargo:rerun-if-changed=src/collectives/mpi_in_place.c");
    println!("cargo:rerun-if-env-changed=LIBTORCH");
    let libtorch = std::env::var("LIBTORCH")
        .map(PathBuf::from)
        .map_err(|_| "LIBTORCH is not set: build with `make build`, or run `. scripts/env.sh` first")?;

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(["libtorch/allocator.cpp", "libtorch/attention.cpp", "libtorch/shim.cpp", "libtorch/streams.cpp"])
        .include(libtorch.join("include"))
        // libtorch's headers are not ours to fix.
        .warnings(false)
        .compile("convoy_libtorch");

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .files(["libtorch/cpu_kernels.cpp", "libtorch/amx_products.cpp", "libtorch/avx2_products.cpp"])
        .include(libtorch.join("include"))
        .warnings(false)
        .opt_level(3)
        // libtorch's own threads: its library brings the OpenMP runtime that this is linked with.
        .flag("-fopenmp")
        // Without these flags, a comparison or a square root keeps a loop from being vectorised. Infinities and NaN
        // stay.
        .flag("-fno-trapping-math")
        .flag("-fno-math-errno")
        .compile("convoy_cpu_kernels");
    println!("cargo:rustc-link-lib=dylib=gomp");

    // The GPU kernels, compiled for the CPU by tests; nothing else links them.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .file("kernels/on_cpu.cpp")
        .opt_level(2)
        // As in CUDA, a value may be read as words of another type.
        .flag("-fno-strict-aliasing")
        .compile("convoy_kernels_on_cpu");

    let mpi = build_probe_mpi::probe().map_err(|errors| format!("no MPI found: {errors:?}"))?;
    cc::Build::new().file("src/collectives/mpi_in_place.c").includes(&mpi.include_paths).compile("convoy_mpi");

    // The folder behind the link is the one with the CUDA runtime beside it. A release has its libraries in a folder of its
    // own, which comes first; scripts/dist takes the folder of this machine away.
    let libraries = libtorch.join("lib/libtorch_cpu.so").canonicalize()?;
    if let Some(folder) = libraries.parent() {
        println!("cargo:rustc-link-arg=-Wl,-rpath,$ORIGIN/../lib/convoy/torch/lib:{}", folder.display());
    }
    Ok(())
}
