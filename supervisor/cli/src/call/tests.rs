//! Tests from typed JSON to a message and from an answer to JSON, with the descriptors that every machine speaks.

use prost_reflect::{DescriptorPool, DynamicMessage, MapKey, ServiceDescriptor, Value as Field};
use serde_json::{Value, json};

use super::answer::to_json;
use super::blobs::{BytesAs, FileSaver};
use super::{describe, method, request};
use crate::terminal::Style;

/// A small API with everything that can go wrong in it.
const PROTO: &str = r#"
syntax = "proto3";
package acme.v1;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";
enum Gait { GAIT_UNSPECIFIED = 0; GAIT_TROT = 1; }
message Pose { double x = 1; float theta = 2; Pose parent = 3; }
message WalkRequest {
  string name = 1; Pose to = 2; repeated Pose via = 3; Gait gait = 4; int64 steps = 5;
  map<string, Pose> feet = 6; google.protobuf.Struct extra = 99; optional bool quiet = 7;
}
message WalkResponse {
  google.protobuf.Struct readings = 1; google.protobuf.Timestamp at = 2; bytes data = 3; string mime_type = 4;
  map<string, int32> counts = 5; Gait gait = 6; optional bool done = 7; uint64 big = 8; repeated float some = 9;
}
message DoCommandRequest { string name = 1; google.protobuf.Struct command = 2; }
service WalkerService {
  rpc Walk(WalkRequest) returns (WalkResponse);
  rpc WatchIMU(WalkRequest) returns (stream WalkResponse);
  rpc DoCommand(DoCommandRequest) returns (WalkResponse);
}
"#;

fn service() -> ServiceDescriptor {
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("walker.proto"), PROTO).unwrap();
    let files = protox::compile(["walker.proto"], [temp.path()]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_service_by_name("acme.v1.WalkerService").unwrap()
}

fn build(method_name: &str, json: &Value) -> Result<DynamicMessage, String> {
    let method = method::find(&service(), method_name).unwrap();
    let name = method.input().get_field_by_name("name").unwrap();
    request::build(&method.input(), json, Some((&name, "spot"))).map_err(|failure| failure.message)
}

fn answer(fill: impl FnOnce(&mut DynamicMessage)) -> DynamicMessage {
    let method = method::find(&service(), "walk").unwrap();
    let mut message = DynamicMessage::new(method.output());
    fill(&mut message);
    message
}

#[test]
fn a_request_gets_the_resources_name_unless_it_brings_one() {
    for (json, name) in [(json!({}), "spot"), (json!({"name": "other"}), "other")] {
        let message = build("walk", &json).unwrap();
        assert_eq!(message.get_field_by_name("name").unwrap().as_str(), Some(name));
    }
}

#[test]
fn json_of_every_shape_becomes_a_message() {
    let json = json!({
        "to": {"x": 1, "theta": 0.5, "parent": {"x": 2.5}},
        "via": [{"x": 1}, {}],
        "gait": "GAIT_TROT",
        "steps": 12,
        "feet": {"left": {"x": 3}},
        "extra": {"any": [1, "two", null, {"deep": true}]},
        "quiet": null,
    });
    let message = build("walk", &json).unwrap();
    let expected = json!({
        "name": "spot",
        "to": {"x": 1, "theta": 0.5, "parent": {"x": 2.5, "theta": 0}},
        "via": [{"x": 1, "theta": 0}, {"x": 0, "theta": 0}],
        "gait": "GAIT_TROT",
        "steps": 12,
        "feet": {"left": {"x": 3, "theta": 0}},
        "extra": {"any": [1, "two", null, {"deep": true}]},
    });
    assert_eq!(to_json(&message, &BytesAs::Base64).unwrap(), expected);
}

#[test]
fn what_does_not_fit_is_named_with_its_place_and_the_cure() {
    let cases = [
        (
            json!([1]),
            "the request must be an object with the fields of WalkRequest: name: string, to: Pose, via: [Pose], ",
        ),
        (
            json!({"stepz": 1}),
            "no field `stepz`; did you mean `steps`? WalkRequest has: name: string, to: Pose, ",
        ),
        (
            json!({"zzzzzz": 1}),
            "no field `zzzzzz`. WalkRequest has: name: string, ",
        ),
        (
            json!({"to": {"y": 1}}),
            "no field `to.y`; did you mean `x`? Pose has: x: double, theta: float, parent: Pose",
        ),
        (
            json!({"to": {"parent": {"x": "far"}}}),
            "`to.parent.x` is \"far\" here, but must be double",
        ),
        (
            json!({"to": 5}),
            "`to` must be an object with the fields of Pose: x: double, ",
        ),
        (
            json!({"via": [{}, {"q": 1}]}),
            "no field `via[1].q`; did you mean `x`? Pose has: ",
        ),
        (json!({"via": {"x": 1}}), "`via` is {\"x\":1} here, but must be [Pose]"),
        (
            json!({"feet": {"left": {"q": 1}}}),
            "no field `feet.left.q`; did you mean `x`? Pose has: ",
        ),
        (json!({"gait": "WALTZ"}), "`gait` is \"WALTZ\" here, but must be Gait"),
        (json!({"steps": 1.5}), "`steps` is 1.5 here, but must be int64"),
        (json!({"extra": 3}), "`extra` is 3 here, but must be object"),
    ];
    for (json, message) in cases {
        let error = build("walk", &json).unwrap_err();
        assert!(error.starts_with(message), "{json}: {error}");
    }
}

