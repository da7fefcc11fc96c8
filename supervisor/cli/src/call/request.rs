//! Parsing of the JSON or YAML that a person typed into the request message, with errors that say which field is meant.

use mainstay_model::suggest::nearest;
use prost_reflect::{Cardinality, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value as Field};
use serde_json::Value;

use super::answer::is_well_known;
use super::describe::{fields, type_name};
use crate::failure::CliError;

/// Builds one request and puts the resource's name into `name_field` unless the JSON has one there.
///
/// # Errors
/// The JSON is no object, has a field that the message does not have, or a value that does not fit its field.
pub fn build(
    descriptor: &MessageDescriptor,
    json: &Value,
    name: Option<(&FieldDescriptor, &str)>,
) -> Result<DynamicMessage, CliError> {
    check(descriptor, json, "").map_err(CliError::usage)?;
    let message = DynamicMessage::deserialize(descriptor.clone(), json);
    let mut message = message.map_err(|error| CliError::usage(format!("the request does not fit: {error}")))?;
    if let Some((field, name)) = name
        && !message.has_field(field)
    {
        message.set_field(field, Field::String(name.to_owned()));
    }
    Ok(message)
}

/// Looks for the fault and names its place, which the deserialiser cannot.
fn check(descriptor: &MessageDescriptor, json: &Value, place: &str) -> Result<(), String> {
    let Value::Object(object) = json else {
        let whole = if place.is_empty() {
            "the request".to_owned()
        } else {
            format!("`{place}`")
        };
        return Err(format!(
            "{whole} must be an object with the fields of {}: {}",
            descriptor.name(),
            fields(descriptor, None)
        ));
    };
    for (key, value) in object {
        let field = descriptor
            .get_field_by_name(key)
            .or_else(|| descriptor.get_field_by_json_name(key));
        let place = if place.is_empty() {
            key.clone()
        } else {
            format!("{place}.{key}")
        };
        let field = field.ok_or_else(|| unknown(descriptor, key, &place))?;
        check_field(&field, value, &place)?;
    }
    Ok(())
}

fn check_field(field: &FieldDescriptor, value: &Value, place: &str) -> Result<(), String> {
    if value.is_null() {
        return Ok(());
    }
    let mismatch = |why: String| {
        format!(
            "`{place}` is {} here, but must be {}{why}",
            shown(value),
            type_name(field)
        )
    };
    match (field.kind(), value) {
        (Kind::Message(entry), Value::Object(object)) if field.is_map() => {
            let inner = entry.map_entry_value_field();
            object
                .iter()
                .try_for_each(|(key, value)| check_field(&inner, value, &format!("{place}.{key}")))?;
        }
        (Kind::Message(message), Value::Array(items)) if field.is_list() && !is_well_known(message.full_name()) => {
            let mut items = items.iter().enumerate();
            return items.try_for_each(|(index, item)| check(&message, item, &format!("{place}[{index}]")));
        }
        (Kind::Message(message), value)
            if field.cardinality() != Cardinality::Repeated && !is_well_known(message.full_name()) =>
        {
            return check(&message, value, place);
        }
        _ => {}
    }
    // Alone in its message, the field is the only one that the error can be about.
    let alone = Value::Object([(field.name().to_owned(), value.clone())].into_iter().collect());
    match DynamicMessage::deserialize(field.parent_message().clone(), alone) {
        Ok(_) => Ok(()),
        Err(_) if matches!(field.kind(), Kind::Enum(_)) => Err(mismatch(String::new())),
        Err(error) => Err(mismatch(format!(" ({error})"))),
    }
}

fn unknown(descriptor: &MessageDescriptor, key: &str, place: &str) -> String {
    let names: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    if names.is_empty() {
        return format!("no field `{place}`: {} has none at all", descriptor.name());
    }
    let hint = match nearest(key, names.iter().map(String::as_str)) {
        // The commonest slip: the command itself instead of a request that carries it.
        _ if descriptor.name() == "DoCommandRequest" => "; write '{\"command\": {…}}'.".to_owned(),
        None => ".".to_owned(),
        Some(near) => format!("; did you mean `{near}`?"),
    };
    format!(
        "no field `{place}`{hint} {} has: {}",
        descriptor.name(),
        fields(descriptor, None)
    )
}

/// A value, cut short.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
