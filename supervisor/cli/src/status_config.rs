//! Text about the running config against its file. Empty when all is as it should be.

use std::time::SystemTime;

use mainstay_model::text::plain;
use mainstay_proto::mainstay::control::v1::{ConfigState, ConfigStatus};

use crate::human;
use crate::table::wrap;
use crate::terminal::{Colour, Style};
use crate::times::{since, until};

/// A sentence, then the reasons, one line each or more.
pub fn lines(config: &ConfigStatus, now: SystemTime, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some((sentence, colour)) = sentence(config, now) {
        let wrapped = wrap(&sentence, style.width);
        lines.extend(wrapped.iter().map(|line| style.paint(colour, line)));
        lines.extend(
            config
                .reasons
                .iter()
                .flat_map(|reason| reason.lines())
                .map(|line| format!("  {}", plain(line))),
        );
    }
    if !config.unkept.is_empty() {
        let line = format!("the config is not kept on the disk: {}", plain(&config.unkept));
        lines.extend(wrap(&line, style.width));
    }
    lines
}

fn sentence(config: &ConfigStatus, now: SystemTime) -> Option<(String, Colour)> {
    let ago = since(config.since.as_ref(), now)
        .map(human::duration)
        .unwrap_or_default();
    let left = until(config.until.as_ref(), now)
        .map(human::duration)
        .unwrap_or_default();
    let kept = config
        .revision
        .map(|revision| format!(" (revision {revision})"))
        .unwrap_or_default();
    let (text, colour) = match config.state() {
        ConfigState::Current | ConfigState::Unspecified => return None,
        ConfigState::Refused => (
            match config.until {
                Some(_) => format!("config refused {ago} ago, tried again in {left}; what ran before runs on{kept}"),
                None => format!("config refused {ago} ago; what ran before runs on{kept}"),
            },
            Colour::Red,
        ),
        ConfigState::Away => (
            format!("config file away for {ago}; what it held last runs on{kept}"),
            Colour::Red,
        ),
        ConfigState::Waiting => (
            format!("a change of the config waits for maintenance since {ago}; asked again in {left}"),
            Colour::Yellow,
        ),
        ConfigState::Applying => (
            format!("a change of the config is being applied, since {ago}"),
            Colour::Yellow,
        ),
        ConfigState::Watching => (
            format!("a change of the config is watched for {left} more; it goes back if not all is well"),
            Colour::Yellow,
        ),
        ConfigState::Reverted => (
            format!("what the config file holds was applied and taken back {ago} ago; what ran before runs{kept}"),
            Colour::Red,
        ),
        ConfigState::Degraded => (
            format!("a change of the config was taken back {ago} ago, and not all is as well as before"),
            Colour::Red,
        ),
        ConfigState::Overridden => (
            format!(
                "not the config file but `{}` runs, applied {ago} ago",
                plain(&config.from)
            ),
            Colour::Yellow,
        ),
    };
    Some((text, colour))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_is_not_as_it_should_be_is_told() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let style = Style {
            colour: false,
            width: Some(200),
        };
        let config = |state: ConfigState| ConfigStatus {
            from: "/tmp/x.yaml".into(),
            revision: Some(5),
            state: state.into(),
            reasons: vec!["r.yaml:3:1: bad\n  more".into()],
            since: Some((now - Duration::from_secs(41)).into()),
            until: Some((now + Duration::from_secs(4)).into()),
            ..ConfigStatus::default()
        };
        assert!(lines(&config(ConfigState::Current), now, style).is_empty());
        for (state, parts) in [
            (
                ConfigState::Refused,
                ["refused 41 s ago, tried again in 4.0 s", "(revision 5)"],
            ),
            (ConfigState::Away, ["away for 41 s", "(revision 5)"]),
            (ConfigState::Waiting, ["since 41 s", "again in 4.0 s"]),
            (ConfigState::Watching, ["4.0 s more", "goes back"]),
            (ConfigState::Reverted, ["taken back 41 s ago", "(revision 5)"]),
            (ConfigState::Degraded, ["taken back 41 s ago", "not all is as well"]),
            (ConfigState::Overridden, ["`/tmp/x.yaml` runs", "41 s ago"]),
        ] {
            let told = lines(&config(state), now, style);
            assert!(parts.iter().all(|part| told[0].contains(part)), "{told:?}");
            assert_eq!(told[1..], ["  r.yaml:3:1: bad", "    more"]);
        }
        let unkept = ConfigStatus {
            unkept: "disk full".into(),
            ..ConfigStatus::default()
        };
        assert_eq!(
            lines(&unkept, now, style),
            ["the config is not kept on the disk: disk full"]
        );
    }
}
