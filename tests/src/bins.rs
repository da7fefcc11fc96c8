//! Paths of the programs under test, in the folder of the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// Returns the folder with the binaries of the profile of this test.
pub fn folder() -> PathBuf {
    let exe = env::current_exe().expect("the path of the running test");
    let folder = exe.parent().expect("a program lies in a folder");
    // `cargo test` puts tests into `deps/`, one below the binaries.
    if folder.ends_with("deps") {
        folder.parent().expect("deps/ has a parent").to_owned()
    } else {
        folder.to_owned()
    }
}

/// Returns the path of a binary of this workspace.
///
/// # Panics
/// If it was not built: `cargo test -p mainstay-tests` alone does not build the server.
pub fn find(name: &str) -> PathBuf {
    let path = folder().join(name);
    assert!(
        path.exists(),
        "{} is not built; run `cargo xtask test`, or `cargo build --workspace --bins` before this",
        path.display()
    );
    path
}

/// Returns the path of the server, after writing the manifest of built-in modules beside it.
pub fn mainstay() -> PathBuf {
    static MANIFEST: OnceLock<()> = OnceLock::new();
    MANIFEST.get_or_init(|| write_manifest(&folder()));
    find("mainstay")
}

/// Writes the manifest of the built-in modules to the path where the server reads it.
fn write_manifest(folder: &Path) {
    let builtins = find("mainstay-builtins");
    let output = Command::new(&builtins)
        .arg("manifest")
        .output()
        .expect("`mainstay-builtins manifest` starts");
    assert!(
        output.status.success(),
        "`mainstay-builtins manifest` failed: {output:?}"
    );
    let (path, draft) = (
        folder.join("mainstay-builtins.json"),
        folder.join(format!("manifest-{}.tmp", std::process::id())),
    );
    fs::write(&draft, &output.stdout).expect("the target folder is writable");
    fs::rename(&draft, &path).expect("a rename within one folder");
}
