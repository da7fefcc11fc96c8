//! Metadata of a caller that a module sees: a closed list, because keys such as `authorization` are the core's alone.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, TE},
};

/// Operation id: made by the core, returned to the caller, known to the module.
pub const OPID: HeaderName = HeaderName::from_static("opid");
/// Time that the module has left.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Request headers for a module. `opid` and `timeout` replace what the caller sent under these keys.
pub fn towards_module(caller: &HeaderMap, opid: Option<&HeaderValue>, timeout: Option<HeaderValue>) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    // Servers may check these two before anything else, so they go first.
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONTENT_TYPE, caller.get(CONTENT_TYPE).cloned().unwrap_or(GRPC));
    if let Some(timeout) = timeout {
        headers.insert(TIMEOUT, timeout);
    }
    if let Some(opid) = opid {
        headers.insert(OPID, opid.clone());
    }
    for (key, value) in caller {
        if passes(key.as_str()) {
            headers.append(key.clone(), value.clone());
        }
    }
    headers
}

fn passes(key: &str) -> bool {
    matches!(
        key,
        "viam_client" | "traceparent" | "tracestate" | "dtname" | "grpc-encoding" | "grpc-accept-encoding"
    ) || key.starts_with("viam-metadata-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(key, value): &(&str, &str)| (key.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (key, value) in pairs.iter().map(pair) {
            headers.append(key, value);
        }
        headers
    }

    #[test]
    fn a_module_sees_the_list_and_nothing_else() {
        let caller = headers(&[
            ("viam_client", "python;v0.85.1;v0.1.601"),
            ("viam-metadata-color", "blue"),
            ("viam-metadata-color", "red"),
            ("traceparent", "00-a-b-01"),
            ("tracestate", "x=1"),
            ("dtname", "abcdef"),
            ("grpc-timeout", "1S"),
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "identity,gzip"),
            ("content-type", "application/grpc+proto"),
            ("te", "trailers"),
            ("opid", "the caller's"),
            ("authorization", "Bearer secret"),
            ("viam-sid", "secret"),
            ("rpc-host", "rover"),
            ("user-agent", "grpc-python"),
            ("modname", "m"),
            ("my-own-key", "v"),
        ]);
        let expected = headers(&[
            ("te", "trailers"),
            ("content-type", "application/grpc+proto"),
            ("grpc-timeout", "990000u"),
            ("opid", "ours"),
            ("viam_client", "python;v0.85.1;v0.1.601"),
            ("viam-metadata-color", "blue"),
            ("viam-metadata-color", "red"),
            ("traceparent", "00-a-b-01"),
            ("tracestate", "x=1"),
            ("dtname", "abcdef"),
            ("grpc-encoding", "gzip"),
            ("grpc-accept-encoding", "identity,gzip"),
        ]);
        let opid = HeaderValue::from_static("ours");
        let timeout = HeaderValue::from_static("990000u");
        assert_eq!(towards_module(&caller, Some(&opid), Some(timeout)), expected);
    }

    #[test]
    fn without_an_operation_or_a_deadline_neither_key_is_sent() {
        let caller = headers(&[("opid", "the caller's"), ("grpc-timeout", "1S")]);
        let expected = headers(&[("te", "trailers"), ("content-type", "application/grpc")]);
        assert_eq!(towards_module(&caller, None, None), expected);
    }
}
