//! The core's own calls to a module about one resource: ValidateConfig, AddResource, RemoveResource.

use std::time::Duration;

use mainstay_model::ModuleName;
use mainstay_model::dependencies::Declared;
use mainstay_model::failure::Failure;
use mainstay_proto::frames::MAX_MESSAGE_LEN;
use mainstay_proto::viam::app::v1::ComponentConfig;
use mainstay_proto::viam::module::v1::module_service_client::ModuleServiceClient;
use mainstay_proto::viam::module::v1::{AddResourceRequest, RemoveResourceRequest, ValidateConfigRequest};
use mainstay_proto::{ResourceName, validate_warnings};
use mainstay_proxy::status::CallError;
use mainstay_proxy::upstream::Upstream;
use mainstay_wire::entry::declared;
use tonic::{Code, Request, Response, Status};

/// Limit for ValidateConfig, where nothing else keeps the module busy.
pub const VALIDATE_TIMEOUT: Duration = Duration::from_secs(5);
/// Limit for building one resource, unless `VIAM_RESOURCE_CONFIGURATION_TIMEOUT` says otherwise.
pub const BUILD_TIMEOUT: Duration = Duration::from_secs(2 * 60);
/// Limit for taking one resource out.
pub const REMOVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit for a sign of life from a module that is about to end. A module that has not answered by then is ended with what it
/// holds, so that a frozen one costs little more than its own grace.
const ALIVE_TIMEOUT: Duration = Duration::from_millis(1_500);
/// Pause before it is asked again.
const ALIVE_PAUSE: Duration = Duration::from_millis(500);

fn client(upstream: Upstream) -> ModuleServiceClient<Upstream> {
    ModuleServiceClient::new(upstream)
        .max_decoding_message_size(MAX_MESSAGE_LEN)
        .max_encoding_message_size(MAX_MESSAGE_LEN)
}

/// Ends a call that the module does not answer, and sends the limit to the module as the call's deadline.
async fn within<T, F>(limit: Duration, call: impl FnOnce(Duration) -> F) -> Result<Response<T>, Status>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let answer = tokio::time::timeout(limit, call(limit)).await;
    answer.unwrap_or_else(|_elapsed| Err(CallError::DeadlineExceeded.into()))
}

fn timed<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}

/// A module's answer about a config that is not that it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleRefusal {
    /// Text of the failure.
    pub failure: Failure,
    /// True if the module has no answer at the moment: it was too slow, or has too much to do.
    pub transient: bool,
}

impl ModuleRefusal {
    /// The module names a dependency without a name.
    fn nameless(module: Option<&ModuleName>) -> Self {
        let who = module.map_or("its module".to_owned(), |name| format!("module {name}"));
        let problem =
            format!("{who} says that it needs a resource with an empty name: an attribute that holds one is empty");
        Self {
            failure: Failure {
                message: problem.as_str().into(),
                wire: format!("modular resource config validation error: {problem}").into(),
            },
            transient: false,
        }
    }

    /// The entry cannot even be sent.
    pub fn unsendable(problem: impl std::fmt::Display) -> Self {
        Self {
            failure: Failure {
                message: problem.to_string().into(),
                wire: format!("resource config validation error: {problem}").into(),
            },
            transient: false,
        }
    }
}

/// Asks the module what it thinks of a config. A module without validation finds everything good.
pub async fn validate(
    module: Option<&ModuleName>,
    upstream: Upstream,
    config: ComponentConfig,
    limit: Duration,
) -> Result<Declared, ModuleRefusal> {
    let of = format!("{}/{}", config.api, config.name);
    let answer = within(limit, |limit| async move {
        client(upstream)
            .validate_config(timed(ValidateConfigRequest { config: Some(config) }, limit))
            .await
    });
    match answer.await {
        Ok(answer) => {
            let warnings = validate_warnings(answer.metadata());
            declared(answer.into_inner(), warnings).ok_or_else(|| ModuleRefusal::nameless(module))
        }
        Err(status) if status.code() == Code::Unimplemented => Ok(Declared::default()),
        Err(status) => Err(ModuleRefusal {
            failure: Failure {
                message: failure_text("refuses its config", &of, &status, limit).into(),
                wire: format!("modular resource config validation error: {}", rpc_error(&status)).into(),
            },
            transient: matches!(
                status.code(),
                Code::DeadlineExceeded | Code::Unavailable | Code::ResourceExhausted | Code::Cancelled
            ),
        }),
    }
}

