//! `mainstay call`: any method of any resource, by the descriptors that the machine itself offers.

mod addressee;
mod answer;
mod blobs;
mod describe;
mod hold;
mod invoke;
mod method;
mod reflection;
mod request;
pub mod resolve;
mod stdin;
mod text;

use std::path::PathBuf;
use std::time::Duration;

use futures_core::Stream;
use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, ServiceDescriptor};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tonic::metadata::{Ascii, MetadataValue};

use crate::call::addressee::Addressee;
use crate::call::blobs::{BytesAs, FileSaver};
use crate::call::hold::{HeldSession, Hold};
use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::terminal::Style;
use crate::{human, target};

/// Limit of a question beside the call: whether something moves, and to stop it.
const SIDE_CALL: Duration = Duration::from_secs(5);
/// Pause between two looks whether something still moves.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `mainstay call`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay call left-motor                          what it can do
  mainstay call left-motor set_power '{\"power_pct\": 0.5}'
  mainstay call left-motor set_power 'power_pct: 0.5' --for 2s
  mainstay call cam get_images --out pictures/      bytes become files
  mainstay call imu get_readings --every 200ms      a line per answer
  mainstay call motor/left stop                     when two are called `left`
  mainstay call viam.robot.v1.RobotService get_version

A method that moves something holds it: with `--for` for that long, typed at a terminal until Ctrl-C or until it is at rest, \
with `--every` until Ctrl-C; then it is stopped, and the machine stops it by itself if this command or its terminal dies. In a \
script, or with `--leave-moving`, the command ends with its call, and says so if something moves on.")]
pub struct Arguments {
    /// A resource: `left`, `motor/left` or `rdk:component:motor/left`; or the full name of a service
    name: String,
    /// A method, as in the SDKs (`set_power`) or as on the wire (`SetPower`); leave it out to list them
    method: Option<String>,
    /// The request, as JSON or YAML; `-` reads it from standard input. For a stream of requests: an array, JSON values one
    /// after the other, or YAML documents
    #[arg(value_name = "REQUEST")]
    request: Option<String>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON only, one line per answer, bytes as base64; errors are JSON too
    #[arg(long)]
    pub json: bool,
    /// Write bytes (pictures, point clouds, sound) to files in this folder
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Repeat the call at this interval until Ctrl-C, for example 200ms
    #[arg(long, value_name = "DURATION", value_parser = human::parse_duration)]
    every: Option<Duration>,
    /// Move something for so long, for example 2s, and stop it then; the machine stops it if this command dies
    #[arg(long = "for", value_name = "DURATION", value_parser = human::parse_duration)]
    hold: Option<Duration>,
    /// End with the call and leave moving what it moves, at a terminal, too
    #[arg(long, conflicts_with_all = ["hold", "every"])]
    leave_moving: bool,
    /// Deadline of each call, for example 2s [default: the machine's own, 10 minutes]
    #[arg(long, value_name = "DURATION", value_parser = human::parse_duration)]
    timeout: Option<Duration>,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), a question that cannot be understood (2), or a call that failed (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    if arguments.every.is_some_and(|every| every.is_zero()) {
        return Err(CliError::usage(
            "--every needs a time above zero, for example `--every 200ms`",
        ));
    }
    if arguments.hold.is_some_and(|hold| hold.is_zero()) {
        return Err(CliError::usage("--for needs a time above zero, for example `--for 2s`"));
    }
    let target = target::find(&arguments.selector).await?;
    target.tell_if_elsewhere();
    let connection = target.connection;
    let addressee = Addressee::find(&connection, &arguments.name).await?;
    let service = reflection::service(&connection, &addressee.service).await?;
    let Some(wanted) = &arguments.method else {
        return list(&addressee, &service, arguments.json);
    };
    let method = match method::find(&service, wanted) {
        // Every resource takes commands, also where its own API does not mention them.
        Err(_) if method::same(wanted, "DoCommand") && addressee.resource.is_some() => method::find(
            &reflection::service(&connection, addressee.generic_service()).await?,
            wanted,
        )?,
        found => found?,
    };
    let moves = addressee.resource.is_some() && hold::moves(&method);
    if arguments.hold.is_some() && !moves {
        return Err(CliError::usage(format!(
            "--for is for methods that move something, and {} moves nothing",
            method::snake_case(method.name())
        )));
    }
    let hold = if moves {
        Hold::new(arguments.hold, arguments.leave_moving, arguments.every.is_some())
    } else {
        Hold::No
    };
    let session = match hold {
        Hold::No => None,
        _ => HeldSession::begin(&connection).await?,
    };
    if hold != Hold::No && session.is_none() {
        note("this machine knows no sessions: it does not notice if this command dies");
    }
    let call = Call {
        connection,
        service,
        session: session.as_ref().and_then(HeldSession::id),
        name_field: addressee.name_field(&method),
        method,
        addressee,
        limit: arguments.timeout,
    };
    let on_terminal = Style::stdout().width.is_some();
    let bytes_as = match &arguments.out {
        Some(folder) => BytesAs::Files(FileSaver::new(folder, call.addressee.short_name())?),
        None if arguments.json || !on_terminal => BytesAs::Base64,
        None => BytesAs::Note,
    };
    // One answer is laid out for reading; of many, each is a line.
    let one = !call.method.is_server_streaming() && arguments.every.is_none();
    let pretty = one && on_terminal && !arguments.json;
    let show = |message: &DynamicMessage| {
        let json = answer::to_json(message, &bytes_as)?;
        print(&shown(if pretty { format!("{json:#}") } else { json.to_string() }))
    };
    let request = arguments.request.as_deref();
    let (begun, mut has_rested) = (Instant::now(), false);
    let work = async {
        match arguments.every {
            Some(every) => call.repeat(request, every, arguments.json, &show).await,
            None => call.once(request, &show).await,
        }?;
        match hold {
            Hold::No if moves => call.tell_if_it_moves().await,
            Hold::No => {}
            _ => call.hold(hold, begun).await,
        }
        has_rested = hold != Hold::No;
        Ok::<(), CliError>(())
    };
    let over = async {
        match hold {
            Hold::For(length) => sleep_until(begun + length).await,
            _ => std::future::pending().await,
        }
    };
    let lost = async {
        match &session {
            Some(session) => session.keep().await,
            None => std::future::pending().await,
        }
    };
    let done = tokio::select! {
        done = work => done.map(|()| Exit::Done),
        () = over => Ok(Exit::Done),
        lost = lost => return Err(lost),
        // Dropping the call cancels it, all the way into the module.
        _ = tokio::signal::ctrl_c() => match (one, hold) {
            (true, Hold::No) => Err(CliError::wrong("cancelled")),
            _ => Ok(Exit::Done),
        },
    };
    match (hold, has_rested, done) {
        (Hold::No, _, done) | (_, true, done) => done,
        (_, false, Ok(exit)) => call.stop().await.map(|()| exit),
        // Whatever kept it from working comes first; the session's end stops it, too.
        (_, false, Err(failure)) => {
            let _second = call.stop().await;
            Err(failure)
        }
    }
}

