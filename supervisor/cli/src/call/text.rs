//! Requests as text: JSON values one after the other, or YAML documents. Either may be an array, which stands for its
//! items.

use serde_json::Value;

use crate::failure::CliError;

/// Parses all requests in a text.
///
/// # Errors
/// The text is neither JSON nor YAML.
pub fn parse(text: &str) -> Result<Vec<Value>, CliError> {
    let mut requests = Vec::new();
    take(text, false, &mut requests)?;
    Ok(requests)
}

/// Parses the complete requests at the start of a text, of which `more` may follow, and returns their length in bytes.
///
/// # Errors
/// The text is neither JSON nor YAML. The requests before that place are in `requests`.
pub fn take(text: &str, more: bool, requests: &mut Vec<Value>) -> Result<usize, CliError> {
    let mut taken = 0;
    loop {
        let rest = &text[taken..];
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<Value>();
        let json = match values.next() {
            None => return Ok(text.len()), // White space is left.
            Some(Ok(value @ (Value::Object(_) | Value::Array(_)))) => {
                taken += values.byte_offset();
                flatten(value, requests);
                continue;
            }
            Some(Err(error)) if error.is_eof() && more => return Ok(taken),
            Some(Err(error)) => Some(error),
            Some(Ok(_)) => None, // The first key of a mapping reads as a value, too.
        };
        let Some(end) = document(rest, more) else {
            return Ok(taken);
        };
        let documents = yaml(&rest[..end]).map_err(|error| neither(rest, json.as_ref(), &error))?;
        documents.into_iter().for_each(|value| flatten(value, requests));
        taken += end;
    }
}

fn flatten(value: Value, into: &mut Vec<Value>) {
    match value {
        Value::Array(items) => into.extend(items),
        value => into.push(value),
    }
}

/// Returns the length of the YAML document at the start of a text; `None` while it is not complete.
fn document(text: &str, more: bool) -> Option<usize> {
    let all = (!more).then_some(text.len());
    if text.trim_start().starts_with(['{', '[']) {
        return brackets(text).or(all);
    }
    let marker = |at: &usize| {
        let line = text[*at..].split_inclusive('\n').next().unwrap_or_default();
        let marker = line.strip_prefix("---").or_else(|| line.strip_prefix("..."));
        marker.is_some_and(|after| after.starts_with(char::is_whitespace))
    };
    let lines = text.match_indices('\n').map(|(at, _)| at + 1);
    lines.into_iter().find(marker).or(all)
}

/// Returns the length of a text up to the bracket that closes its first one; `None` while that is missing.
fn brackets(text: &str) -> Option<usize> {
    let (mut open, mut quote, mut escaped, mut last) = (0_u32, None, false, ',');
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(begun), _) if begun == c && !escaped => quote = None,
            (Some(_), _) => {}
            // Within a word a quote is a letter.
            (None, '"' | '\'') if matches!(last, '{' | '[' | ',' | ':' | '\'') => quote = Some(c),
            (None, '{' | '[') => open += 1,
            (None, '}' | ']') if open <= 1 => return Some(at + 1),
            (None, '}' | ']') => open -= 1,
            (None, _) => {}
        }
        escaped = false;
        if !c.is_whitespace() {
            last = c;
        }
    }
    None
}

/// Parses YAML documents, without empty ones. As in a config, `yes` and `no` are strings.
fn yaml(text: &str) -> Result<Vec<Value>, serde_yaml::Error> {
    let options = serde_yaml::options! { strict_booleans: true, with_snippet: false };
    serde_yaml::from_multiple_with_options(text, options)
}

