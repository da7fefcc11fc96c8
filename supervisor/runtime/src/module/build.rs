//! Build of a module's program (`reload: {build: …}`): a command beside the running process, guarded as that is, whose output
//! is kept with the module's.

use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_model::duration::show as show_duration;
use mainstay_model::{Build, ModuleName};
use mainstay_process::child::{Process, Spawner, describe};
use mainstay_process::launch::Launch;
use mainstay_process::orphans::Life;
use mainstay_process::sandbox::Confinement;
use nix::sys::signal::Signal;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Level;

use super::output::{ModuleOutput, Stream, Tail, drain};

const SHELL: &str = "/bin/sh";
/// Time from SIGTERM to SIGKILL for a build that nobody waits for any more, or that takes too long.
const GRACE: Duration = Duration::from_secs(3);
/// Limit for reading the pipes of an ended build: daemons that it started may have held them open.
const OUTPUT_GRACE: Duration = Duration::from_millis(200);

/// Builds of one machine.
#[derive(Debug, Default)]
pub struct Builds {
    /// Held by the one that runs: a robot's processors are few.
    turn: Mutex<()>,
    /// Those that are not cleared up yet.
    tasks: TaskTracker,
    /// The machine is shutting down.
    over: CancellationToken,
}

impl Builds {
    /// Ends the one that runs; none begins any more.
    pub fn end(&self) {
        self.over.cancel();
        self.tasks.close();
    }

    /// Returns when all that they started is gone.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

/// End of a build.
#[derive(Debug, Clone, Copy)]
enum BuildEnd {
    ByItself,
    Overdue,
    Abandoned,
}

/// Builds the program of `module` when it is its turn, and gives how long that took. Dropping the future ends the build with all
/// that it started. `key` is the name of the machine's runtime directory.
///
/// # Errors
/// What went wrong, with the last lines of the build's output.
pub async fn run(
    builds: &Builds,
    spawner: &Spawner,
    key: &str,
    module: &ModuleName,
    (build, output): (Build, ModuleOutput),
) -> Result<Duration, String> {
    let _turn = builds.turn.lock().await;
    let abandoned = builds.over.child_token();
    let _on_drop = abandoned.clone().drop_guard();
    if abandoned.is_cancelled() {
        return Err("the machine is shutting down".to_owned());
    }
    output.note(Level::INFO, &format!("building: {}", build.command));
    let launch = Launch {
        executable: SHELL.into(),
        arguments: vec!["-c".into(), build.command.clone().into()],
        env: Default::default(),
        directory: build.directory.clone(),
        unpacked: None,
        data: build.directory.clone(),
        life: Life::new(key, module, 0),
    };
    if !launch.directory.is_dir() {
        let directory = launch.directory.display();
        return Err(format!(
            "there is no folder `{directory}` to build it in (`reload.directory`)"
        ));
    }
    let begun = Instant::now();
    let spawned = spawner.spawn(launch, Confinement::default()).await;
    let process = spawned.map_err(|error| format!("cannot build it: {}", error.explain(Path::new(SHELL))))?;
    // A task of its own, so that it is ended in order even if nobody waits for it any more.
    let task = builds.tasks.spawn(attend(process, build.timeout, output, abandoned));
    let ended = task.await.map_err(|error| format!("cannot build it: {error}"))?;
    ended.map(|()| begun.elapsed())
}

/// Reads what a build prints until it ends, and clears up after it.
async fn attend(
    mut process: Process,
    timeout: Duration,
    output: ModuleOutput,
    abandoned: CancellationToken,
) -> Result<(), String> {
    let tail = output.begin_build();
    let from = tail.end();
    let mut pipes = JoinSet::new();
    let (stdout, stderr) = process.take_output().map_err(|error| error.to_string())?;
    for pipe in [stdout, stderr] {
        pipes.spawn(drain(pipe, Stream::Build, tail.clone()));
    }
    let ended = tokio::select! {
        _watched = process.passed() => BuildEnd::ByItself,
        () = tokio::time::sleep(timeout) => BuildEnd::Overdue,
        () = abandoned.cancelled() => BuildEnd::Abandoned,
    };
    if !matches!(ended, BuildEnd::ByItself) {
        process.signal_group(Signal::SIGTERM);
        let _late = tokio::time::timeout(GRACE, process.passed()).await;
    }
    let status = process.end();
    process.end_orphans().await;
    let _late = tokio::time::timeout(OUTPUT_GRACE, async { while pipes.join_next().await.is_some() {} }).await;
    let how = match (ended, status) {
        (BuildEnd::Overdue, _) => format!("still running after {} (`reload.timeout`)", show_duration(timeout)),
        (BuildEnd::Abandoned, _) => "nobody waits for it any more".to_owned(),
        (BuildEnd::ByItself, Ok(status)) if status.success() => return Ok(()),
        (BuildEnd::ByItself, Ok(status)) => describe(status),
        (BuildEnd::ByItself, Err(error)) => format!("its exit status is unknown: {error}"),
    };
    Err(failure(&how, &tail, from))
}

/// A failed build in words, with what it printed last.
fn failure(how: &str, tail: &Tail, from: u64) -> String {
    let lines = tail.of_build(from);
    let lines = lines.iter().filter(|line| !line.trim().is_empty());
    let shown: String = lines.map(|line| format!("\n  | {line}")).collect();
    format!("the build failed: {how}{shown}")
}
