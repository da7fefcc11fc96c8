//! Requests that a page of somebody else has a browser send without asking first: pictures, links and forms reach a machine
//! that asks for no keys, and some of the paths move something by GET.

use http::header::{CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, Method, Request};
use tonic::Status;

/// Content types that a form can have; what has another one is asked for by a preflight.
const OF_FORMS: [&str; 3] = ["application/x-www-form-urlencoded", "multipart/form-data", "text/plain"];

/// Refuses a request that a browser sends for a foreign page without a preflight. Programs that are no browsers send neither
/// header.
///
/// # Errors
/// It is one.
pub fn refuse<B>(request: &Request<B>) -> Result<(), Status> {
    if is_embedded(request.headers()) {
        return Err(Status::permission_denied(
            "a page of another site has the browser load this address as a link, a picture or a form; a page may ask by \
             `fetch` in mode `cors`",
        ));
    }
    if request.method() == Method::POST && is_foreign(request) && is_of_form(request.headers()) {
        return Err(Status::permission_denied(
            "a page of another origin posts a form to this address; it may post with `content-type: application/json`",
        ));
    }
    Ok(())
}

fn text(headers: &HeaderMap, name: impl http::header::AsHeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn is_embedded(headers: &HeaderMap) -> bool {
    matches!(text(headers, "sec-fetch-site"), Some("cross-site" | "same-site"))
        && matches!(text(headers, "sec-fetch-mode"), Some("no-cors" | "navigate"))
}

fn is_foreign<B>(request: &Request<B>) -> bool {
    let Some(origin) = request.headers().get(ORIGIN) else {
        return false;
    };
    // HTTP/2 has the host in the URI.
    let host = request.uri().authority().map(http::uri::Authority::as_str);
    let host = host.or_else(|| text(request.headers(), HOST));
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    !matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
}

fn is_of_form(headers: &HeaderMap) -> bool {
    let Some(given) = headers.get(CONTENT_TYPE) else {
        return true;
    };
    let kind = given.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    OF_FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind.trim()))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::refuse;

    #[test]
    fn a_foreign_page_may_ask_only_what_needs_a_preflight_or_reads_by_fetch() {
        const PAGE: (&str, &str) = ("origin", "https://page.example");
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
        const CROSS: (&str, &str) = ("sec-fetch-site", "cross-site");
        for (method, headers, passes) in [
            ("GET", &[][..], true),
            ("POST", &[FORM], true),
            ("GET", &[CROSS, ("sec-fetch-mode", "no-cors")], false),
            ("GET", &[CROSS, ("sec-fetch-mode", "navigate")], false),
            (
                "GET",
                &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")],
                false,
            ),
            (
                "GET",
                &[("sec-fetch-site", "none"), ("sec-fetch-mode", "navigate")],
                true,
            ),
            (
                "GET",
                &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "no-cors")],
                true,
            ),
            ("PUT", &[CROSS, ("sec-fetch-mode", "cors"), PAGE], true),
            ("POST", &[PAGE], false),
            ("POST", &[PAGE, FORM], false),
            ("POST", &[PAGE, ("content-type", "Text/Plain")], false),
            (
                "POST",
                &[("origin", "null"), ("content-type", "multipart/form-data; boundary=x")],
                false,
            ),
            ("POST", &[PAGE, ("content-type", "application/json")], true),
            ("POST", &[("origin", "http://robot:8080"), FORM], true),
        ] {
            let mut request = Request::builder()
                .method(method)
                .uri("/api/v1/stop_all")
                .header("host", "robot:8080");
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let request = request.body(()).expect("a request");
            assert_eq!(refuse(&request).is_ok(), passes, "{method} {headers:?}");
        }
    }
}
