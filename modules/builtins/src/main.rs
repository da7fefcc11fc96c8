//! All built-in modules in one binary. Each runs as a process of its own, started like any other module: the core
//! asks the manifest which of them a config needs, and starts this binary once for each.

mod manifest;
mod memory;

use std::{env, process::ExitCode};

use mainstay_module::Module;

/// Built-in module of this binary.
struct Builtin {
    name: &'static str,
    make: fn() -> Module,
}

/// All built-in modules. A new one is added here alone; its models are those it registers.
const BUILTINS: &[Builtin] = &[Builtin {
    name: "fake",
    make: mainstay_fake::module,
}];

const HELP: &str = "\
The built-in modules of Mainstay, in one binary.

The core runs it by itself when a config uses a `rdk:builtin:…` model; there is seldom a reason to do so by hand.

Usage:
  mainstay-builtins SOCKET --builtin=NAME [--log-level=LEVEL]   run one module, listening on SOCKET
  mainstay-builtins - --builtin=NAME                            serve one connection, which standard input is
  mainstay-builtins manifest                                    print as JSON which module has which models
  mainstay-builtins --help                                      print this

Modules: ";

/// Parsed command line.
#[derive(Debug, PartialEq)]
enum Ask {
    Help,
    Manifest,
    Run(String),
}

/// Parses the arguments after the program's name. Unknown ones are left to the module.
fn parse(arguments: &[String]) -> Result<Ask, String> {
    let has = |wanted: &[&str]| arguments.iter().any(|argument| wanted.contains(&argument.as_str()));
    if has(&["--help", "-h", "help"]) {
        return Ok(Ask::Help);
    }
    match (
        arguments,
        arguments
            .iter()
            .find_map(|argument| argument.strip_prefix("--builtin=")),
    ) {
        ([only], None) if only == "manifest" => Ok(Ask::Manifest),
        ([], _) => Err("no arguments given".to_owned()),
        (_, None) => Err("no `--builtin=NAME` given".to_owned()),
        ([first, ..], Some(_)) if first.starts_with("--") => {
            Err(format!("`{first}` is where the path of the socket should be"))
        }
        (_, Some(name)) => Ok(Ask::Run(name.to_owned())),
    }
}

fn names() -> String {
    BUILTINS
        .iter()
        .map(|builtin| builtin.name)
        .collect::<Vec<_>>()
        .join(", ")
}

fn refuse(what: &str) -> ExitCode {
    eprintln!("mainstay-builtins: {what}; see `mainstay-builtins --help`");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match parse(&arguments) {
        Ok(Ask::Help) => println!("{HELP}{}", names()),
        Ok(Ask::Manifest) => println!("{}", manifest::of(BUILTINS)),
        Ok(Ask::Run(name)) => {
            return match BUILTINS.iter().find(|builtin| builtin.name == name) {
                Some(builtin) => {
                    memory::give_large_blocks_back();
                    mainstay_module::run((builtin.make)())
                }
                None => refuse(&format!("there is no built-in module `{name}`, only: {}", names())),
            };
        }
        Err(what) => return refuse(&what),
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_what_to_do() {
        let run = |name: &str| Ok(Ask::Run(name.to_owned()));
        for (arguments, expected) in [
            (&["/s.sock", "--builtin=fake"][..], run("fake")),
            (&["/s.sock", "--builtin=fake", "--log-level=debug"], run("fake")),
            (&["/s.sock", "--log-level=debug", "--builtin=x"], run("x")),
            (&["-", "--builtin=fake"], run("fake")),
            (&["manifest"], Ok(Ask::Manifest)),
            (&["--help"], Ok(Ask::Help)),
            (&["/s.sock", "-h"], Ok(Ask::Help)),
            (&["/s.sock"], Err("no `--builtin=NAME` given".to_owned())),
            (
                &["--builtin=fake"],
                Err("`--builtin=fake` is where the path of the socket should be".to_owned()),
            ),
            (&[], Err("no arguments given".to_owned())),
        ] {
            let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
            assert_eq!(parse(&arguments), expected, "for {arguments:?}");
        }
    }
}
