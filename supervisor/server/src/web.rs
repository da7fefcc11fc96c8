//! Pages below `/debug/`, for whoever looks for a fault with a browser or `curl`: served while `enable_web_profile` is
//! true, to whoever reaches the port. And `/restart_status`, which agents on this host ask before they restart or replace us.

use std::os::unix::ffi::OsStrExt as _;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Response, StatusCode, Uri};
use mainstay_proxy::body::CallBody;
use mainstay_wire::diagram;
use serde_json::json;

use crate::control::Control;

/// The answer while the pages are not served.
const OFF: &str = "\
This page is off. `enable_web_profile: true` in the machine's config turns it on, while it runs;
so does `--webprofile` at its start.
";

const INDEX: &str = "\
/debug/graph            which resource needs which, for Graphviz
/debug/graph?format=mermaid, ?format=json
/debug/pprof/cmdline    how this process was started; a zero byte after each argument
/debug/pprof/profile, trace, heap, allocs, goroutine, threadcreate, block, mutex, symbol
                        say what to use instead: this is no Go program, and it does not sample itself
";

/// Page for agents.
const RESTART_STATUS: &str = "/restart_status";

/// Page that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DebugPage {
    Index,
    CommandLine,
    Graph(GraphFormat),
    /// Page of something that this process cannot tell, and what can.
    UnavailableProfile(UnavailableProfile),
    /// No such way to show the graph.
    BadFormat,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GraphFormat {
    Dot,
    Mermaid,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnavailableProfile {
    Time,
    Memory,
    Threads,
    Symbols,
}

impl UnavailableProfile {
    /// Text on the way to look at process `pid` from outside.
    fn text(self, pid: u32) -> String {
        match self {
            Self::Time => format!(
                "This process does not sample itself: the signals that this takes would disturb its calls. From outside it \
                 costs nothing until somebody looks:\n\n\
                 perf record -g -p {pid} -- sleep 30 && perf report\n\n\
                 Where the time of single calls goes, modules included: `tracing` in the machine's config.\n"
            ),
            Self::Memory => format!(
                "Nobody records what this process allocates. How much it has: `mainstay status`, \
                 /proc/{pid}/smaps_rollup. What has it:\n\n\
                 heaptrack -p {pid}\n"
            ),
            Self::Threads => format!(
                "There are no goroutines here. Calls that never return are named by `mainstay status`, and modules that \
                 hang by `mainstay explain MODULE`. What every thread of this process does:\n\n\
                 gdb -p {pid} -batch -ex 'thread apply all backtrace'\n"
            ),
            Self::Symbols => "The program file has its symbols; perf and gdb read them there.\n".to_owned(),
        }
    }
}

impl DebugPage {
    /// `None`: not below `/debug/`, so no matter of ours.
    fn of(path: &str, query: Option<&str>) -> Option<Self> {
        if path == "/debug/graph" {
            let format = query
                .unwrap_or_default()
                .split('&')
                .find_map(|pair| pair.strip_prefix("format="));
            return Some(match format {
                None | Some("" | "dot") => Self::Graph(GraphFormat::Dot),
                Some("mermaid") => Self::Graph(GraphFormat::Mermaid),
                Some("json") => Self::Graph(GraphFormat::Json),
                Some(_) => Self::BadFormat,
            });
        }
        if !path.starts_with("/debug/") {
            return None;
        }
        Some(match path.strip_prefix("/debug/pprof/").unwrap_or(path) {
            "" | "/debug/" | "/debug/pprof" => Self::Index,
            "cmdline" => Self::CommandLine,
            "profile" | "trace" => Self::UnavailableProfile(UnavailableProfile::Time),
            "heap" | "allocs" => Self::UnavailableProfile(UnavailableProfile::Memory),
            "goroutine" | "threadcreate" | "block" | "mutex" => Self::UnavailableProfile(UnavailableProfile::Threads),
            "symbol" => Self::UnavailableProfile(UnavailableProfile::Symbols),
            _ => Self::Unknown,
        })
    }
}

/// True for a request that [`answer`] answers.
pub(super) fn is_asked_for(uri: &Uri) -> bool {
    uri.path() == RESTART_STATUS || DebugPage::of(uri.path(), uri.query()).is_some()
}

/// Answers a request for a page. `local`: from this host. `on`: as the config has it now.
pub(super) async fn answer(method: &Method, uri: &Uri, control: &Control, local: bool, on: bool) -> Response<CallBody> {
    let mut response = if uri.path() == RESTART_STATUS {
        match local {
            true => restart_status(control).await,
            false => text(StatusCode::FORBIDDEN, "forbidden"),
        }
    } else if !on {
        text(StatusCode::NOT_FOUND, OFF)
    } else if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "This page can only be read: GET.\n");
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        response
    } else {
        show(uri, control).await
    };
    if *method == Method::HEAD {
        *response.body_mut() = CallBody::Full(Bytes::new());
    }
    response
}

