//! Real `mainstay run CONFIG` process with its own folders, and checks that it leaves nothing behind.
//!
//! Every process of a world has a mark in its environment, so that leaked descendants are found. The machine's output is
//! printed if the test fails.

use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use mainstay_proto::mainstay::control::v1 as control;
use mainstay_proto::viam::robot::v1 as robot;
use nix::sys::signal::Signal;
use prost::Message;
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};

use crate::echo::echo_service_client::EchoServiceClient;
use crate::echo::{CallParentRequest, ReportRequest, ReportResponse};
use crate::machine::Machine;
use crate::place::{exit_code, text};
use crate::proc::{self, Process, eventually};
use crate::rpc;
use crate::status::Snapshot;

pub use crate::place::{Finished, Place, finish};

/// Timeout of every wait in tests. Generous, because test machines are slow; a passing test never waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Running machine. Dropping it kills all its processes.
pub struct World {
    /// Folders of the machine.
    pub place: Place,
    child: Child,
    config: PathBuf,
    address: String,
    core: i32,
    shown: bool,
    cgroups: Vec<PathBuf>,
    /// The CA that connections of TLS trust.
    ca: Option<String>,
}

impl World {
    /// Waits until the machine that `child` runs from the config at `path` accepts calls, and returns it.
    pub(crate) async fn of(place: Place, child: Child, path: &Path) -> Self {
        let mut world = Self {
            place,
            child,
            config: path.to_owned(),
            address: String::new(),
            core: 0,
            shown: false,
            cgroups: Vec::new(),
            ca: None,
        };
        world.await_address().await;
        world
    }

    /// Starts the machine and waits until it accepts calls; its plan may still be running.
    pub async fn start(machine: Machine) -> Self {
        Place::new().start(machine).await
    }

    /// Starts the machine and waits until its start-up plan has finished.
    pub async fn settled(machine: Machine) -> Self {
        let mut world = Self::start(machine).await;
        world.until(Snapshot::running).await;
        world
    }

    /// Returns the address for clients, as `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the process id of the core.
    pub fn pid(&self) -> i32 {
        self.core
    }

    /// Returns the process id of the guardian, the process that a shell would have started.
    pub fn guardian(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids are small")
    }

    /// The config file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Writes a new config into its file, in place, as `echo … > FILE` does.
    pub fn rewrite(&self, machine: &Machine) {
        self.rewrite_text(&text(machine));
    }

    /// Writes a text into the config file, in place.
    pub fn rewrite_text(&self, content: &str) {
        fs::write(&self.config, content).expect("the config can be written");
    }

    /// Replaces the config file by rename, as editors do.
    pub fn replace(&self, machine: &Machine) {
        let beside = self.config.with_extension("new");
        fs::write(&beside, text(machine)).expect("the folder can be written");
        fs::rename(&beside, &self.config).expect("the config can be replaced");
    }

    /// Sets the address for clients of this world.
    pub fn moved_to(&mut self, address: &str) {
        address.clone_into(&mut self.address);
    }

    /// Makes all connections to its TCP port from now on ones of TLS, which trust this CA, in PEM; without one, cleartext.
    pub fn trust(&mut self, ca: Option<&str>) {
        self.ca = ca.map(str::to_owned);
    }

