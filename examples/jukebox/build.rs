//! Compiles the API's `.proto` file without a system `protoc`: the Rust types, and the descriptors that tell a machine
//! what the API looks like.

use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["acme/jukebox/v1/jukebox.proto"], ["proto"])?;
    let out = env::var("OUT_DIR")?;
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler
        .include_imports(true)
        .open_file("acme/jukebox/v1/jukebox.proto")?;
    fs::write(
        Path::new(&out).join("jukebox.bin"),
        compiler.encode_file_descriptor_set(),
    )?;
    tonic_prost_build::configure()
        .build_transport(false)
        .compile_fds(descriptors)?;
    Ok(())
}
