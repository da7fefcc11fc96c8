//! `mainstay run`: reads the config, says what is wrong with it, and hands over to the machine.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use mainstay_cli::failure::{CliError, Exit};
use mainstay_cli::output::note;
use mainstay_cli::run::Arguments;
use mainstay_cli::{run as run_arguments, startup};
use mainstay_config as config;
use mainstay_config::builtins::BuiltinModels;
use mainstay_config::store::LastGood;
use mainstay_parts::folder::PartFolder;
use mainstay_process::guardian::Side;
use mainstay_process::{guardian, identity};
use mainstay_runtime::rollout;
use mainstay_runtime::rollout::Overrides;

use crate::run::RunOptions;

/// Default folder of modules and data below the user's home, unless VIAM_HOME or `--home` says otherwise.
const DEFAULT_HOME: &str = ".viam";

/// Runs the verb until the machine has stopped.
pub fn run(arguments: Arguments) -> ExitCode {
    // First of all, while there is one thread and next to nothing in memory.
    let guardian_link = match guardian::split() {
        Ok(Side::Guardian(code)) => return code,
        Ok(Side::Core(guardian_link)) => guardian_link,
        Err(error) => {
            let failure = CliError::wrong(format!("the system refuses to start the core's process: {error}"));
            return failure.report(arguments.json).into();
        }
    };
    match options(&arguments) {
        Ok(options) => crate::run::run(options, guardian_link, |states| {
            startup::announce(states, arguments.json)
        }),
        Err(failure) => failure.report(arguments.json).into(),
    }
}

fn options(arguments: &Arguments) -> Result<RunOptions, CliError> {
    let colour = config::colour_wanted();
    let home = home(
        arguments.home.clone(),
        std::env::var_os("VIAM_HOME").map(PathBuf::from),
        std::env::home_dir(),
    );
    let home = home
        .ok_or_else(|| CliError::usage("this user has no home folder: say where modules keep data with --home DIR"))?;
    let home = absolute(&home)?;
    let builtins = arguments.builtins.as_deref().map(absolute).transpose()?;
    let builtins = builtins.unwrap_or_else(mainstay_config::builtins::default_path);
    let given = match &arguments.config {
        Some(config) => config.clone(),
        None => {
            let found = run_arguments::find_config()?;
            note(&found.note);
            found.path
        }
    };
    let spellings = identity::spellings(&given).map_err(|error| unusable(&given, &error))?;
    let state = LastGood::open(spellings.first().unwrap_or(&given));
    let overrides = Overrides {
        bind: arguments.bind.clone(),
        debug: arguments.debug,
        web_profile: arguments.webprofile,
        no_mdns: arguments.no_mdns,
        home: home.clone(),
        builtins: BuiltinModels::at(builtins),
        part: state.part_folder().map(PartFolder::at),
        part_unread: Arc::default(),
    };
    if config::is_stdin(&given) && std::io::stdin().is_terminal() {
        note("reading the config from the terminal; end it with Ctrl-D");
    }
    let start = rollout::choose(&given, &overrides, arguments.strict, colour).map_err(|refused| {
        note(&refused);
        CliError {
            exit: Exit::Wrong,
            message: String::new(),
            code: None,
        }
    })?;
    // That something else runs than the file holds is said first.
    for text in &start.notes {
        note(text);
    }
    for diagnostic in &start.loaded.diagnostics {
        note(&diagnostic.render(colour));
    }
    Ok(RunOptions {
        given,
        spellings,
        overrides,
        start,
        home,
    })
}

/// The flag, else the variable, else the usual place.
fn home(flag: Option<PathBuf>, variable: Option<PathBuf>, user_home: Option<PathBuf>) -> Option<PathBuf> {
    let variable = variable.filter(|path| !path.as_os_str().is_empty());
    flag.or(variable)
        .or_else(|| Some(user_home.filter(|path| path.is_absolute())?.join(DEFAULT_HOME)))
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &std::io::Error) -> CliError {
    CliError::wrong(format!("`{}` cannot be used: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_goes_before_the_variable_and_that_before_the_usual_place() {
        let path = |text: &str| Some(PathBuf::from(text));
        let cases = [
            (path("/flag"), path("/variable"), path("/home/a"), path("/flag")),
            (None, path("/variable"), path("/home/a"), path("/variable")),
            (None, path(""), path("/home/a"), path("/home/a/.viam")),
            (None, None, path("/home/a"), path("/home/a/.viam")),
            (None, None, None, None),
        ];
        for (flag, variable, user_home, expected) in cases {
            assert_eq!(home(flag, variable, user_home), expected);
        }
    }
}
