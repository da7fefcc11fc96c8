//! Tests of a module process: this program starts itself again with a socket as first argument.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::{
    env,
    process::{ExitCode, ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use mainstay_module::Robot;
use mainstay_module::{Code, prelude::*};
use mainstay_proto::viam::{
    app::v1::LogConfiguration,
    module::v1::{AddResourceRequest, ReadyRequest},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{Core, config, module_client, within};
use tempfile::TempDir;
use tokio::{
    io::AsyncReadExt,
    process::{Child, Command},
};

struct Talker;

#[async_trait]
impl Resource for Talker {
    async fn do_command(&self, command: Object) -> Result<Object> {
        match command.get("panic").and_then(Value::as_str) {
            Some("here") => panic!("no such pin: {}", 7),
            Some("there") => mainstay_module::spawn_blocking(|| panic!("the bus is gone")).await,
            _ => Ok(command),
        }
    }

    async fn close(&self) {
        mainstay_module::tracing::info!("talker closed");
    }
}

impl FromConfig for Talker {
    type Attributes = ();

    async fn from_config(config: Config<()>, _: Dependencies) -> Result<Self> {
        config
            .tasks
            .spawn(async { mainstay_module::tracing::warn!(count = 3, "task began") });
        Ok(Self)
    }
}

#[async_trait]
impl Sensor for Talker {
    async fn readings(&self, _: &Object) -> Result<Object> {
        mainstay_module::tracing::debug!("asked");
        Ok(object! { "pid" => std::process::id() })
    }
}

fn main() -> ExitCode {
    let first = env::args().nth(1).unwrap_or_default();
    if first.ends_with(".sock") {
        return run(Module::new().model::<dyn Sensor, Talker>("acme:test:talker"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    macro_rules! run {
        ($($test:ident)*) => {
            $(if first.starts_with('-') || stringify!($test).contains(&first) {
                runtime.block_on($test());
                println!("test {} ... ok", stringify!($test));
            })*
        };
    }
    run! {
        logs_go_to_the_core_and_a_signal_ends_everything_in_order
        a_panic_is_an_error_in_the_log_with_resource_method_and_place
        a_module_ends_with_its_core
        a_module_without_a_core_serves_alone
        an_idle_module_is_small
        a_port_of_this_machine_is_an_address_too
        wrong_arguments_are_told
    }
    ExitCode::SUCCESS
}

struct Process {
    child: Child,
    folder: TempDir,
    address: String,
}

impl Process {
    fn start(address: impl FnOnce(&TempDir) -> String, environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = address(&folder);
        let mut command = Command::new(env::current_exe().unwrap());
        command.arg(&address).args(arguments).envs(environment.iter().copied());
        command
            .env("VIAM_MODULE_NAME", "talk")
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        #[expect(clippy::disallowed_methods, reason = "the test owns the child and kills it on drop")]
        let child = command.spawn().unwrap();
        Self { child, folder, address }
    }

    fn on_socket(environment: &[(&str, &str)], arguments: &[&str]) -> Self {
        Self::start(
            |folder| folder.path().join("m.sock").display().to_string(),
            environment,
            arguments,
        )
    }

    async fn robot(&self) -> Robot {
        within(async {
            loop {
                if let Ok(robot) = Robot::connect(&self.address).await {
                    return robot;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    async fn end(&mut self) -> (ExitStatus, String) {
        let mut stderr = String::new();
        let mut pipe = self.child.stderr.take().unwrap();
        within(pipe.read_to_string(&mut stderr)).await.unwrap();
        (within(self.child.wait()).await.unwrap(), stderr)
    }
}

async fn ready(robot: &Robot, core: &Core) {
    let parent_address = core.path.display().to_string();
    let request = ReadyRequest {
        parent_address,
        ..ReadyRequest::default()
    };
    assert!(
        within(module_client(robot).ready(request))
            .await
            .unwrap()
            .into_inner()
            .ready
    );
}

async fn add(robot: &Robot, level: &str) -> Arc<dyn Sensor> {
    let mut config = config::<dyn Sensor>("t", "acme:test:talker", object! {});
    config.log_configuration = Some(LogConfiguration {
        level: level.to_owned(),
    });
    let request = AddResourceRequest {
        config: Some(config),
        dependencies: Vec::new(),
    };
    within(module_client(robot).add_resource(request)).await.unwrap();
    robot.resource("t").unwrap()
}

async fn logs_go_to_the_core_and_a_signal_ends_everything_in_order() {
    let mut process = Process::on_socket(&[], &[]);
    let core = Core::start(&process.folder);
    let robot = process.robot().await;
    ready(&robot, &core).await;
    let sensor = add(&robot, "debug").await;
    sensor.readings(NO_EXTRA).await.unwrap();
    let asked = core.logged("asked").await;
    assert_eq!(
        (&*asked.level, &*asked.logger_name),
        ("debug", "talk.rdk:component:sensor/t")
    );
    let began = core.logged("task began").await;
    assert_eq!(
        (&*began.level, &*began.logger_name),
        ("warn", "talk.rdk:component:sensor/t")
    );
    assert_eq!(began.fields.len(), 1);

    process.signal(Signal::SIGTERM);
    let (status, stderr) = process.end().await;
    assert!(status.success(), "{status}: {stderr}");
    core.logged("talker closed").await;
    assert!(!process.folder.path().join("m.sock").exists());
    assert_eq!(stderr, "");
}

async fn a_panic_is_an_error_in_the_log_with_resource_method_and_place() {
    let mut process = Process::on_socket(&[], &[]);
    let core = Core::start(&process.folder);
    let robot = process.robot().await;
    ready(&robot, &core).await;
    let sensor = add(&robot, "").await;
    for (whence, text, told) in [
        ("here", "no such pin: 7", "panic in the module: no such pin: 7"),
        ("there", "the bus is gone", "the bus is gone"),
    ] {
        let error = sensor.do_command(object! { "panic" => whence }).await.unwrap_err();
        assert_eq!(error.code(), Code::Internal, "{error}");
        assert!(error.message().contains(told), "{error}");
        let entry = core.logged(text).await;
        assert_eq!(entry.message, format!("panic in DoCommand: {text}"));
        let place = entry.caller.unwrap_or_default().fields["File"].kind.clone();
        assert_eq!(place, Some(prost_types::value::Kind::StringValue(file!().to_owned())));
        assert_eq!(
            (&*entry.level, &*entry.logger_name),
            ("error", "talk.rdk:component:sensor/t")
        );
    }
    process.signal(Signal::SIGTERM);
    let (status, stderr) = process.end().await;
    assert!(status.success(), "{status}: {stderr}");
    // What a program prints at a panic it prints still.
    assert!(
        stderr.contains("panicked at") && stderr.contains("no such pin: 7"),
        "{stderr}"
    );
}

async fn a_module_ends_with_its_core() {
    let mut process = Process::on_socket(&[], &[]);
    let core = Core::start(&process.folder);
    let robot = process.robot().await;
    ready(&robot, &core).await;
    add(&robot, "").await;
    core.die().await;
    let (status, stderr) = process.end().await;
    assert_eq!(status.code(), Some(1));
    // Nobody takes its log any more, so it goes to stderr.
    assert!(
        stderr.contains("the core is gone") && stderr.contains("talker closed"),
        "{stderr}"
    );
}

async fn a_module_without_a_core_serves_alone() {
    let mut process = Process::on_socket(&[("VIAM_NO_MODULE_PARENT", "true")], &["--log-level=debug", "--odd"]);
    let robot = process.robot().await;
    let request = ReadyRequest {
        parent_address: "/nowhere".into(),
        ..ReadyRequest::default()
    };
    assert!(module_client(&robot).ready(request).await.unwrap().into_inner().ready);
    let sensor = add(&robot, "").await;
    assert_eq!(
        sensor.readings(NO_EXTRA).await.unwrap()["pid"],
        process.child.id().unwrap().into()
    );
    process.signal(Signal::SIGINT);
    let (status, stderr) = process.end().await;
    assert!(status.success());
    assert!(stderr.contains("DEBUG talk.rdk:component:sensor/t: asked"), "{stderr}");
}

async fn an_idle_module_is_small() {
    let mut process = Process::on_socket(&[], &[]);
    let core = Core::start(&process.folder);
    let robot = process.robot().await;
    ready(&robot, &core).await;
    add(&robot, "").await.readings(NO_EXTRA).await.unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.child.id().unwrap()));
    if let Ok(status) = status {
        let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        println!("idle module: {} {}", line("VmRSS:"), line("RssAnon:"));
        assert!(line("Threads:").ends_with("\t1"), "{}", line("Threads:"));
    }
    process.signal(Signal::SIGTERM);
    process.end().await;
}

async fn a_port_of_this_machine_is_an_address_too() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{port}");
    let module = Module::new().model::<dyn Sensor, Talker>("acme:test:talker");
    let running = module.start(&address).await.unwrap();
    let robot = Robot::connect(&address).await.unwrap();
    ready(&robot, &Core::start(&folder)).await;
    assert!(add(&robot, "").await.readings(NO_EXTRA).await.is_ok());
    within(running.stop()).await;
    let error = robot
        .resource::<dyn Sensor>("t")
        .unwrap()
        .readings(NO_EXTRA)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Unavailable, "{error}");
}

async fn wrong_arguments_are_told() {
    let mut process = Process::start(|_| "/no/such/folder/m.sock".into(), &[], &[]);
    let (status, stderr) = process.end().await;
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.contains("cannot listen on /no/such/folder/m.sock: No such file or directory"),
        "{stderr}"
    );
}