/// Whether the machine may be restarted now, as its maintenance sensor says; without one it may. Modules have sockets of their
/// own, so there is no address that serves them all.
async fn restart_status(control: &Control) -> Response<CallBody> {
    let restart_allowed = control.may_be_restarted().await;
    let answer = json!({
        "restart_allowed": restart_allowed,
        "does_not_handle_needs_restart": true,
        "module_server_tcp_addr": "",
    });
    as_json(text(StatusCode::OK, answer.to_string()))
}

fn as_json(mut response: Response<CallBody>) -> Response<CallBody> {
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

async fn show(uri: &Uri, control: &Control) -> Response<CallBody> {
    match DebugPage::of(uri.path(), uri.query()).unwrap_or(DebugPage::Unknown) {
        DebugPage::Index => text(StatusCode::OK, INDEX),
        DebugPage::CommandLine => {
            let mut line = Vec::new();
            for argument in std::env::args_os() {
                line.extend_from_slice(argument.as_bytes());
                line.push(0);
            }
            text(StatusCode::OK, line)
        }
        DebugPage::Graph(format) => {
            let answer = match control.graph_of().await {
                Ok(answer) => answer,
                Err(status) => return text(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.message())),
            };
            let graph = diagram::of_machine(answer);
            match format {
                GraphFormat::Dot => text(StatusCode::OK, diagram::dot(&graph) + "\n"),
                GraphFormat::Mermaid => text(StatusCode::OK, diagram::mermaid(&graph) + "\n"),
                GraphFormat::Json => as_json(text(StatusCode::OK, graph.json().to_string() + "\n")),
            }
        }
        DebugPage::BadFormat => text(
            StatusCode::BAD_REQUEST,
            "The graph is shown as `format=dot`, `format=mermaid` or `format=json`.\n",
        ),
        DebugPage::UnavailableProfile(subject) => text(StatusCode::NOT_IMPLEMENTED, subject.text(std::process::id())),
        DebugPage::Unknown => text(
            StatusCode::NOT_FOUND,
            format!("There is no such page. These are:\n\n{INDEX}"),
        ),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<CallBody> {
    let mut response = Response::new(CallBody::Full(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    // What a name or an error holds is no page of ours, whatever a browser makes of it.
    headers.insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_leads_to_its_page_and_no_other_is_touched() {
        for (uri, page) in [
            ("/", None),
            ("/debug", None),
            ("/debugger/graph", None),
            ("/viam.robot.v1.RobotService/GetVersion", None),
            ("/debug/", Some(DebugPage::Index)),
            ("/debug/pprof", Some(DebugPage::Index)),
            ("/debug/pprof/", Some(DebugPage::Index)),
            ("/debug/pprof/cmdline", Some(DebugPage::CommandLine)),
            (
                "/debug/pprof/profile?seconds=5",
                Some(DebugPage::UnavailableProfile(UnavailableProfile::Time)),
            ),
            (
                "/debug/pprof/heap",
                Some(DebugPage::UnavailableProfile(UnavailableProfile::Memory)),
            ),
            (
                "/debug/pprof/goroutine?debug=2",
                Some(DebugPage::UnavailableProfile(UnavailableProfile::Threads)),
            ),
            (
                "/debug/pprof/symbol",
                Some(DebugPage::UnavailableProfile(UnavailableProfile::Symbols)),
            ),
            ("/debug/pprof/cmdline/more", Some(DebugPage::Unknown)),
            ("/debug/cmdline", Some(DebugPage::Unknown)),
            ("/debug/graph", Some(DebugPage::Graph(GraphFormat::Dot))),
            (
                "/debug/graph?layout=text&format=mermaid",
                Some(DebugPage::Graph(GraphFormat::Mermaid)),
            ),
            ("/debug/graph?format=json", Some(DebugPage::Graph(GraphFormat::Json))),
            ("/debug/graph?format=svg", Some(DebugPage::BadFormat)),
            ("/debug/graph/", Some(DebugPage::Unknown)),
        ] {
            let uri: Uri = uri.parse().expect("a path");
            assert_eq!(DebugPage::of(uri.path(), uri.query()), page, "{uri}");
        }
    }
}
