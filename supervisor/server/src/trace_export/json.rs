//! Spans as lines of JSON, in the form of the OpenTelemetry Protocol's file exporter: one `TracesData` a line, ids in
//! hexadecimal, 64-bit numbers as texts, enums as numbers (opentelemetry.io, "OTLP/HTTP: JSON Protobuf Encoding").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mainstay_proto::opentelemetry::proto::common::v1::any_value::Value as Any;
use mainstay_proto::opentelemetry::proto::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use mainstay_proto::opentelemetry::proto::trace::v1::{ResourceSpans, Span};
use serde_json::{Map, Value, json};

/// Line of JSON for these spans, with its line end.
pub fn line(spans: &[ResourceSpans]) -> String {
    let spans: Vec<_> = spans.iter().map(resource_spans).collect();
    let mut line = json!({ "resourceSpans": spans }).to_string();
    line.push('\n');
    line
}

fn resource_spans(spans: &ResourceSpans) -> Value {
    let mut object = Map::new();
    if let Some(resource) = &spans.resource {
        object.insert(
            "resource".into(),
            json!({ "attributes": attributes(&resource.attributes) }),
        );
    }
    let scopes = spans.scope_spans.iter().map(|scope| {
        let mut object = Map::new();
        if let Some(scope) = &scope.scope {
            object.insert("scope".into(), instrumentation(scope));
        }
        object.insert("spans".into(), scope.spans.iter().map(span).collect());
        text(&mut object, "schemaUrl", &scope.schema_url);
        Value::Object(object)
    });
    object.insert("scopeSpans".into(), scopes.collect());
    text(&mut object, "schemaUrl", &spans.schema_url);
    Value::Object(object)
}

fn instrumentation(scope: &InstrumentationScope) -> Value {
    let mut object = Map::new();
    text(&mut object, "name", &scope.name);
    text(&mut object, "version", &scope.version);
    list(&mut object, "attributes", attributes(&scope.attributes));
    Value::Object(object)
}

fn span(span: &Span) -> Value {
    let mut object = Map::new();
    text(&mut object, "traceId", &hex(&span.trace_id));
    text(&mut object, "spanId", &hex(&span.span_id));
    text(&mut object, "traceState", &span.trace_state);
    text(&mut object, "parentSpanId", &hex(&span.parent_span_id));
    if span.flags != 0 {
        object.insert("flags".into(), span.flags.into());
    }
    text(&mut object, "name", &span.name);
    object.insert("kind".into(), span.kind.into());
    object.insert("startTimeUnixNano".into(), span.start_time_unix_nano.to_string().into());
    object.insert("endTimeUnixNano".into(), span.end_time_unix_nano.to_string().into());
    list(&mut object, "attributes", attributes(&span.attributes));
    let events = span.events.iter().map(|event| {
        let mut object = Map::new();
        object.insert("timeUnixNano".into(), event.time_unix_nano.to_string().into());
        text(&mut object, "name", &event.name);
        list(&mut object, "attributes", attributes(&event.attributes));
        Value::Object(object)
    });
    list(&mut object, "events", events.collect());
    let links = span.links.iter().map(|link| {
        let mut object = Map::new();
        text(&mut object, "traceId", &hex(&link.trace_id));
        text(&mut object, "spanId", &hex(&link.span_id));
        text(&mut object, "traceState", &link.trace_state);
        list(&mut object, "attributes", attributes(&link.attributes));
        Value::Object(object)
    });
    list(&mut object, "links", links.collect());
    if let Some(status) = &span.status {
        let mut inner = Map::new();
        text(&mut inner, "message", &status.message);
        if status.code != 0 {
            inner.insert("code".into(), status.code.into());
        }
        object.insert("status".into(), inner.into());
    }
    Value::Object(object)
}

fn attributes(attributes: &[KeyValue]) -> Vec<Value> {
    let pair = |pair: &KeyValue| json!({ "key": pair.key, "value": any(pair.value.as_ref()) });
    attributes.iter().map(pair).collect()
}

