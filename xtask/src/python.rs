//! Virtual environment with the Python SDK, whose programs the tests use as clients and modules.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::steps::{Failed, Target, capture, run};

/// Creates `target/venv` unless it exists with the current requirements, and returns its interpreter.
pub fn ensure(target: &Target) -> Result<PathBuf, Failed> {
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("tests/python/requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|error| Failed::at(&requirements, error))?;
    let folder = target.join("venv");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.stamp"));
    if python.exists() && fs::read_to_string(&stamp).is_ok_and(|made| made == wanted) {
        return Ok(python);
    }

    let system = env::var_os("PYTHON").unwrap_or_else(|| "python3".into());
    let check = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))";
    match capture(Command::new(&system).args(["-c", check])) {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return Err(Failed(format!(
                "the tests need Python 3.9 or newer with `venv`; on Debian and Ubuntu: apt-get install python3-venv\n{}",
                String::from_utf8_lossy(&output.stderr).trim_end()
            )));
        }
        Err(Failed(error)) => {
            return Err(Failed(format!(
                "the tests need Python; on Debian and Ubuntu: apt-get install python3 python3-venv ({error})"
            )));
        }
    }

    println!(
        "making {} with the packages of {}",
        folder.display(),
        requirements.display()
    );
    run(Command::new(&system).args(["-m", "venv", "--clear"]).arg(&folder))?;
    let pip = |arguments: &[&str]| {
        let mut command = Command::new(&python);
        command
            .args(["-m", "pip", "--disable-pip-version-check", "--quiet"])
            .args(arguments);
        command
    };
    // The list is complete: nothing that is not in it is wanted.
    run(pip(&["install", "--no-deps", "--requirement"]).arg(&requirements))?;
    run(&mut pip(&["check"]))?;
    fs::write(&stamp, wanted).map_err(|error| Failed::at(&stamp, error))?;
    Ok(python)
}
