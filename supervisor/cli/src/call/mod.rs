//! `mainstay call`: any method of any resource, by the descriptors that the machine itself offers.

mod addressee;
mod answer;
mod blobs;
mod describe;
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
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::call::addressee::Addressee;
use crate::call::blobs::{BytesAs, FileSaver};
use crate::connection::MachineConnection;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::target::MachineSelector;
use crate::terminal::Style;
use crate::{human, target};

/// Arguments of `mainstay call`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay call left-motor                          what it can do
  mainstay call left-motor set_power '{\"power_pct\": 0.5}'
  mainstay call left-motor set_power 'power_pct: 0.5'
  mainstay call cam get_images --out pictures/      bytes become files
  mainstay call imu get_readings --every 200ms      a line per answer
  mainstay call motor/left stop                     when two are called `left`
  mainstay call viam.robot.v1.RobotService get_version")]
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
    let connection = target::find(&arguments.selector).await?.connection;
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
    let call = Call {
        connection,
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
        print(&if pretty { format!("{json:#}") } else { json.to_string() })
    };
    let request = arguments.request.as_deref();
    let work = async {
        match arguments.every {
            Some(every) => call.repeat(request, every, arguments.json, &show).await,
            None => call.once(request, &show).await,
        }
    };
    tokio::select! {
        done = work => done.map(|()| Exit::Done),
        // Dropping the call cancels it, all the way into the module.
        _ = tokio::signal::ctrl_c() => if one { Err(CliError::wrong("cancelled")) } else { Ok(Exit::Done) },
    }
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
    method: MethodDescriptor,
    name_field: Option<FieldDescriptor>,
    limit: Option<Duration>,
}

impl Call {
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
            let mut answers = invoke::start(&self.connection, &self.method, requests, self.limit).await?;
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
