//! Compiles the tests' custom API. Its descriptors are written to a file as well: the Rust fixture serves them by
//! reflection, and the Python module builds its messages from them, so that neither can drift from the `.proto`.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

const ROOT: &str = "proto";
const SHARED: &str = "../proto/proto";
const FILES: [&str; 2] = [
    "mainstay/tests/echo/v1/stamp.proto",
    "mainstay/tests/echo/v1/echo.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={ROOT}");
    println!("cargo::rerun-if-changed={SHARED}/common/v1/common.proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let mut compiler = protox::Compiler::new([ROOT, SHARED])?;
    compiler.include_imports(true).open_files(FILES)?;
    fs::write(out.join("echo.binpb"), compiler.encode_file_descriptor_set())?;

    let mut files = compiler.file_descriptor_set();
    // The rest is compiled elsewhere.
    files
        .file
        .retain(|file| FILES.contains(&file.name()) || file.name() == "google/protobuf/struct.proto");
    tonic_prost_build::configure()
        .build_transport(false)
        .bytes(".")
        .btree_map(".")
        .compile_fds(files)?;
    Ok(())
}
