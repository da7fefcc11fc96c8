//! Finds the programs under test, which lie beside the test itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// The folder with the binaries of the profile that this test was built in.
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

/// The path of a binary of this workspace.
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

/// The server, with the list of built-in modules that it looks for beside itself.
pub fn mainstay() -> PathBuf {
    static MANIFEST: OnceLock<()> = OnceLock::new();
    MANIFEST.get_or_init(|| write_manifest(&folder()));
    find("mainstay")
}

/// Asks the built-in modules what they hold and writes it down where the server finds it.
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
