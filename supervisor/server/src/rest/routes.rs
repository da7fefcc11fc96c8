//! Route of a request: which method its HTTP method and path lead to.
//!
//! The bindings are static data and looked through one by one, which takes some microseconds; a machine that nobody asks in
//! JSON keeps nothing for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use http::Method;
use mainstay_proto::custom::{CustomService, DescriptorPool};
use mainstay_proto::http_rules::{self, HttpBinding};

use super::template::RequestPath;

/// What the annotations have in front of the paths that are served.
const PREFIX: &str = "/viam";

/// Route of a request.
#[derive(Debug)]
pub struct Route {
    /// The binding that fits.
    pub binding: HttpBinding,
    /// Fields of the request that the path gives.
    pub fields: Vec<(String, String)>,
    /// Files of the module that alone knows the service.
    pub module: Option<Arc<DescriptorPool>>,
}

/// Reason why there is no route.
#[derive(Debug, PartialEq, Eq)]
pub enum NoRoute {
    /// No binding has this path.
    Path,
    /// The path is there, and takes these HTTP methods.
    Verb(BTreeSet<String>),
    /// The path is no percent-encoded UTF-8.
    Encoding,
}

/// Finds the most specific route.
///
/// # Errors
/// There is none.
pub fn find(customs: &[Arc<CustomService>], verb: &Method, path: &str) -> Result<Route, NoRoute> {
    let request = RequestPath::read(path).ok_or(NoRoute::Encoding)?;
    let ours = http_rules::all().iter().map(|binding| (binding, None));
    let theirs = customs.iter().flat_map(|custom| {
        let bindings = custom.http_bindings.iter();
        bindings.map(|binding| (binding, Some(&custom.pool)))
    });
    let mut verbs = BTreeSet::new();
    let mut best = None;
    for (binding, module) in ours.chain(theirs) {
        let template = binding.path.strip_prefix(PREFIX);
        let Some(found) = template.and_then(|template| request.fits(template)) else {
            continue;
        };
        if *binding.verb != *verb.as_str() {
            verbs.insert(binding.verb.clone().into_owned());
            continue;
        }
        // No module takes a path of ours away, however specific its own is.
        let rank = (module.is_none(), found.rank);
        if best.as_ref().is_none_or(|(_, best, _, _)| *best < rank) {
            best = Some((binding, rank, found.fields, module));
        }
    }
    match best {
        Some((binding, _, fields, module)) => Ok(Route {
            binding: binding.clone(),
            fields: fields
                .into_iter()
                .map(|(field, text)| (field.to_owned(), text))
                .collect(),
            module: module.cloned(),
        }),
        None if verbs.is_empty() => Err(NoRoute::Path),
        None => Err(NoRoute::Verb(verbs)),
    }
}

#[cfg(test)]
mod tests {
    use mainstay_proto::custom::ReflectedFile;
    use mainstay_proto::google::api::HttpRule;
    use mainstay_proto::google::api::http_rule::Pattern;
    use prost::Message;

    use super::*;

    fn route(verb: Method, path: &str) -> Result<(String, Vec<(String, String)>), NoRoute> {
        let route = find(&[], &verb, path)?;
        let service = route.binding.service.rsplit('.').next().unwrap_or_default().to_owned();
        Ok((format!("{service}.{}", route.binding.method), route.fields))
    }

