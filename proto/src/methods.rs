//! The method table: what must be known about a gRPC method to route its calls without decoding them.
//!
//! It covers every service of the `.proto` files that a client of a machine can meet. A lookup is two binary searches
//! in static data.

use std::fmt;

use crate::{Api, tables};

/// One gRPC method.
#[derive(Debug, PartialEq, Eq)]
pub struct Method {
    /// Full name of the service, for example `viam.component.motor.v1.MotorService`.
    pub service: &'static str,
    /// Name of the method, for example `SetPower`.
    pub name: &'static str,
    /// The API whose resources serve it; `None` where the machine itself does.
    pub api: Option<ApiParts>,
    /// Kind by the sides that stream.
    pub kind: Kind,
    /// Number of the string field of the first request message that names the resource.
    /// `None` where the method addresses no resource, and where the name lies deeper: see `name_path`.
    pub name_field: Option<u32>,
    /// Field numbers from the first request message down to the string that names the resource: one for nearly all
    /// methods, two where the first message of a stream holds a header, none where the method addresses no resource.
    pub name_path: &'static [u32],
    /// Number of the request's field `extra`, a `google.protobuf.Struct` of free-form arguments.
    pub extra_field: Option<u32>,
    /// Whether it sets something moving that must be stopped when the caller goes silent
    /// (the option `safety_heartbeat_monitored`).
    pub actuates: bool,
    /// Whether it stops the one resource that its request names: a unary `Stop` with a string `name`.
    pub stops: bool,
}

/// The three parts of an API in static data; prints as `rdk:component:motor`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiParts {
    /// `rdk` for everything in this table.
    pub namespace: &'static str,
    /// `component` or `service`.
    pub kind: &'static str,
    /// For example `motor`.
    pub subtype: &'static str,
}

impl fmt::Display for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.namespace, self.kind, self.subtype)
    }
}

/// Kind of a method, by the sides that send more than one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStream,
    /// Many requests, one response.
    ClientStream,
    /// Many of both, in any order.
    Bidi,
}

/// One gRPC service.
#[derive(Debug, PartialEq, Eq)]
pub struct Service {
    /// Full name, for example `viam.component.motor.v1.MotorService`.
    pub name: &'static str,
    /// The API whose resources serve it, for example `rdk:component:motor`; `None` where the machine itself does.
    pub api: Option<&'static str>,
    /// Its methods, sorted by name.
    pub methods: &'static [Method],
}

impl Service {
    /// The method of this name.
    pub fn method(&self, name: &str) -> Option<&'static Method> {
        let index = self.methods.binary_search_by(|method| method.name.cmp(name)).ok()?;
        Some(&self.methods[index])
    }
}

/// The method of a call to `/service/method`. Allocates nothing: it runs on every call.
pub fn find(service: &str, method: &str) -> Option<&'static Method> {
    self::service(service)?.method(method)
}

/// The service of this full name.
pub fn service(name: &str) -> Option<&'static Service> {
    let index = tables::SERVICES
        .binary_search_by(|service| service.name.cmp(name))
        .ok()?;
    Some(&tables::SERVICES[index])
}

/// The service that resources of `api` serve, if it is a standard one.
pub fn service_of_api(api: &Api) -> Option<&'static Service> {
    let index = tables::BY_API
        .binary_search_by(|(id, _)| (*id).cmp(api.as_str()))
        .ok()?;
    Some(&tables::SERVICES[usize::from(tables::BY_API[index].1)])
}

