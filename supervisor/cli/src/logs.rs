//! `mainstay logs`: what a module printed and logged, over all its processes.

use mainstay_model::text;
use mainstay_proto::mainstay::control::v1::{LogLevel, LogLine, LogStream, LogsRequest};
use serde_json::json;

use crate::failure::{CliError, Exit};
use crate::output::print;
use crate::target;
use crate::target::MachineSelector;
use crate::terminal::{Colour, Style};
use crate::times::{at, rfc3339};

/// Arguments of `mainstay logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay logs wheels             all lines that the machine keeps, about the last 1,000
  mainstay logs wheels -f -n 20    the last 20 lines, then new ones as they come
  mainstay logs wheels --json      a JSON object per line

Lines of the module's earlier processes are included. If a module prints more than 200 lines a second, the excess is \
counted instead of kept.")]
pub struct Arguments {
    /// Name of the module, as in `mainstay status`; built-in ones are `builtin:fake` and so on
    #[arg(value_name = "MODULE")]
    module: String,
    /// Follow until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Number of newest lines to begin with [default: all that are kept]
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), or no such module (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let mut client = target::control(&arguments.selector, "logs").await?;
    let request = LogsRequest {
        module: arguments.module,
        follow: arguments.follow,
        last: arguments.lines,
    };
    let mut lines = client.logs(request).await?.into_inner();
    let style = Style::stdout();
    let show = async {
        while let Some(line) = lines.message().await? {
            print(&render(&line, arguments.json, style))?;
        }
        Ok(())
    };
    target::until_interrupted(arguments.follow, show).await
}

/// One line as text, or as JSON, of which the keys are a promise to scripts.
fn render(line: &LogLine, as_json: bool, style: Style) -> String {
    let stream = match line.stream() {
        LogStream::Unspecified => "unknown",
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Log => "log",
        LogStream::Core => "core",
    };
    let (level, colour) = match line.level() {
        LogLevel::Unspecified => ("unknown", Colour::Dim),
        LogLevel::Trace => ("trace", Colour::Dim),
        LogLevel::Debug => ("debug", Colour::Dim),
        LogLevel::Info => ("info", Colour::Green),
        LogLevel::Warn => ("warn", Colour::Yellow),
        LogLevel::Error => ("error", Colour::Red),
    };
    if as_json {
        let json = json!({
            "number": line.number,
            "time": rfc3339(line.time.as_ref()),
            // `stdout`, `stderr`, `log` (sent through the robot protocol) or `core`.
            "stream": stream,
            // `trace`, `debug`, `info`, `warn` or `error`.
            "level": level,
            "text": line.text,
            // Lines directly before this one that are lost.
            "missed": line.missed,
        });
        return json.to_string();
    }
    let at = at(line.time.as_ref()).map(text::time);
    let level = style.paint(colour, &format!("{:<5}", level.to_uppercase()));
    let stream = style.paint(Colour::Dim, &format!("{stream:<6}"));
    let shown = format!("{} {level} {stream} {}", at.unwrap_or_default(), line.text);
    match line.missed {
        0 => shown,
        missed => format!("… {missed} lines are not kept any more\n{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_shown_with_time_level_and_stream() {
        let mut line = LogLine {
            number: 7,
            time: Some(prost_types::Timestamp {
                seconds: 1_700_000_000,
                nanos: 5_000_000,
            }),
            stream: LogStream::Stderr.into(),
            level: LogLevel::Warn.into(),
            text: "slow".into(),
            missed: 0,
        };
        let shown = |line: &LogLine, json| render(line, json, Style::PLAIN);
        assert_eq!(shown(&line, false), "2023-11-14T22:13:20.005Z WARN  stderr slow");
        line.missed = 3;
        assert_eq!(
            shown(&line, false),
            "… 3 lines are not kept any more\n2023-11-14T22:13:20.005Z WARN  stderr slow"
        );
        assert_eq!(
            shown(&line, true),
            r#"{"number":7,"time":"2023-11-14T22:13:20.005Z","stream":"stderr","level":"warn","text":"slow","missed":3}"#
        );
    }
}