/// Explains a text that is neither JSON nor YAML, in the words of the one that it resembles.
fn neither(text: &str, json: Option<&serde_json::Error>, yaml: &serde_yaml::Error) -> CliError {
    let looks_like_json = text.trim_start().strip_prefix(['{', '[']).map(str::trim_start);
    let why = match json {
        Some(json) if looks_like_json.is_some_and(|inside| inside.starts_with(['"', '{', '['])) => {
            format!("no JSON: {json}")
        }
        _ => format!("neither JSON nor YAML: {yaml}"),
    };
    CliError::usage(format!(
        "the request is {why}\n  write it like '{{\"field\": value}}' or 'field: value', in single quotes so that the shell leaves it alone"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_may_be_json_or_yaml() {
        for (text, requests) in [
            (r#"[{"a":1},{"b":2}]"#, vec![json!({"a": 1}), json!({"b": 2})]),
            ("{\"a\":1}\n{\"b\":2}", vec![json!({"a": 1}), json!({"b": 2})]),
            (r#"{"a":1} [{"b":2}]"#, vec![json!({"a": 1}), json!({"b": 2})]),
            ("", vec![]),
            ("power_pct: 0.5", vec![json!({"power_pct": 0.5})]),
            ("{power_pct: 0.5}", vec![json!({"power_pct": 0.5})]),
            ("\"power_pct\": 0.5", vec![json!({"power_pct": 0.5})]),
            ("{'a': 1, }", vec![json!({"a": 1})]),
            ("{a: 1}\n{b: [2,\n 3]}\n", vec![json!({"a": 1}), json!({"b": [2, 3]})]),
            (
                "{a: \"}\\\"\", b: 'it''s}', c: it's} # so\n{d: 1}",
                vec![json!({"a": "}\"", "b": "it's}", "c": "it's"}), json!({"d": 1})],
            ),
            ("- a: 1\n- b: 2\n", vec![json!({"a": 1}), json!({"b": 2})]),
            ("a: 1\n---\nb: 2\n...\n", vec![json!({"a": 1}), json!({"b": 2})]),
            ("--- # first\na: 1\n--- {b: 2}", vec![json!({"a": 1}), json!({"b": 2})]),
            ("{\"a\":1}\n---\nb: 2", vec![json!({"a": 1}), json!({"b": 2})]),
            (
                "a:\n  b: no # a text in YAML 1.2\n  c: yes\n  d: true\n  e:",
                vec![json!({"a": {"b": "no", "c": "yes", "d": true, "e": null}})],
            ),
            (
                "{a: 18446744073709551615, b: -3, c: 1e3, 5: x}",
                vec![json!({"a": u64::MAX, "b": -3, "c": 1000.0, "5": "x"})],
            ),
            ("a: &x {b: 1}\nc: *x", vec![json!({"a": {"b": 1}, "c": {"b": 1}})]),
            ("0.5", vec![json!(0.5)]),
            ("power_pct:0.5", vec![json!("power_pct:0.5")]),
        ] {
            assert_eq!(parse(text).map_err(|failure| failure.message), Ok(requests), "{text}");
        }
    }

    #[test]
    fn what_is_neither_is_refused_in_the_words_of_what_it_resembles() {
        for (text, beginning) in [
            (
                "{\"power_pct\": 0.5",
                "the request is no JSON: EOF while parsing an object at line 1 column 17\n",
            ),
            ("{\"a\": 1} }", "the request is neither JSON nor YAML: "),
            ("{power_pct: 0.5", "the request is neither JSON nor YAML: "),
            ("a: 1\n  b: 2", "the request is neither JSON nor YAML: "),
            ("a: 1\na: 2", "the request is neither JSON nor YAML: "),
            ("a: .nan", "the request is neither JSON nor YAML: "), // In proto3's JSON it is the string NaN.
        ] {
            let message = parse(text).unwrap_err().message;
            assert!(message.starts_with(beginning), "{text}: {message}");
            assert!(message.contains("in single quotes"), "{message}");
        }
    }

    #[test]
    fn what_is_complete_is_taken_before_more_comes() {
        for (text, complete, taken) in [
            ("{\"a\": 1} {\"b\"", 1, 8),
            ("{\"a\": 1}{\"b\": 2}", 2, 16),
            ("{a: 1}\n{b:", 1, 6),
            ("{a:\n1}\n", 1, 7),
            ("a: 1\n", 0, 0),
            ("a: 1\n---\nb: 2\n", 1, 5),
            ("a: 1\n---", 0, 0),
        ] {
            let mut requests = Vec::new();
            assert_eq!(take(text, true, &mut requests).unwrap(), taken, "{text}");
            assert_eq!(requests.len(), complete, "{text}");
        }
    }
}
