//! Compiles `proto/**/*.proto` without a system `protoc` and writes, under `OUT_DIR` only:
//! the messages, clients and servers (`tree.rs`), the method table and the descriptor index (`tables.rs`).

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use protox::Compiler;

#[path = "build/tables.rs"]
mod tables;

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    let root = Path::new("proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for input in ["proto", "build", "build.rs"] {
        println!("cargo::rerun-if-changed={input}");
    }
    let mut files = Vec::new();
    find(root, &mut files)?;
    files.sort(); // The order of a folder is not the same everywhere; the build should be.

    let mut compiler = Compiler::new([root])?;
    compiler
        .include_imports(true)
        .include_source_info(true)
        .open_files(&files)?;
    tonic_prost_build::configure()
        // The core serves and dials its connections itself; `serve` and `connect` belong to whoever wants tonic's.
        .build_transport(false)
        // Frames and chunks are handed on without a copy.
        .bytes(".")
        // What goes into logs, tests and status should read the same every time.
        .btree_map(".")
        .include_file("tree.rs")
        .compile_fds(compiler.file_descriptor_set())?;

    // Comments are for readers of the source, not for those who reflect. Of protox's two ways out only the encoded set
    // keeps extensions, and with them the options of methods.
    let mut bare = Compiler::new([root])?;
    bare.include_imports(true)
        .include_source_info(false)
        .open_files(&files)?;
    tables::write(&bare.encode_file_descriptor_set(), &out)
}

/// All `.proto` files below `folder`.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
