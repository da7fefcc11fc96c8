//! `mainstay explain --denied`: calls that were refused lately because their callers had no right to, and the cure.

use std::time::SystemTime;

use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::Denial;
use serde_json::{Value, json};

use crate::human;
use crate::table::{TextTable, wrap};
use crate::terminal::Style;
use crate::times::{rfc3339, since};

/// One JSON document.
pub fn json(denials: &[Denial]) -> Value {
    let all = denials.iter().map(|denial| {
        json!({
            "last": rfc3339(denial.last.as_ref()),
            "entity": denial.entity,
            "roles": denial.roles,
            "method": denial.path,
            "resource": denial.resource,
            "cure": denial.cure,
            "count": denial.count,
        })
    });
    all.collect()
}

/// A table, the latest at the bottom, and what would have allowed the last of them.
pub fn lines(denials: &[Denial], now: SystemTime, style: Style) -> Vec<String> {
    let Some(last) = denials.last() else {
        return vec!["no call was refused for want of rights since the machine started".to_owned()];
    };
    let mut table = TextTable::new(["LAST", "TIMES", "WHO", "METHOD", "RESOURCE"]);
    for denial in denials {
        let ago =
            since(denial.last.as_ref(), now).map_or_else(String::new, |ago| format!("{} ago", human::duration(ago)));
        let method = denial.path.rsplit('/').next().unwrap_or_default();
        table.row([
            ago.into(),
            denial.count.to_string().into(),
            plain(&format!("{} ({})", denial.entity, denial.roles)).into(),
            plain(method).into(),
            plain(&denial.resource).into(),
        ]);
    }
    let mut lines = table.lines(style);
    lines.push(String::new());
    lines.extend(wrap(&plain(&format!("the last one: {}", last.cure)), style.width));
    lines
}
