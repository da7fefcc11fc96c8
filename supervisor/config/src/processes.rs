//! `processes`: no longer run, and looked at only to say what is wrong with them.

use crate::keys::PROCESS;
use crate::node::{NodeValue, TreeNode};
use crate::read::Reader;

/// Says that they are not run, and what is wrong with each.
pub(super) fn check(reader: &mut Reader, node: &TreeNode) {
    reader
        .warn(node.span, "`processes` are not run; they were abolished")
        .help = Some("make it a module, or a unit of the system's service manager".to_owned());
    let NodeValue::List(items) = &node.value else {
        reader.wrong_type("`processes`", node, "a list");
        return;
    };
    for item in items {
        let Some(keys) = reader.keys(&PROCESS, item) else {
            continue;
        };
        reader.interval(&keys, "stop_timeout");
        if let Some(signal) = reader.text(&keys, "stop_signal").filter(|signal| !is_signal(signal)) {
            let message = format!("`{}` is no signal", signal.escape_debug());
            reader.error(keys.span_of("stop_signal"), message).help = Some("for example SIGTERM".to_owned());
        }
    }
}

/// A name with or without `SIG` in front, or a number.
fn is_signal(text: &str) -> bool {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let known = ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "USR2", "TERM"];
    text.is_empty() || known.contains(&name) || text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number))
}
