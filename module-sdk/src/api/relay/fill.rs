//! Messages with another value in each field, made from their descriptors.

use prost_reflect::{
    Cardinality, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, MethodDescriptor,
    ReflectMessage as _, Value,
};

use super::FAR;

/// Fields that carry the name of the resource.
const NAMES: [&str; 3] = ["name", "board_name", "controller"];
/// Messages at the beginning of a stream, within which the name is.
const NESTED: [&str; 2] = ["init", "metadata"];

/// Maker of messages. Its counter makes each value another.
pub(super) struct Filler {
    counter: u32,
    /// Which field of each `oneof` is set.
    choice: usize,
}

/// The number of ways to fill a message: the fields of its largest `oneof`, at any depth.
pub(super) fn choices(message: &MessageDescriptor) -> usize {
    fn largest(message: &MessageDescriptor, depth: usize) -> usize {
        if depth > 6 || message.full_name().starts_with("google.protobuf.") {
            return 1;
        }
        let own = message
            .oneofs()
            .filter(|oneof| !oneof.is_synthetic())
            .map(|oneof| oneof.fields().len());
        let inner = message.fields().filter_map(|field| match field.kind() {
            Kind::Message(inner) => Some(largest(&inner, depth + 1)),
            _ => None,
        });
        own.chain(inner).max().unwrap_or(1)
    }
    largest(message, 0)
}

impl Filler {
    pub fn new(choice: usize) -> Self {
        Self { counter: 0, choice }
    }

    /// The requests of a call to the resource of this name.
    pub fn requests(&mut self, method: &MethodDescriptor, name: &str) -> Vec<DynamicMessage> {
        let input = method.input();
        if !method.is_client_streaming() {
            return vec![named(self.message(&input), name)];
        }
        // The first message begins the stream, the others go on with it.
        let choice = std::mem::replace(&mut self.choice, 0);
        let mut first = self.message(&input);
        first.clear_field_by_name("data_in");
        let later = usize::from(input.oneofs().any(|oneof| !oneof.is_synthetic()));
        self.choice = later;
        let mut requests = vec![first, self.message(&input), self.message(&input)];
        self.choice = choice;
        for request in &mut requests {
            *request = named(std::mem::replace(request, DynamicMessage::new(input.clone())), name);
        }
        requests
    }

