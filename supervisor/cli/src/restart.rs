//! `mainstay restart MODULE` and `mainstay reload MODULE`: a new process for a module, and how that went.

use std::time::{Duration, Instant};

use mainstay_model::suggest::nearest;
use mainstay_proto::mainstay::control::v1::{GetStatusRequest, Module, ReloadModuleRequest};
use mainstay_proto::viam::robot::v1::RestartModuleRequest;
use mainstay_proto::viam::robot::v1::restart_module_request::IdOrName;
use serde_json::json;
use tonic::{Code, Status};

use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::selector::MachineSelector;
use crate::target::Target;
use crate::{human, target};

/// Arguments of `mainstay restart`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay restart acme-lidar       its resources are closed first and rebuilt afterwards
  mainstay restart builtin:fake     a built-in module, named as in `mainstay status`

A restart resets the growing pauses after failures (back-off). A local tarball is unpacked again.")]
pub struct RestartArguments {
    /// Name of the module, as in `mainstay status`
    module: String,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `mainstay reload`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  cargo build && mainstay reload acme-lidar
  mainstay reload acme-lidar --force      restart it even if its program is unchanged

Where the module's config entry has `reload: {build: COMMAND}`, that command is run first, and the old process runs on until \
it has succeeded. With `watch: true`, or `watch: [PATHS]`, in the entry all this happens by itself.")]
pub struct ReloadArguments {
    /// Name of the module, as in `mainstay status`
    module: String,
    #[command(flatten)]
    selector: MachineSelector,
    /// Restart the module even if its program is unchanged
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Runs `mainstay restart`.
///
/// # Errors
/// No machine (3), no such module, or one that did not become ready (1).
pub async fn restart(arguments: RestartArguments) -> Result<Exit, CliError> {
    let target = target::find(&arguments.selector).await?;
    target.tell_if_elsewhere();
    let request = RestartModuleRequest {
        id_or_name: Some(IdOrName::ModuleName(arguments.module.clone())),
    };
    let mut robot = target.connection.robot();
    let restarted = async { robot.restart_module(request).await.map(|_| RestartResult::default()) };
    report(&target, &arguments.module, arguments.json, restarted).await
}

/// Runs `mainstay reload`.
///
/// # Errors
/// No machine (3), no such module, or one that did not become ready (1).
pub async fn reload(arguments: ReloadArguments) -> Result<Exit, CliError> {
    let target = target::find(&arguments.selector).await?;
    target.tell_if_elsewhere();
    let request = ReloadModuleRequest {
        name: arguments.module.clone(),
        force: arguments.force,
    };
    let mut control = target.control("reload").await?;
    let restarted = async {
        let answer = control.reload_module(request).await?.into_inner();
        Ok(RestartResult {
            built: answer.built.and_then(|built| built.try_into().ok()),
            unchanged: (!answer.restarted).then_some(answer.unchanged),
        })
    };
    report(&target, &arguments.module, arguments.json, restarted).await
}

/// Success of a restart or reload.
#[derive(Debug, Default)]
struct RestartResult {
    /// Time that the build took, if there was one.
    built: Option<Duration>,
    /// What was found unchanged, so that nothing was restarted.
    unchanged: Option<String>,
}

/// Waits for the machine's answer, and says how that went.
async fn report(
    target: &Target,
    module: &str,
    json: bool,
    restarted: impl Future<Output = Result<RestartResult, Status>>,
) -> Result<Exit, CliError> {
    let begun = Instant::now();
    match restarted.await {
        Ok(result) => {
            let took = begun.elapsed().saturating_sub(result.built.unwrap_or_default());
            print(&result.show(module, took, json))?;
            Ok(Exit::Done)
        }
        Err(status) => Err(failure(target, module, status).await),
    }
}

impl RestartResult {
    /// The result: ready `took` after the build, or nothing was done, because all is as it was.
    fn show(&self, module: &str, took: Duration, as_json: bool) -> String {
        if as_json {
            let ms = |took: Duration| u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            return json!({
                "module": module,
                "restarted": self.unchanged.is_none(),
                "ready_ms": self.unchanged.is_none().then(|| ms(took)),
                "built_ms": self.built.map(ms),
            })
            .to_string();
        }
        let built = self.built.map(|built| format!("built in {}, ", human::duration(built)));
        let built = built.unwrap_or_default();
        match &self.unchanged {
            None => format!("{built}ready in {}", human::duration(took)),
            Some(what) => {
                format!("{built}nothing to do: unchanged on the disk: {what} (`--force` restarts it all the same)")
            }
        }
    }
}

/// CliError from the machine's answer, with what it knows about the module.
async fn failure(target: &Target, module: &str, status: Status) -> CliError {
    // Who is no owner of a machine on the network has its answer alone.
    let modules = match target.control("restart").await {
        Ok(mut control) => control
            .get_status(GetStatusRequest {})
            .await
            .map(|answer| answer.into_inner().modules)
            .unwrap_or_default(),
        Err(_) => Vec::new(),
    };
    in_words(&modules, module, status)
}

/// Beginnings of causes in the words of the wire, of which the status has our own.
const WIRE: [&str; 2] = ["error adding module ", "module has unexpectedly exited"];

fn in_words(modules: &[Module], module: &str, status: Status) -> CliError {
    let known = modules.iter().find(|known| known.name == module);
    if status.code() == Code::NotFound && known.is_none() && !modules.is_empty() {
        let names: Vec<&str> = modules.iter().map(|known| known.name.as_str()).collect();
        let cure = match nearest(module, names.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are: {}", names.join(", ")),
        };
        return CliError::wrong(format!("no module `{module}` on this machine; {cure}"));
    }
    let mut failure = CliError::from(status);
    if let Some(cause) = failure
        .message
        .strip_prefix(&format!("while restarting module id=, name={module}: "))
    {
        let last = known.and_then(|known| known.last.lines().next());
        let own = last.filter(|_| WIRE.iter().any(|words| cause.starts_with(words)));
        failure = CliError::wrong(format!("module `{module}`: {}", own.unwrap_or(cause)));
    }
    let printed = known.map(|known| known.last.lines().skip(1)).into_iter().flatten();
    let printed: String = printed.map(|line| format!("\n  | {line}")).collect();
    if !printed.is_empty() {
        failure.message += "\n  last output:";
        failure.message += &printed;
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_says_how_long_it_took_or_why_nothing_was_done() {
        let took = Duration::from_millis(410);
        let restarted = RestartResult::default();
        assert_eq!(restarted.show("lidar", took, false), "ready in 410 ms");
        assert_eq!(
            restarted.show("lidar", took, true),
            r#"{"module":"lidar","restarted":true,"ready_ms":410,"built_ms":null}"#
        );
        let same = RestartResult {
            built: Some(Duration::from_millis(3200)),
            unchanged: Some("the program".into()),
        };
        let shown = same.show("lidar", took, false);
        assert!(
            shown.starts_with("built in 3.2 s, nothing to do") && shown.contains("the program (`--force`"),
            "{shown}"
        );
        assert_eq!(
            same.show("lidar", took, true),
            r#"{"module":"lidar","restarted":false,"ready_ms":null,"built_ms":3200}"#
        );
    }

    #[test]
    fn a_failure_shows_the_last_output_and_a_wrong_name_the_right_one() {
        let module = |name: &str, last: &str| Module {
            name: name.into(),
            last: last.into(),
            ..Module::default()
        };
        let modules = [
            module("lidar", "exit code 2\nTraceback\nno smbus2"),
            module("wheels", ""),
        ];
        let failed = in_words(&modules, "lidar", Status::unknown("it fell"));
        assert_eq!(failed.message, "it fell\n  last output:\n  | Traceback\n  | no smbus2");
        assert_eq!(failed.exit, Exit::Wrong);
        let mistyped = in_words(&modules, "lidr", Status::not_found("module not found with id="));
        assert!(
            mistyped.message.contains("did you mean `lidar`?"),
            "{}",
            mistyped.message
        );
        let wire = "while restarting module id=, name=lidar: error adding module lidar: it exited too quickly";
        let failed = in_words(&modules, "lidar", Status::unknown(wire));
        assert!(
            failed.message.starts_with("module `lidar`: exit code 2\n"),
            "{}",
            failed.message
        );
        assert_eq!(failed.code, None);
        let built = "while restarting module id=, name=lidar: the build failed: exit code 1";
        let failed = in_words(&modules[..0], "lidar", Status::unknown(built));
        assert_eq!(failed.message, "module `lidar`: the build failed: exit code 1");
        let far = in_words(&[], "lidar", Status::not_found("module not found"));
        assert_eq!(far.message, "module not found");
    }
}
