//! Clients written with the TypeScript SDK.
//!
//! `cargo xtask test` puts its packages into `target/node`.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bins;
use crate::world::{World, finish};

/// Folder with the SDK's packages.
///
/// # Panics
/// If there is none.
pub fn packages() -> PathBuf {
    bins::folder()
        .ancestors()
        .map(|folder| folder.join("node/node_modules"))
        .find(|path| path.exists())
        .expect("no packages with the TypeScript SDK; `cargo xtask test` puts them into target/node")
}

impl World {
    /// Runs a program of `tests/node/` to its end, which trusts the certificates of a file, and returns what it prints.
    ///
    /// # Panics
    /// If it fails.
    pub async fn node(&self, program: &str, arguments: &[&str], trusted: Option<&Path>) -> Value {
        let here = self.place.file("node_modules");
        if !here.exists() {
            symlink(packages(), &here).expect("the temporary folder is writable");
        }
        // Packages are looked for beside the program.
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("node").join(program);
        let program = self.place.file(program);
        std::fs::copy(source, &program).expect("it is there");
        let mut command = self.place.command(Path::new("node"));
        command.arg(program).args(arguments);
        command.envs(trusted.map(|file| ("NODE_EXTRA_CA_CERTS", file)));
        let ended = finish(command).await;
        let json = ended.stdout.lines().rfind(|line| line.starts_with('{'));
        json.and_then(|line| serde_json::from_str(line).ok())
            .unwrap_or_else(|| panic!("{arguments:?}: {ended:?}"))
    }
}