    /// Creates a channel to its TCP port, which connects at the first call.
    pub fn channel(&self) -> Channel {
        let endpoint = |scheme| Endpoint::from_shared(format!("{scheme}://{}", self.address)).expect("host:port");
        let Some(ca) = &self.ca else {
            return endpoint("http").connect_lazy();
        };
        let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca));
        let secure = endpoint("https").tls_config(tls.domain_name("localhost"));
        secure.expect("a certificate").connect_lazy()
    }

    /// Makes a unary call through its TCP port, on a new connection.
    ///
    /// # Errors
    /// The machine's status.
    pub async fn call<Q: Message, A: Message + Default>(&self, path: &str, request: &Q) -> Result<A, tonic::Status> {
        rpc::call(self.channel(), path, request).await
    }

    /// Creates a client of the tests' custom API, on a new connection.
    pub fn echo(&self) -> EchoServiceClient<Channel> {
        EchoServiceClient::new(self.channel())
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    /// Fetches the journal of the fixture's resource `name`.
    pub async fn report(&self, name: &str) -> ReportResponse {
        let answer = self.echo().report(ReportRequest { name: name.to_owned() }).await;
        answer.expect("the fixture reports").into_inner()
    }

    /// Waits until the journal of the fixture's resource `name` satisfies `condition`.
    pub async fn until_report(&self, name: &str, condition: impl Fn(&ReportResponse) -> bool) -> ReportResponse {
        let end = Instant::now() + PATIENCE;
        loop {
            let report = self.report(name).await;
            if condition(&report) {
                return report;
            }
            assert!(Instant::now() < end, "not as expected after {PATIENCE:?}: {report:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Makes the module of the echo resource `name` call its parent socket.
    ///
    /// # Errors
    /// The status returned by the parent socket.
    pub async fn from_module<Q: Message, A: Message + Default>(
        &self,
        name: &str,
        method: &str,
        request: &Q,
    ) -> Result<A, tonic::Status> {
        let request = CallParentRequest {
            name: name.to_owned(),
            method: method.to_owned(),
            request: request.encode_to_vec().into(),
            ..CallParentRequest::default()
        };
        let answer = self.echo().call_parent(request).await?.into_inner();
        match Code::from_i32(answer.code) {
            Code::Ok => Ok(A::decode(answer.response).expect("a readable answer")),
            code => Err(tonic::Status::new(code, answer.message)),
        }
    }

    /// Creates a channel to its control socket, which connects at the first call.
    pub fn control(&self) -> Channel {
        let socket = self.control_socket();
        rpc::unix(socket.expect("a running machine has a control socket"))
    }

    fn control_socket(&self) -> Option<PathBuf> {
        self.place
            .runtime_folders()
            .into_iter()
            .map(|folder| folder.join("control.sock"))
            .find(|path| path.exists())
    }

    async fn await_address(&mut self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            self.assert_running();
            // One that an earlier machine left may be put away at any moment.
            if let Some(socket) = self.control_socket()
                && let Ok(status) = status_over(rpc::unix(&socket)).await
                && let Some(listener) = status.listeners.first()
            {
                self.address.clone_from(&listener.address);
                self.ca = (!listener.tls.is_empty()).then(|| self.own_ca()).flatten();
                self.core = i32::try_from(status.pid).expect("process ids are small");
                self.cgroups = self.place.noted_cgroups();
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("`mainstay run` did not offer a control socket with an address within {PATIENCE:?}");
    }

    /// The CA that `mainstay keys init` made for this config, in PEM.
    fn own_ca(&self) -> Option<String> {
        let stem = self.config.file_stem()?.to_str()?;
        let folders = fs::read_dir(self.place.file("state/keys")).ok()?.flatten();
        let mut own = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&format!("{stem}-")));
        fs::read_to_string(own.next()?.path().join("ca.pem")).ok()
    }

    fn assert_running(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the child is ours") {
            panic!("`mainstay run` ended by itself: {status}");
        }
    }

    async fn control_status(&self) -> Result<control::Status, tonic::Status> {
        status_over(self.control()).await
    }

    /// Returns the number of tasks in the core, including the one that handles this call and that of its connection.
    pub async fn tasks(&self) -> usize {
        let status = self.control_status().await.expect("GetStatus answers at any time");
        usize::try_from(status.tasks).expect("as many as fit into memory")
    }

    /// Fetches the machine's current status.
    pub async fn snapshot(&self) -> Snapshot {
        let path = "/viam.robot.v1.RobotService/GetMachineStatus";
        // Over a socket that asks nobody who they are.
        let machine = rpc::call(self.control(), path, &robot::GetMachineStatusRequest::default()).await;
        Snapshot {
            machine: machine.expect("GetMachineStatus answers at any time"),
            control: self.control_status().await.expect("GetStatus answers at any time"),
        }
    }

    /// Waits until the machine's status satisfies `condition`, and returns it.
    pub async fn until(&mut self, condition: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let end = Instant::now() + PATIENCE;
        loop {
            self.assert_running();
            let snapshot = self.snapshot().await;
            if condition(&snapshot) {
                return snapshot;
            }
            assert!(
                Instant::now() < end,
                "not as expected after {PATIENCE:?}:\n{snapshot:?}"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Runs the command line against this machine to its end.
    pub async fn cli(&self, arguments: &[&str]) -> Finished {
        self.place.mainstay(arguments).await
    }

    /// Starts the command line beside this machine, its output piped.
    pub fn start_cli(&self, arguments: &[&str]) -> Child {
        let mut command = self.place.command(&crate::bins::mainstay());
        command.args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the command line starts")
    }

    /// Returns the machine's output so far, stdout and stderr.
    pub fn output(&self) -> String {
        let read = |name| fs::read(self.place.file(name)).unwrap_or_default();
        String::from_utf8_lossy(&[read("out.log"), read("err.log")].concat()).into_owned()
    }

    /// Waits until the machine has printed `text`.
    pub async fn until_printed(&self, text: &str) {
        assert!(
            eventually(PATIENCE, || self.output().contains(text)).await,
            "`{text}` was never printed"
        );
    }

    /// Stops the machine with SIGTERM and returns its leftovers.
    pub async fn shutdown(self) -> Remains {
        self.stop_with(Signal::SIGTERM).await
    }

    /// Sends a signal, waits for the end and returns the leftovers.
    pub async fn stop_with(mut self, signal: Signal) -> Remains {
        proc::signal(self.guardian(), signal);
        self.ended().await
    }

    /// Waits for the end of a machine that is stopping already, and returns its leftovers.
    pub async fn ended(&mut self) -> Remains {
        let begun = Instant::now();
        let child = &mut self.child;
        let mut status = None;
        let ended = eventually(PATIENCE, || {
            status = child.try_wait().expect("the child is ours");
            status.is_some()
        });
        assert!(ended.await, "still not stopped after {PATIENCE:?}");
        let took = begun.elapsed();
        // A killed process is gone a moment after the signal, not at it.
        eventually(Duration::from_millis(500), || self.place.processes().is_empty()).await;
        Remains {
            code: status.map_or(-1, exit_code),
            took,
            processes: self.place.processes(),
            sockets: self.place.sockets(),
            folders: self.place.runtime_folders(),
            cgroups: self.cgroups.iter().filter(|path| path.exists()).cloned().collect(),
        }
    }

    /// Stops the machine, to be started again.
    pub async fn stop_core(&mut self) {
        proc::signal(self.guardian(), Signal::SIGTERM);
        let _remains = self.ended().await;
    }

    /// Starts the stopped machine from its config file, which may be missing.
    pub async fn restart_as_it_is(mut self) -> Self {
        let place = std::mem::take(&mut self.place);
        place.start_file(&self.config.clone()).await
    }

    /// Starts the stopped machine with the same config once more.
    pub async fn restart(mut self) -> Self {
        // What lives on of the dead machine is left to the next one: our own drop looks at the empty new place, and at no
        // cgroup, because the next machine's are called the same.
        let place = std::mem::take(&mut self.place);
        self.cgroups.clear();
        let text = fs::read_to_string(&self.config).expect("the config was written");
        let name = self
            .config
            .file_name()
            .and_then(|name| name.to_str())
            .expect("the config has a name")
            .to_owned();
        place.start_text(&name, &text).await
    }

    fn show(&mut self) {
        if !std::mem::replace(&mut self.shown, true) {
            eprintln!("--- what the machine printed ---\n{}--- end of it ---", self.output());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The core first, which would start others anew. Then whatever was being started meanwhile.
        if self.core > 0 && proc::alive(self.core) {
            proc::signal(self.core, Signal::SIGKILL);
        }
        for _ in 0..10 {
            let living = self.place.processes();
            if living.is_empty() {
                break;
            }
            for process in living {
                proc::signal(process.pid, Signal::SIGKILL);
            }
        }
        // Core and guardian died together, so nobody else does it.
        for cgroup in &self.cgroups {
            for life in fs::read_dir(cgroup).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(life.path());
            }
            let _ = fs::remove_dir(cgroup);
        }
    }
}

/// Leftovers of an ended machine.
#[derive(Debug)]
#[must_use = "ask whether something was left behind"]
pub struct Remains {
    /// Exit code; 128 + signal if one ended it.
    pub code: i32,
    /// Duration of the shutdown.
    pub took: Duration,
    /// Living processes.
    pub processes: Vec<Process>,
    /// Socket files.
    pub sockets: Vec<PathBuf>,
    /// Runtime folders.
    pub folders: Vec<PathBuf>,
    /// Cgroups.
    pub cgroups: Vec<PathBuf>,
}

impl Remains {
    /// Fails the test if a process, a socket, a runtime folder or a cgroup is left.
    pub fn left_nothing_behind(&self) -> &Self {
        self.empty("processes", &self.processes)
            .empty("sockets", &self.sockets)
            .empty("runtime folders", &self.folders)
            .empty("cgroups", &self.cgroups)
    }

    /// Fails the test if the exit code was not this one.
    pub fn with_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, code, "exit code");
        self
    }

    fn empty<T: Debug>(&self, what: &str, left: &[T]) -> &Self {
        assert!(left.is_empty(), "{what} left behind: {left:#?}");
        self
    }
}

async fn status_over(control: Channel) -> Result<control::Status, tonic::Status> {
    let path = "/mainstay.control.v1.ControlService/GetStatus";
    rpc::call(control, path, &control::GetStatusRequest::default()).await
}