/// Every service, sorted by name.
pub fn services() -> &'static [Service] {
    &tables::SERVICES
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOTOR: &str = "viam.component.motor.v1.MotorService";

    #[test]
    fn a_method_is_found_by_service_and_name() {
        let method = find(MOTOR, "SetPower").unwrap();
        assert_eq!(
            (method.service, method.name, method.kind),
            (MOTOR, "SetPower", Kind::Unary)
        );
        assert_eq!(method.api.unwrap().to_string(), "rdk:component:motor");
        assert_eq!((method.name_field, method.extra_field), (Some(1), Some(99)));
        assert!(method.actuates && !method.stops);
        for (service, name) in [
            (MOTOR, "setPower"),
            (MOTOR, ""),
            ("", "SetPower"),
            ("viam.component.motor.v1.Motor", "SetPower"),
        ] {
            assert_eq!(find(service, name), None);
        }
    }

    #[test]
    fn every_method_is_found_so_the_tables_are_sorted() {
        for service in services() {
            for method in service.methods {
                assert_eq!(find(service.name, method.name), Some(method));
            }
            if let Some(api) = service.api {
                assert_eq!(service_of_api(&api.parse().unwrap()), Some(service));
            }
        }
        assert_eq!(service_of_api(&Api::component("teleporter")), None);
    }

    /// The standard APIs, from the table of the wire's documentation.
    #[test]
    fn each_standard_api_has_its_service() {
        let cases = [
            (
                "component",
                "arm audio_in audio_out base board button camera encoder gantry generic gripper input_controller \
              motor movement_sensor pose_tracker power_sensor sensor servo switch testecho",
            ),
            (
                "service",
                "data_manager discovery generic mlmodel motion navigation sensors shell slam video vision \
              world_state_store",
            ),
        ];
        let mut wanted: Vec<_> = cases
            .iter()
            .flat_map(|(kind, subtypes)| {
                subtypes
                    .split_whitespace()
                    .map(move |subtype| format!("rdk:{kind}:{subtype}"))
            })
            .collect();
        wanted.sort();
        let mut found: Vec<_> = services().iter().filter_map(|service| service.api).collect();
        found.sort_unstable();
        assert_eq!(found, wanted);
    }

    #[test]
    fn kinds_are_those_of_the_wire() {
        let cases = [
            (MOTOR, "GoFor", Kind::Unary),
            (
                "viam.component.board.v1.BoardService",
                "StreamTicks",
                Kind::ServerStream,
            ),
            (
                "viam.component.audioout.v1.AudioOutService",
                "PlayStream",
                Kind::ClientStream,
            ),
            ("viam.service.shell.v1.ShellService", "Shell", Kind::Bidi),
        ];
        for (service, name, kind) in cases {
            assert_eq!(find(service, name).unwrap().kind, kind, "{service}/{name}");
        }
    }

    #[test]
    fn every_method_of_a_resource_has_its_name_in_field_one_or_in_a_header() {
        let mut deep = Vec::new();
        for method in services().iter().flat_map(|service| service.methods) {
            match (method.api, method.name_path) {
                (None, []) | (Some(_), [1]) => {}
                (Some(_), [1, 1]) => deep.push(format!("{} {}", method.api.unwrap().subtype, method.name)),
                other => panic!("{}/{}: {other:?}", method.service, method.name),
            }
            assert_eq!(method.name_field, (method.name_path == [1]).then_some(1));
        }
        assert_eq!(
            deep,
            [
                "audio_out PlayStream",
                "shell CopyFilesFromMachine",
                "shell CopyFilesToMachine"
            ]
        );
    }

    #[test]
    fn what_stops_something_is_a_unary_stop_with_a_name() {
        let stops: Vec<_> = services()
            .iter()
            .flat_map(|service| service.methods)
            .filter(|method| method.stops)
            .map(|method| method.api.map_or("", |api| api.subtype))
            .collect();
        assert_eq!(
            stops,
            ["arm", "base", "gantry", "gripper", "motor", "servo", "testecho"]
        );
    }

    #[test]
    fn a_stop_is_no_actuation_and_a_reading_neither() {
        for name in ["Stop", "GetPosition", "IsMoving"] {
            assert!(!find(MOTOR, name).unwrap().actuates, "{name}");
        }
        let marked: Vec<_> = services()
            .iter()
            .flat_map(|service| service.methods)
            .filter(|method| method.actuates)
            .collect();
        assert_eq!(marked.len(), 20);
        assert!(marked.iter().all(|method| method.api.is_some()));
    }
}
