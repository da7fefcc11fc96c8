//! Panic hook: a log entry at ERROR with resource, method and place of every panic in the process.

use std::{
    panic::{PanicHookInfo, set_hook, take_hook},
    sync::Once,
};

use crate::call::Scope;

/// Adds the log entry to whatever the process does at a panic, once.
pub(crate) fn log_panics() {
    static ADDED: Once = Once::new();
    ADDED.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |panic| {
            log(panic);
            // It writes to stderr, with a back trace if `RUST_BACKTRACE` asks for one; and if the process aborts now,
            // nothing else is heard.
            before(panic);
        }));
    });
}

fn log(panic: &PanicHookInfo<'_>) {
    let text = panic.payload_as_str().unwrap_or("no text");
    let method = Scope::method()
        .map(|method| format!(" in {method}"))
        .unwrap_or_default();
    match panic.location() {
        Some(place) => tracing::error!(
            log.file = place.file(),
            log.line = place.line(),
            "panic{method}: {text}"
        ),
        None => tracing::error!("panic{method}: {text}"),
    }
}