/// JSON in which what would steer the terminal is escaped: JSON itself does so with the first 32 letters alone.
fn shown(json: String) -> String {
    let steers = |letter: char| letter >= '\u{7f}' && mainstay_model::text::steers(letter);
    if !json.contains(steers) {
        return json;
    }
    let escaped = |letter: char| {
        if steers(letter) {
            format!("\\u{:04x}", u32::from(letter))
        } else {
            letter.to_string()
        }
    };
    json.chars().map(escaped).collect()
}

fn list(addressee: &Addressee, service: &ServiceDescriptor, json: bool) -> Result<Exit, CliError> {
    if json {
        let mut described = describe::json(service);
        described["resource"] = addressee.resource.as_ref().map(resolve::full).into();
        print(&described.to_string())?;
        return Ok(Exit::Done);
    }
    let style = Style::stdout();
    print(&describe::heading(&addressee.full_name(), service.full_name(), style))?;
    print(&describe::lines(service, |method| addressee.name_field(method), style).join("\n"))?;
    note(&format!(
        "call one:  mainstay call {} METHOD '{{\"field\": value}}'",
        addressee.short_name()
    ));
    Ok(Exit::Done)
}

/// A method of a resource, ready to be called.
struct Call {
    connection: MachineConnection,
    addressee: Addressee,
    service: ServiceDescriptor,
    session: Option<MetadataValue<Ascii>>,
    method: MethodDescriptor,
    name_field: Option<FieldDescriptor>,
    limit: Option<Duration>,
}

impl Call {
    /// Calls another method of the same resource, which takes its name alone. `None` if its API has none of this name.
    async fn simple(&self, name: &str) -> Option<Result<DynamicMessage, CliError>> {
        let method = self.service.methods().find(|method| method.name() == name)?;
        let name_field = self.addressee.name_field(&method);
        let named = name_field.as_ref().map(|field| (field, self.addressee.short_name()));
        let request = request::build(&method.input(), &Value::Object(serde_json::Map::new()), named);
        let calling = async {
            let requests = tokio_stream::iter([request?]);
            let mut answers = invoke::start(&self.connection, &method, requests, Some(SIDE_CALL), None).await?;
            let answer = answers.message().await?;
            answer.ok_or_else(|| CliError::from(Status::internal("the call ended well but without an answer")))
        };
        Some(timeout(SIDE_CALL, calling).await.unwrap_or_else(|_| {
            let limit = human::duration(SIDE_CALL);
            Err(CliError::from(Status::deadline_exceeded(format!(
                "no answer within {limit}"
            ))))
        }))
    }

    /// Whether the resource moves, as it says; `None` if it does not say.
    async fn is_moving(&self) -> Option<bool> {
        let answer = self.simple("IsMoving").await?.ok()?;
        answer.get_field_by_name("is_moving")?.as_bool()
    }

