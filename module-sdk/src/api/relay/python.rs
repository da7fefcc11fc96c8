//! The same with the Viam SDK for Python at both ends: its typed clients call the services, its typed components serve what
//! is behind the clients. What it takes a field for, we must take it for, too.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::Command,
    task::JoinSet,
};

use super::{serve_near, services};
use crate::{Robot, address::Address};

/// Interpreter with the SDK, which `cargo xtask test` sets up.
fn interpreter() -> PathBuf {
    let made = env::current_exe()
        .expect("a program")
        .ancestors()
        .map(|folder| folder.join("venv/bin/python"))
        .find(|path| path.exists());
    let given = env::var_os("MAINSTAY_PYTHON")
        .map(PathBuf::from)
        .filter(|path| path.exists());
    given
        .or(made)
        .expect("no Python environment with the SDK; `cargo xtask test` makes it in target/venv")
}

#[tokio::test]
#[allow(clippy::disallowed_methods, reason = "the script ends with the test")]
async fn the_typed_clients_and_components_of_the_python_sdk_mean_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let (near, far) = (folder.path().join("near.sock"), folder.path().join("far.sock"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python/relay.py");
    let mut python = Command::new(interpreter())
        .args(["-W", "ignore", "-B"])
        .arg(script)
        .args([&near, &far])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(python.stdout.take().expect("a pipe")).lines();
    let mut line = async || {
        let line = tokio::time::timeout(Duration::from_secs(120), lines.next_line()).await;
        line.expect("it goes on").expect("a pipe").expect("it says something")
    };
    assert_eq!(line().await, "ready");
    let robot = Robot::open(Address::Unix(far)).await.expect("it listens");
    let mut tasks = JoinSet::new();
    let _client = serve_near(&mut tasks, near, services(&robot)).await;
    python
        .stdin
        .take()
        .expect("a pipe")
        .write_all(b"go\n")
        .await
        .expect("it reads");
    let result: Value = serde_json::from_str(&line().await).expect("JSON");
    assert_eq!(result["wrong"], serde_json::json!({}), "{result:#}");
    assert!(result["called"].as_u64() > Some(180), "{result}");
}