/// Builds a resource. `tainted`: an earlier try may have left something under this name, which has to go first.
pub async fn add(
    upstream: Upstream,
    name: ResourceName,
    config: ComponentConfig,
    dependencies: Vec<String>,
    tainted: bool,
    limit: Duration,
) -> Result<(), Failure> {
    let of = name.to_string();
    let answer = within(limit, |limit| async move {
        if tainted {
            // "Not found" is the usual answer; what matters is that the name is free afterwards.
            let request = timed(RemoveResourceRequest { name: name.to_string() }, limit);
            let _free = client(upstream.clone()).remove_resource(request).await;
        }
        client(upstream)
            .add_resource(timed(
                AddResourceRequest {
                    config: Some(config),
                    dependencies,
                },
                limit,
            ))
            .await
    });
    answer.await.map(|_added| ()).map_err(|status| Failure {
        message: failure_text("cannot build it", &of, &status, limit).into(),
        wire: format!("resource build error: {}", rpc_error(&status)).into(),
    })
}

/// Takes a resource out of its module; one that the module does not know is out already.
pub async fn remove(upstream: Upstream, name: &ResourceName, limit: Duration) -> Result<(), Status> {
    let request = RemoveResourceRequest { name: name.to_string() };
    let answer = within(limit, |limit| async move {
        client(upstream).remove_resource(timed(request, limit)).await
    });
    match answer.await {
        Err(status) if status.code() != Code::NotFound => Err(status),
        _ => Ok(()),
    }
}

/// Waits until a module answers nothing any more. It is asked for a method that nobody has, which all that live refuse
/// at once, whatever else they do. False if its connection ended before that: then there is nothing to wait for.
pub async fn falls_silent(upstream: Upstream) -> bool {
    loop {
        match tokio::time::timeout(ALIVE_TIMEOUT, upstream.ping()).await {
            Err(_elapsed) => return true,
            Ok(Err(_ended)) => return false,
            Ok(Ok(())) => {}
        }
        if tokio::time::timeout(ALIVE_PAUSE, upstream.closed()).await.is_ok() {
            return false;
        }
    }
}

/// Failure of a call for people: what the module did, and what it said about it, without the name of the resource, behind
/// which it is shown.
fn failure_text(did: &str, of: &str, status: &Status, limit: Duration) -> String {
    let message = status.message();
    let unnamed = message.strip_prefix(of).and_then(|rest| rest.strip_prefix(": "));
    match (status.code(), unnamed.unwrap_or(message)) {
        (Code::DeadlineExceeded, _) => format!("its module gave no answer within {limit:?}"),
        (code, "") => format!("its module {did}: {code}"),
        (_, message) => format!("its module {did}: {message}"),
    }
}

/// A status in the form that Viam's tools show and match: `rpc error: code = Unknown desc = …`, with Go's names of the codes.
fn rpc_error(status: &Status) -> String {
    let code = match status.code() {
        Code::Ok => "OK".to_owned(),
        Code::Cancelled => "Canceled".to_owned(),
        code => format!("{code:?}"),
    };
    format!("rpc error: code = {code} desc = {}", status.message())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_what_a_module_said_without_the_name_of_the_resource() {
        for (code, message, expected) in [
            (Code::Internal, "a:b:c/x: no power", "its module fails: no power"),
            (
                Code::Internal,
                "a:b:c/xy: no power",
                "its module fails: a:b:c/xy: no power",
            ),
            (Code::DeadlineExceeded, "late", "its module gave no answer within 2s"),
            (
                Code::NotFound,
                "",
                "its module fails: Some requested entity was not found",
            ),
        ] {
            let text = failure_text("fails", "a:b:c/x", &Status::new(code, message), Duration::from_secs(2));
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn codes_have_the_names_that_viams_tools_match() {
        let names: Vec<_> = (0..17)
            .map(|number| rpc_error(&Status::new(Code::from_i32(number), "")))
            .map(|text| text["rpc error: code = ".len()..].replace(" desc = ", ""))
            .collect();
        assert_eq!(
            names.join(" "),
            "OK Canceled Unknown InvalidArgument DeadlineExceeded NotFound AlreadyExists PermissionDenied \
             ResourceExhausted FailedPrecondition Aborted OutOfRange Unimplemented Internal Unavailable DataLoss \
             Unauthenticated"
        );
    }
}