    /// Says that something moves on without anybody who holds it.
    async fn tell_if_it_moves(&self) {
        if self.is_moving().await == Some(true) {
            let name = self.addressee.short_name();
            note(&format!(
                "{name} moves on, and nothing stops it if this terminal dies: `mainstay call {name} stop` does, and `--for 2s` moves it that long"
            ));
        }
    }

    /// Waits while something moves; its end by time or by Ctrl-C is the caller's.
    async fn hold(&self, hold: Hold, begun: Instant) {
        let name = self.addressee.short_name();
        if self.is_moving().await == Some(false) {
            return;
        }
        match hold {
            Hold::For(length) => {
                let left = (begun + length).saturating_duration_since(Instant::now());
                note(&format!(
                    "{name} moves for {}, then it is stopped",
                    human::duration(left)
                ));
            }
            _ => note(&format!(
                "{name} moves until Ctrl-C, which stops it, and so does the end of this terminal"
            )),
        }
        loop {
            sleep(LOOK).await;
            if self.is_moving().await == Some(false) {
                return;
            }
        }
    }

    /// Stops what was held.
    async fn stop(&self) -> Result<(), CliError> {
        let name = self.addressee.short_name();
        match self.simple("Stop").await {
            Some(Ok(_)) => Ok(()),
            Some(Err(failure)) => Err(CliError {
                message: format!("{name} cannot be stopped: {}", failure.message),
                ..failure
            }),
            None => {
                note(&format!("the API of {name} has no `stop`: nothing stops it but itself"));
                Ok(())
            }
        }
    }

    async fn once(
        &self,
        request: Option<&str>,
        show: &impl Fn(&DynamicMessage) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        if request != Some("-") || !self.method.is_client_streaming() {
            return self
                .answers(tokio_stream::iter(self.requests(request).await?), show)
                .await;
        }
        // What is typed goes out line by line, while answers come in.
        let (sender, receiver) = mpsc::channel(16);
        let pump = async move {
            let mut values = stdin::values();
            while let Some(value) = values.recv().await {
                if sender.send(self.message(&value?)?).await.is_err() {
                    break; // The call is over; its answer says why.
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            Err(failure) = pump => Err(failure),
            done = self.answers(ReceiverStream::new(receiver), show) => done,
        }
    }

    /// Calls until Ctrl-C. A refusal is printed and does not end it: the resource may come back.
    async fn repeat(
        &self,
        request: Option<&str>,
        every: Duration,
        json: bool,
        show: &impl Fn(&DynamicMessage) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let requests = self.requests(request).await?;
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            ticks.tick().await;
            match self.answers(tokio_stream::iter(requests.clone()), show).await {
                Err(failure) if failure.code.is_some() && !self.connection.is_closed() => {
                    failure.report(json);
                }
                done => done?,
            }
        }
    }

    async fn answers<S>(
        &self,
        requests: S,
        show: &impl Fn(&DynamicMessage) -> Result<(), CliError>,
    ) -> Result<(), CliError>
    where
        S: Stream<Item = DynamicMessage> + Send + 'static,
    {
        let calling = async {
            let mut answers = invoke::start(
                &self.connection,
                &self.method,
                requests,
                self.limit,
                self.session.as_ref(),
            )
            .await?;
            let mut none_yet = true;
            while let Some(message) = answers.message().await? {
                show(&message)?;
                none_yet = false;
            }
            if none_yet && !self.method.is_server_streaming() {
                return Err(Status::internal("the call ended well but without an answer").into());
            }
            Ok(())
        };
        let Some(limit) = self.limit else {
            return calling.await;
        };
        timeout(limit, calling).await.unwrap_or_else(|_| {
            let limit = human::duration(limit);
            Err(Status::deadline_exceeded(format!("no answer within {limit}")).into())
        })
    }

    /// Requests of the call, known before it begins.
    async fn requests(&self, request: Option<&str>) -> Result<Vec<DynamicMessage>, CliError> {
        let mut values = Vec::new();
        match request {
            None => values.push(Value::Object(serde_json::Map::new())),
            Some("-") => {
                let mut lines = stdin::values();
                while let Some(value) = lines.recv().await {
                    values.push(value?);
                }
            }
            Some(text) => values = text::parse(text)?,
        }
        if !self.method.is_client_streaming() && values.len() != 1 {
            return Err(CliError::usage(format!(
                "{} takes exactly one request, not {}",
                method::snake_case(self.method.name()),
                values.len()
            )));
        }
        values.iter().map(|value| self.message(value)).collect()
    }

    fn message(&self, value: &Value) -> Result<DynamicMessage, CliError> {
        let name = self
            .name_field
            .as_ref()
            .map(|field| (field, self.addressee.short_name()));
        request::build(&self.method.input(), value, name)
    }
}

#[cfg(test)]
mod tests;