    #[test]
    fn a_request_leads_to_its_method() {
        for (verb, path, method, fields) in [
            (Method::GET, "version", "RobotService.GetVersion", &[][..]),
            (
                Method::PUT,
                "component/motor/left/power",
                "MotorService.SetPower",
                &[("name", "left")],
            ),
            (
                Method::GET,
                "component/arm/a/position",
                "ArmService.GetEndPosition",
                &[("name", "a")],
            ),
            (
                Method::PUT,
                "component/arm/a/position",
                "ArmService.MoveToPosition",
                &[("name", "a")],
            ),
            (
                Method::GET,
                "component/board/b/analog_reader/r/read",
                "BoardService.ReadAnalogReader",
                &[("board_name", "b"), ("analog_reader_name", "r")],
            ),
            (
                Method::POST,
                "sessions/7/heartbeat",
                "RobotService.SendSessionHeartbeat",
                &[("id", "7")],
            ),
            (
                Method::GET,
                "service/d/discovery",
                "DiscoveryService.DiscoverResources",
                &[("name", "d")],
            ),
            (
                Method::POST,
                "component/audioout/play_stream",
                "AudioOutService.PlayStream",
                &[],
            ),
            (
                Method::DELETE,
                "service/navigation/n/zones/z",
                "NavigationService.DeleteZone",
                &[("name", "n"), ("zone_name", "z")],
            ),
        ] {
            let fields = fields
                .iter()
                .map(|(field, text)| ((*field).to_owned(), (*text).to_owned()));
            let expected = Ok((method.to_owned(), fields.collect()));
            assert_eq!(route(verb, &format!("/api/v1/{path}")), expected, "{path}");
        }
    }

    #[test]
    fn what_a_module_knows_is_found_behind_what_everybody_knows() {
        let custom = |template: &str| {
            let rule = HttpRule {
                pattern: Some(Pattern::Get(template.into())),
                ..HttpRule::default()
            };
            let method = MethodDescriptor {
                name: "Look".into(),
                options: Some(MethodOptions { http: Some(rule) }),
            };
            let file = FileDescriptor {
                name: "look.proto".into(),
                service: vec![ServiceDescriptor {
                    name: "Looker".into(),
                    method: vec![method],
                }],
            };
            let file = ReflectedFile::read(file.encode_to_vec().into()).expect("a file");
            let pool = Arc::new(DescriptorPool::from([(file.name.clone(), file)]));
            Arc::new(CustomService::read("Looker", &pool).expect("it is there"))
        };
        for (template, path, method) in [
            ("/viam/api/v1/acme/{name}", "/api/v1/acme/x", Ok("Look")),
            (
                "/viam/api/v1/component/motor/left/position",
                "/api/v1/component/motor/left/position",
                Ok("GetPosition"),
            ),
            ("/viam/api/**", "/api/v1/version", Ok("GetVersion")),
            ("/viam/api/**", "/api/v1/nothing", Ok("Look")),
            ("/api/v1/acme", "/api/v1/acme", Err(NoRoute::Path)),
            ("/acme", "/acme", Err(NoRoute::Path)),
        ] {
            let found = find(&[custom(template)], &Method::GET, path);
            let found = found.map(|route| (route.binding.method.into_owned(), route.module.is_some()));
            let expected = method.map(|method| (method.to_owned(), method == "Look"));
            assert_eq!(found, expected, "{template} {path}");
        }
    }

    /// Descriptors with the option, which the usual types lose.
    #[derive(Clone, PartialEq, Message)]
    struct FileDescriptor {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "6")]
        service: Vec<ServiceDescriptor>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct ServiceDescriptor {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, repeated, tag = "2")]
        method: Vec<MethodDescriptor>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct MethodDescriptor {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "4")]
        options: Option<MethodOptions>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct MethodOptions {
        #[prost(message, optional, tag = "72295728")]
        http: Option<HttpRule>,
    }

    #[test]
    fn what_leads_nowhere_is_told_why() {
        let verbs = |verbs: &[&str]| NoRoute::Verb(verbs.iter().map(|verb| (*verb).to_owned()).collect());
        for (verb, path, expected) in [
            (Method::GET, "/api/v1/nothing", NoRoute::Path),
            (Method::GET, "/api/v1", NoRoute::Path),
            (Method::GET, "/api/v1/version/", NoRoute::Path),
            (Method::GET, "/viam/api/v1/version", NoRoute::Path),
            (Method::GET, "/rpc/v1/authenticate", NoRoute::Path),
            (Method::POST, "/api/v1/version", verbs(&["GET"])),
            (Method::HEAD, "/api/v1/version", verbs(&["GET"])),
            (
                Method::DELETE,
                "/api/v1/component/arm/a/position",
                verbs(&["GET", "PUT"]),
            ),
            (Method::GET, "/api/v1/component/motor/%ff/position", NoRoute::Encoding),
        ] {
            assert_eq!(route(verb, path), Err(expected), "{path}");
        }
    }
}