/// Value as JSON. The nesting of these was bounded when they were decoded.
fn any(value: Option<&AnyValue>) -> Value {
    match value.and_then(|value| value.value.as_ref()) {
        None => json!({}),
        Some(Any::StringValue(text)) => json!({ "stringValue": text }),
        Some(Any::BoolValue(yes)) => json!({ "boolValue": yes }),
        Some(Any::IntValue(number)) => json!({ "intValue": number.to_string() }),
        Some(Any::DoubleValue(number)) => json!({ "doubleValue": number }),
        Some(Any::BytesValue(bytes)) => json!({ "bytesValue": STANDARD.encode(bytes) }),
        Some(Any::ArrayValue(array)) => {
            let values: Vec<_> = array.values.iter().map(|value| any(Some(value))).collect();
            json!({ "arrayValue": { "values": values } })
        }
        Some(Any::KvlistValue(list)) => {
            json!({ "kvlistValue": { "values": attributes(&list.values) } })
        }
    }
}

fn text(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.into(), text.into());
    }
}

fn list(object: &mut Map<String, Value>, key: &str, list: Vec<Value>) {
    if !list.is_empty() {
        object.insert(key.into(), list.into());
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use mainstay_proto::opentelemetry::proto::common::v1::{ArrayValue, KeyValueList};
    use mainstay_proto::opentelemetry::proto::resource::v1::Resource;
    use mainstay_proto::opentelemetry::proto::trace::v1::{ScopeSpans, Status, span};

    use super::*;

    fn value(value: Any) -> AnyValue {
        AnyValue { value: Some(value) }
    }

    fn pair(key: &str, of: Any) -> KeyValue {
        KeyValue {
            key: key.into(),
            value: Some(value(of)),
        }
    }

    #[test]
    fn a_line_reads_as_the_protocol_says() {
        let event = span::Event {
            time_unix_nano: 3,
            name: "retry".into(),
            attributes: vec![pair("n", Any::IntValue(-1))],
            dropped_attributes_count: 0,
        };
        let link = span::Link {
            trace_id: vec![0xab; 16].into(),
            span_id: vec![0xcd; 8].into(),
            ..Default::default()
        };
        let nested = Any::KvlistValue(KeyValueList {
            values: vec![pair("yes", Any::BoolValue(true))],
        });
        let array = Any::ArrayValue(ArrayValue {
            values: vec![value(Any::DoubleValue(0.5)), value(Any::BytesValue(vec![1, 2].into()))],
        });
        let span = Span {
            trace_id: vec![0x01; 16].into(),
            span_id: vec![0x0f; 8].into(),
            name: "a.B/C".into(),
            kind: 2,
            start_time_unix_nano: 1_700_000_000_000_000_001,
            end_time_unix_nano: 1_700_000_000_000_000_002,
            attributes: vec![pair("list", array), pair("map", nested)],
            events: vec![event],
            links: vec![link],
            status: Some(Status {
                message: "no".into(),
                code: 2,
            }),
            ..Default::default()
        };
        let spans = ResourceSpans {
            resource: Some(Resource {
                attributes: vec![pair("service.name", Any::StringValue("m".into()))],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                spans: vec![span],
                ..Default::default()
            }],
            schema_url: String::new(),
        };
        let expected = json!({"resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "m"}}]},
            "scopeSpans": [{"spans": [{
                "traceId": "01010101010101010101010101010101",
                "spanId": "0f0f0f0f0f0f0f0f",
                "name": "a.B/C",
                "kind": 2,
                "startTimeUnixNano": "1700000000000000001",
                "endTimeUnixNano": "1700000000000000002",
                "attributes": [
                    {"key": "list", "value": {"arrayValue": {"values": [{"doubleValue": 0.5}, {"bytesValue": "AQI="}]}}},
                    {"key": "map", "value": {"kvlistValue": {"values": [{"key": "yes", "value": {"boolValue": true}}]}}},
                ],
                "events": [{"timeUnixNano": "3", "name": "retry", "attributes": [{"key": "n", "value": {"intValue": "-1"}}]}],
                "links": [{"traceId": "abababababababababababababababab", "spanId": "cdcdcdcdcdcdcdcd"}],
                "status": {"message": "no", "code": 2},
            }]}],
        }]});
        let line = line(&[spans]);
        assert!(line.ends_with("}\n"), "one line: {line}");
        assert_eq!(serde_json::from_str::<Value>(&line).expect("JSON"), expected);
    }
}