    /// The answers of a call.
    pub fn answers(&mut self, method: &MethodDescriptor) -> Vec<DynamicMessage> {
        let output = method.output();
        if !method.is_server_streaming() {
            return vec![self.message(&output)];
        }
        if output.oneofs().any(|oneof| !oneof.is_synthetic()) {
            let choice = std::mem::replace(&mut self.choice, 0);
            let mut answers = vec![self.message(&output)];
            self.choice = 1;
            answers.extend([self.message(&output), self.message(&output)]);
            self.choice = choice;
            return answers;
        }
        vec![self.message(&output), self.message(&output)]
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let fields: Vec<_> = match descriptor.full_name() {
            "google.protobuf.Struct" | "google.protobuf.Value" | "google.protobuf.ListValue" => {
                return self.json(message);
            }
            "viam.service.mlmodel.v1.FlatTensor" => return self.tensor(message),
            _ => descriptor.fields().collect(),
        };
        for oneof in descriptor.oneofs().filter(|oneof| !oneof.is_synthetic()) {
            // Machines send the quaternion alone.
            let quaternion = descriptor.full_name() == "viam.app.v1.Orientation";
            let chosen = match quaternion {
                true => oneof.fields().find(|field| field.name() == "quaternion"),
                false => oneof.fields().nth(self.choice % oneof.fields().len()),
            };
            let chosen = chosen.expect("a oneof has fields");
            message.set_field(&chosen, self.field(&chosen));
        }
        for field in fields {
            let chosen = field.containing_oneof().is_some_and(|oneof| !oneof.is_synthetic());
            if !chosen && !unused(&field) {
                message.set_field(&field, self.field(&field));
            }
        }
        if descriptor.full_name() == "viam.app.v1.ComponentConfig" {
            for (field, text) in [("namespace", "rdk"), ("type", "arm"), ("api", "rdk:component:arm")] {
                message.set_field_by_name(field, Value::String(text.to_owned()));
            }
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                unreachable!("entries are messages")
            };
            let value = entry.map_entry_value_field();
            let entries = (0..2).map(|_| (MapKey::String(self.text()), self.single(&value)));
            return Value::Map(entries.collect());
        }
        if field.cardinality() == Cardinality::Repeated {
            return Value::List(vec![self.single(field), self.single(field)]);
        }
        self.single(field)
    }

    fn single(&mut self, field: &FieldDescriptor) -> Value {
        self.counter += 1;
        let n = self.counter;
        match field.kind() {
            Kind::Double => Value::F64(f64::from(n) + 0.5),
            Kind::Float => Value::F32(n as f32 + 0.5),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(n.cast_signed()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(n.into()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(n),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(n.into()),
            Kind::Bool => Value::Bool(true),
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into()),
            Kind::Enum(kind) => {
                let known: Vec<_> = kind
                    .values()
                    .map(|value| value.number())
                    .filter(|number| *number != 0)
                    .collect();
                Value::EnumNumber(known[n as usize % known.len()])
            }
            Kind::Message(message) => Value::Message(self.message(&message)),
        }
    }

    fn text(&mut self) -> String {
        self.counter += 1;
        format!("text {}", self.counter)
    }

    /// A value of each kind that JSON knows.
    fn json(&mut self, mut message: DynamicMessage) -> DynamicMessage {
        self.counter += 1;
        let (number, text) = (self.counter, self.text());
        let text = format!(r#"{{"number": {number}, "text": "{text}", "list": [true, null, {{"deep": []}}]}}"#);
        let text = match message.descriptor().full_name() {
            "google.protobuf.ListValue" => format!("[{text}]"),
            _ => text,
        };
        let mut json = serde_json::Deserializer::from_str(&text);
        message = DynamicMessage::deserialize(message.descriptor(), &mut json).expect("JSON");
        message
    }

    /// Two values of one of the ten types.
    fn tensor(&mut self, mut message: DynamicMessage) -> DynamicMessage {
        message.set_field_by_name("shape", Value::List(vec![Value::U64(2), Value::U64(1)]));
        let oneof = message.descriptor().oneofs().next().expect("the types");
        let chosen = oneof.fields().nth(self.choice % oneof.fields().len()).expect("a type");
        let Value::Message(mut values) = self.single(&chosen) else {
            unreachable!("a type is a message")
        };
        if matches!(values.get_field_by_name("data").as_deref(), Some(Value::Bytes(_))) {
            values.set_field_by_name("data", Value::Bytes(vec![200, 7].into()));
        }
        message.set_field(&chosen, Value::Message(values));
        message
    }
}

/// Fields that the SDK does not carry, for a reason.
fn unused(field: &FieldDescriptor) -> bool {
    match field.full_name() {
        // Nobody reads them since plain names took over.
        name if name.ends_with("_deprecated") => true,
        // Discovery proposes resources, not how to record their data or how loud they are.
        "viam.app.v1.ComponentConfig.service_configs" | "viam.app.v1.ComponentConfig.log_configuration" => true,
        // For people; the solids of `spatial` have none.
        "viam.common.v1.Mesh.original_file_source_path_diagnostic" => true,
        _ => false,
    }
}

/// Gives the name of the resource to a request.
fn named(mut message: DynamicMessage, name: &str) -> DynamicMessage {
    for field in NESTED {
        let inner = message
            .descriptor()
            .get_field_by_name(field)
            .filter(|_| message.has_field_by_name(field));
        if let Some(field) = inner
            && let Value::Message(mut inner) = message.get_field(&field).into_owned()
            && inner.descriptor().get_field_by_name("name").is_some()
        {
            inner.set_field_by_name("name", Value::String(name.to_owned()));
            message.set_field(&field, Value::Message(inner));
            return message;
        }
    }
    let field = NAMES
        .iter()
        .find(|field| message.descriptor().get_field_by_name(field).is_some());
    if let Some(field) = field {
        message.set_field_by_name(field, Value::String(name.to_owned()));
    }
    message
}

/// Name of the resource in a request.
pub(super) fn name_of(message: &DynamicMessage) -> Option<String> {
    for field in NESTED {
        if let Some(Value::Message(inner)) = message.get_field_by_name(field).as_deref()
            && let Some(Value::String(name)) = inner.get_field_by_name("name").as_deref()
        {
            return Some(name.clone());
        }
    }
    let named = NAMES.iter().find_map(|field| message.get_field_by_name(field))?;
    Some(named.as_str()?.to_owned())
}

/// A message without the name of its resource, and without the id that a client makes.
pub(super) fn nameless(message: &DynamicMessage) -> DynamicMessage {
    let mut message = named(message.clone(), FAR);
    message.clear_field_by_name("request_id");
    message
}

/// What becomes of the answers on their way.
pub(super) fn as_passed_on(
    method: &MethodDescriptor,
    requests: &[DynamicMessage],
    answers: Vec<DynamicMessage>,
) -> Vec<DynamicMessage> {
    let empty = || DynamicMessage::new(method.output());
    match method.name() {
        // The service says first that it is listening.
        "StreamTicks" | "StreamTransformChanges" => [vec![empty()], answers].concat(),
        // It acknowledges each batch itself.
        "MoveThroughJointPositionsStreamed" => vec![empty(); requests.len() - 1],
        _ => answers,
    }
}
