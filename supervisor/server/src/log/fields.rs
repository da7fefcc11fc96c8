//! Fields of an event, as text.

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};

/// The fields of one event, the ones with a meaning apart.
#[derive(Debug, Default)]
pub struct Fields {
    /// What is said.
    pub message: String,
    /// The module that it is about.
    pub module: Option<String>,
    /// The resource that it is about, which is among `rest`, too.
    pub resource: Option<String>,
    /// The job that it is about, which is among `rest`, too.
    pub job: Option<String>,
    /// Where a module printed it.
    pub stream: Option<String>,
    /// All others, ` name=value`.
    pub rest: String,
}

impl Fields {
    fn add(&mut self, field: &Field, text: String) {
        match field.name() {
            "message" => self.message = text,
            "module" => self.module = Some(text),
            "stream" => self.stream = Some(text),
            name => {
                let _ = write!(self.rest, " {name}={text}");
                match name {
                    "resource" => self.resource = Some(text),
                    "job" => self.job = Some(text),
                    _ => {}
                }
            }
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            let _ = write!(text, ": {cause}");
            source = cause.source();
        }
        self.add(field, text);
    }
}
