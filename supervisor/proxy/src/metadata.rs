//! Metadata of a caller that a module sees: a closed list, because keys such as `authorization` are the core's alone.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONTENT_TYPE, TE},
};

use crate::status::CallError;

/// Operation id: made by the core, returned to the caller, known to the module.
pub const OPID: HeaderName = HeaderName::from_static("opid");
/// Time that the module has left.
pub const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Session of a client that sets something moving, as both sides of a call between machines have it.
pub const SESSION_ID: HeaderName = HeaderName::from_static("viam-sid");
/// Resources that a call set moving on its caller's behalf, by their full names.
pub const MONITORED: HeaderName = HeaderName::from_static("viam-smrn");

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Most bytes of a caller's own metadata that are passed on. Each entry counts with 32 more (RFC 9113, section 6.5.2). The
/// HTTP/2 of the Python SDK takes 64 KiB of headers and ends the whole connection, and with it everybody's calls, for more.
const MAX_PASSED_ON: usize = 48 << 10;

/// Request headers for a module. `opid` and `timeout` replace what the caller sent under these keys.
///
/// # Errors
/// The caller's metadata is more than every module takes.
pub fn towards_module(
    caller: &HeaderMap,
    opid: Option<&HeaderValue>,
    timeout: Option<HeaderValue>,
) -> Result<HeaderMap, CallError> {
    let mut passed_on = 0;
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
            passed_on += key.as_str().len() + value.len() + 32;
            if passed_on > MAX_PASSED_ON {
                return Err(CallError::MetadataTooLong(MAX_PASSED_ON));
            }
            headers.append(key.clone(), value.clone());
        }
    }
    Ok(headers)
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
        let passed_on = towards_module(&caller, Some(&opid), Some(timeout)).expect("few");
        assert_eq!(passed_on, expected);
    }

    #[test]
    fn without_an_operation_or_a_deadline_neither_key_is_sent() {
        let caller = headers(&[("opid", "the caller's"), ("grpc-timeout", "1S")]);
        let expected = headers(&[("te", "trailers"), ("content-type", "application/grpc")]);
        assert_eq!(towards_module(&caller, None, None).expect("few"), expected);
    }

    #[test]
    fn more_than_every_module_takes_is_refused_whether_in_one_piece_or_in_many() {
        let refused = |caller: &HeaderMap| {
            towards_module(caller, None, None)
                .map(drop)
                .map_err(|error| error.code())
        };
        let mut one = HeaderMap::new();
        one.insert("viam-metadata-a", "x".repeat(40_000).parse().expect("a value"));
        assert_eq!(refused(&one), Ok(()));
        one.insert("viam-metadata-a", "x".repeat(65_300).parse().expect("a value"));
        assert_eq!(refused(&one), Err(tonic::Code::ResourceExhausted));
        let mut many = HeaderMap::new();
        for number in 0..5_000 {
            let key: HeaderName = format!("viam-metadata-{number}").parse().expect("a key");
            many.insert(key, "x".parse().expect("a value"));
        }
        assert_eq!(refused(&many), Err(tonic::Code::ResourceExhausted));
        // What is not passed on costs nothing.
        let mut own = HeaderMap::new();
        own.insert("authorization", "x".repeat(65_300).parse().expect("a value"));
        assert_eq!(refused(&own), Ok(()));
    }
}