#[test]
fn a_command_without_its_wrapping_says_how_to_wrap_it() {
    let error = build("do_command", &json!({"ping": 1})).unwrap_err();
    assert_eq!(
        error,
        "no field `ping`; write '{\"command\": {…}}'. DoCommandRequest has: name: string, command: object"
    );
}

#[test]
fn an_answer_shows_zeros_and_leaves_out_only_what_is_unset() {
    let expected = json!({"data": "", "mime_type": "", "counts": {}, "gait": "GAIT_UNSPECIFIED", "big": 0, "some": []});
    assert_eq!(to_json(&answer(|_| {}), &BytesAs::Base64).unwrap(), expected);
}

#[test]
fn numbers_maps_and_unknown_enums_read_naturally() {
    let message = answer(|message| {
        let counts = [("b", 2), ("a", 1)].map(|(key, value)| (MapKey::String(key.to_owned()), Field::I32(value)));
        message.set_field_by_name("counts", Field::Map(counts.into_iter().collect()));
        message.set_field_by_name("gait", Field::EnumNumber(7));
        message.set_field_by_name("done", Field::Bool(false));
        message.set_field_by_name("big", Field::U64(u64::MAX));
        let some = [0.1, -2.0, f32::NAN, f32::NEG_INFINITY].map(Field::F32);
        message.set_field_by_name("some", Field::List(some.into()));
    });
    let text = to_json(&message, &BytesAs::Base64).unwrap().to_string();
    assert_eq!(
        text,
        r#"{"data":"","mime_type":"","counts":{"a":1,"b":2},"gait":7,"done":false,"big":18446744073709551615,"some":[0.1,-2,"NaN","-Infinity"]}"#
    );
}

#[test]
fn bytes_are_text_a_note_or_a_file() {
    let message = answer(|message| {
        message.set_field_by_name("data", Field::Bytes(vec![0xff; 100].into()));
        message.set_field_by_name("mime_type", Field::String("image/jpeg".into()));
    });
    let data = |bytes_as: &BytesAs| {
        to_json(&message, bytes_as).unwrap()["data"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(data(&BytesAs::Base64).starts_with("/////"));
    assert_eq!(data(&BytesAs::Note), "<100 B; --out DIR writes them to a file>");
    let temp = tempfile::tempdir().unwrap();
    std::fs::write(temp.path().join("remote_cam-0001.jpg"), "mine").unwrap();
    let files = BytesAs::Files(FileSaver::new(temp.path(), "remote:cam").unwrap());
    for number in ["0002", "0003"] {
        let path = data(&files);
        assert_eq!(
            path,
            temp.path()
                .join(format!("remote_cam-{number}.jpg"))
                .display()
                .to_string()
        );
        assert_eq!(std::fs::read(path).unwrap(), [0xff; 100]);
    }
    assert_eq!(
        std::fs::read(temp.path().join("remote_cam-0001.jpg")).unwrap(),
        b"mine",
        "never written over"
    );
}

#[test]
fn the_list_of_methods_shows_fields_types_and_streams() {
    let name_field = |method: &prost_reflect::MethodDescriptor| method.input().get_field_by_name("name");
    let text = describe::lines(&service(), name_field, Style::PLAIN).join("\n");
    let expected = "\
METHOD      REQUEST → ANSWER
walk        {to: Pose, via: [Pose], gait: Gait, steps: int64, feet: {string: Pose}, quiet: bool, extra: object} → \
{readings: object, at: time (\"2026-01-31T12:00:00Z\"), data: bytes (base64), mime_type: string, \
counts: {string: int32}, gait: Gait, done: bool, big: uint64, some: [float]}
watch_imu   {to: Pose, via: [Pose], gait: Gait, steps: int64, feet: {string: Pose}, quiet: bool, extra: object} → \
stream of {readings: object, at: time (\"2026-01-31T12:00:00Z\"), data: bytes (base64), mime_type: string, \
counts: {string: int32}, gait: Gait, done: bool, big: uint64, some: [float]}
do_command  {command: object} → {readings: object, at: time (\"2026-01-31T12:00:00Z\"), data: bytes (base64), \
mime_type: string, counts: {string: int32}, gait: Gait, done: bool, big: uint64, some: [float]}

TYPE  FIELDS OR VALUES
Gait  GAIT_UNSPECIFIED | GAIT_TROT
Pose  {x: double, theta: float, parent: Pose}";
    assert_eq!(text, expected);
}

#[test]
fn the_list_as_json_has_its_documented_keys() {
    let described = describe::json(&service());
    assert_eq!(described["service"], "acme.v1.WalkerService");
    assert_eq!(
        described["methods"][2],
        json!({
            "name": "do_command", "wire_name": "DoCommand", "client_streaming": false, "server_streaming": false,
            "request": {"name": "string", "command": "object"},
            "response": described["methods"][0]["response"],
        })
    );
    assert_eq!(
        described["types"]["acme.v1.Gait"],
        json!(["GAIT_UNSPECIFIED", "GAIT_TROT"])
    );
}
