//! `mainstay run`: its arguments. The verb itself is the program, which wires the crates of the core.

use std::io;
use std::path::{Path, PathBuf};

use crate::failure::CliError;

/// Places where a config is looked for if none is named, in this order; the relative ones start at the working directory.
const USUAL_PLACES: [&str; 4] = ["mainstay.yaml", "mainstay.json", "viam.json", "/etc/viam.json"];

/// Arguments of `mainstay run`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay run rover.yaml
  mainstay run                                  the first of mainstay.yaml, mainstay.json, viam.json and /etc/viam.json
  generate | mainstay run -                     a config from standard input; its paths start at the working directory
  mainstay run rover.json --bind 0.0.0.0:8080   accept connections from all other hosts
  mainstay run rover.yaml --bind 127.0.0.1:0    any free port, which is printed at start")]
pub struct Arguments {
    /// The config file, JSON or YAML; `-` reads it from standard input, once [default: mainstay.yaml, mainstay.json or viam.json
    /// here, else /etc/viam.json]
    #[arg(value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Folder for the data of modules [default: $VIAM_HOME, else ~/.viam]
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Address to serve at, instead of `network.bind_address` in the config; port 0 is any free port
    #[arg(long, value_name = "HOST:PORT")]
    pub bind: Option<String>,
    /// Program that contains the built-in modules [default: mainstay-builtins beside this program]
    #[arg(long, value_name = "PATH")]
    pub builtins: Option<PathBuf>,
    /// Log at level debug, as `debug: true` in the config does
    #[arg(long)]
    pub debug: bool,
    /// Serve diagnostics at /debug/graph and /debug/pprof/, as `enable_web_profile: true` in the config does
    #[arg(long)]
    pub webprofile: bool,
    /// Do not tell others on the local network that the machine is there, as `network.mdns: false` in the config does; the
    /// variable MAINSTAY_NO_MDNS=true does so, too
    #[arg(long, alias = "disable-mdns", env = "MAINSTAY_NO_MDNS", hide_env = true)]
    pub no_mdns: bool,
    /// Fail if CONFIG cannot be used, instead of starting with the last good config
    #[arg(long)]
    pub strict: bool,
    /// Print the machine's state as JSON, with the keys of `status --json`: once when it begins to serve, once when start-up
    /// is complete
    #[arg(long)]
    pub json: bool,
}

/// A config that was found in a usual place, and what to say about that.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundConfig {
    /// Its path.
    pub path: PathBuf,
    /// Text that names it, and others that are there as well.
    pub note: String,
}

/// Looks for a config in the usual places. What is there and cannot be read is found: its own complaint says more.
///
/// # Errors
/// There is none (2).
pub fn find_config() -> Result<FoundConfig, CliError> {
    let folder = std::env::current_dir().map_or_else(
        |_| "the working directory".to_owned(),
        |path| path.display().to_string(),
    );
    choose(USUAL_PLACES.map(Path::new), &folder, is_there)
}

fn choose<const N: usize>(
    places: [&Path; N],
    folder: &str,
    is_there: impl Fn(&Path) -> bool,
) -> Result<FoundConfig, CliError> {
    let (here, elsewhere): (Vec<&Path>, Vec<&Path>) = places.iter().copied().partition(|path| path.is_relative());
    let mut found = places.iter().filter(|path| is_there(path));
    let Some(path) = found.next() else {
        let list = |paths: Vec<&Path>| {
            let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
            paths.join(", ")
        };
        return Err(CliError::usage(format!(
            "no config is named, and none is in the usual places: looked for {} in {folder}, and for {}\n  name one:  mainstay run CONFIG   (`-` reads it from standard input)",
            list(here),
            list(elsewhere)
        )));
    };
    let others: Vec<String> = found.map(|path| format!("`{}`", path.display())).collect();
    let others = if others.is_empty() {
        String::new()
    } else {
        format!("; not {}, which is there as well", others.join(" or "))
    };
    let place = if path.is_relative() {
        format!(" in {folder}")
    } else {
        String::new()
    };
    Ok(FoundConfig {
        path: path.to_path_buf(),
        note: format!("no config is named: using `{}`{place}{others}", path.display()),
    })
}

/// True unless nothing but a folder has this name. A link that leads nowhere counts: somebody meant it.
fn is_there(path: &Path) -> bool {
    match path.metadata() {
        Ok(found) => !found.is_dir(),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            path.is_symlink()
        }
        Err(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_config_in_a_usual_place_is_taken_and_named() {
        let look = |there: &[&str]| {
            choose(USUAL_PLACES.map(Path::new), "/home/a", |path| {
                there.iter().any(|name| path == Path::new(name))
            })
        };
        let cases = [
            (
                &["mainstay.yaml"][..],
                "mainstay.yaml",
                "no config is named: using `mainstay.yaml` in /home/a",
            ),
            (
                &["viam.json", "mainstay.json", "/etc/viam.json"],
                "mainstay.json",
                "no config is named: using `mainstay.json` in /home/a; not `viam.json` or `/etc/viam.json`, which is there as well",
            ),
            (
                &["/etc/viam.json"],
                "/etc/viam.json",
                "no config is named: using `/etc/viam.json`",
            ),
        ];
        for (there, path, note) in cases {
            let (path, note) = (path.into(), note.to_owned());
            assert_eq!(look(there), Ok(FoundConfig { path, note }));
        }
        let failure = look(&[]).unwrap_err();
        assert_eq!(failure.exit, crate::failure::Exit::Usage);
        assert!(
            failure
                .message
                .contains("looked for mainstay.yaml, mainstay.json, viam.json in /home/a, and for /etc/viam.json"),
            "{}",
            failure.message
        );
    }

    #[test]
    fn what_is_there_and_no_folder_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("folder")).expect("a folder");
        std::fs::write(at("file"), "{}").expect("a file");
        std::os::unix::fs::symlink("nowhere", at("link")).expect("a link");
        let found = ["folder", "file", "link", "nothing", "file/inside"].map(|name| is_there(&at(name)));
        assert_eq!(found, [false, true, true, false, false]);
    }
}
