//! The section `parts`: configs that a main part hands down to its sub-parts, each in a file of its own or here.

use mainstay_model::Secret;
use mainstay_model::config::{HandedDown, PartConfig};
use mainstay_model::membership::name_complaint;
use serde_json::Value;

use crate::diagnostic::Severity;
use crate::load_context::LoadContext;
use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};
use crate::sections::{SeenKeys, machine};
use crate::{keys, names};

/// Whole numbers below this are exact in floating point.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads `parts`.
pub(super) fn parts(reader: &mut Reader, files: &[Keys<'_>], context: &LoadContext) -> Vec<PartConfig> {
    let mut seen = SeenKeys::default();
    reader.entries(files, "parts", |reader, node| {
        let keys = reader.keys(&keys::PART, node)?;
        let name = reader.text_or_empty(&keys, "name");
        if let Some(rule) = name_complaint(&name) {
            let message = format!("`{}` is no name for a part", name.escape_debug());
            reader.error_with(keys.span_of("name"), message, Some(rule));
        } else {
            seen.check(reader, "part", &name, keys.span_of("name"));
        }
        let config = handed_down(reader, &keys, context);
        reader.take_fault();
        Some(PartConfig { name, config })
    })
}

fn handed_down(reader: &mut Reader, keys: &Keys<'_>, context: &LoadContext) -> Option<HandedDown> {
    let written = reader.text_or_empty(keys, "config_file");
    match (written.is_empty(), keys.get("config")) {
        (true, None) => {
            let help = "write the path of its config, or the config itself below `config`";
            reader.error_with(keys.span, names::missing("config_file"), Some(help));
            None
        }
        (false, Some(node)) => {
            let message = "`config_file` and `config` are two answers to one question";
            reader.error_with(node.span, message, Some("remove one of them"));
            None
        }
        (false, None) => match reader.located(&written, keys.span_of("config_file")) {
            Ok(path) => Some(HandedDown::File(path)),
            Err((message, help)) => {
                reader.error_with(keys.span_of("config_file"), message, Some(help));
                None
            }
        },
        (true, Some(node)) if matches!(node.value, NodeValue::Map(_)) => inline(reader, node, context),
        (true, Some(node)) => {
            reader.wrong_type(&keys.label("config"), node, "a map of keys and values");
            None
        }
    }
}

/// A config that is written here. It is read as any other, so that mistakes in it are told at their places; whatever can be told on
/// the part alone is told there.
fn inline(reader: &mut Reader, node: &TreeNode, context: &LoadContext) -> Option<HandedDown> {
    // Its packages and its roles are others than ours.
    let (placeholders, roles) = (
        std::mem::take(&mut reader.placeholders),
        std::mem::take(&mut reader.roles),
    );
    let before = reader.diagnostics.len();
    let read = machine(reader, std::slice::from_ref(node), context);
    (reader.placeholders, reader.roles) = (placeholders, roles);
    for diagnostic in &mut reader.diagnostics[before..] {
        // What refuses a config refuses it on the part; this one is another.
        diagnostic.severity = diagnostic.severity.min(Severity::Local);
        diagnostic.open = false;
    }
    read.map(|_| HandedDown::Inline(Secret(without_variables(&json(node)))))
}

/// The text of a config that reads as this value: its variables have been put in, and the part would put in its own once more.
fn without_variables(config: &Value) -> String {
    config.to_string().replace('$', "$$")
}

fn json(node: &TreeNode) -> Value {
    match &node.value {
        NodeValue::Null => Value::Null,
        NodeValue::Bool(flag) => Value::Bool(*flag),
        // A whole number is written as one, as far as it is one in floating point.
        NodeValue::Number(number) if number.fract() == 0.0 && number.abs() < EXACT => (*number as i64).into(),
        NodeValue::Number(number) => (*number).into(),
        NodeValue::Text(text) => Value::String(text.clone()),
        NodeValue::List(items) => items.iter().map(json).collect(),
        NodeValue::Map(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), json(&entry.value)))
            .collect(),
    }
}
