//! `mainstay logs`: what the machine logged, core and modules merged in time; or what one module printed and logged.

use std::path::PathBuf;
use std::time::SystemTime;

use mainstay_config::store::{LastGood, machine_log};
use mainstay_model::duration::parse as parse_duration;
use mainstay_model::text;
use mainstay_proto::mainstay::control::v1::{LogLevel, LogLine, LogStream, LogsRequest};
use mainstay_wire::log::{LogFilter, Newest};
use serde_json::json;

use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::selector::MachineSelector;
use crate::target;
use crate::terminal::{Colour, Style};
use crate::times::{at, rfc3339};

/// Lines of the whole machine that are shown where nobody says how many, or since when.
const USUAL_LINES: u32 = 1000;

/// Arguments of `mainstay logs`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay logs                         the last 1,000 lines of the core and all modules
  mainstay logs -f --level warn         warnings and errors, then new ones as they come
  mainstay logs --since 1h --json       a JSON object per line
  mainstay logs wheels -f -n 20         the last 20 lines of one module, then new ones

Without a module, lines from before the last start of the core are included: up to 8 MB are kept on the disk. With \
`--machine`, those of a machine that does not run are shown, too. With a module, all that is kept in memory is shown, about \
its last 1,000 lines, of earlier processes too. If a module prints more than 200 lines a second, the excess is counted \
instead of kept.")]
pub struct Arguments {
    /// Name of a module, as in `mainstay status`; built-in ones are `builtin:fake` and so on [default: the whole machine]
    #[arg(value_name = "MODULE")]
    module: Option<String>,
    /// Follow until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Number of newest lines to begin with
    #[arg(short = 'n', long, value_name = "N")]
    lines: Option<u32>,
    /// Only lines from this time on: how long ago (`90s`, `10m`, `2h`), or an RFC 3339 time
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<SystemTime>,
    /// Only lines of this level and above
    #[arg(long, value_name = "LEVEL")]
    level: Option<LeastLevel>,
    #[command(flatten)]
    selector: MachineSelector,
    /// Print JSON, one object per line
    #[arg(long)]
    pub json: bool,
}

/// Levels to ask for.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LeastLevel {
    Debug,
    Info,
    Warn,
    Error,
}

impl LeastLevel {
    fn on_the_wire(self) -> LogLevel {
        match self {
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warn => LogLevel::Warn,
            Self::Error => LogLevel::Error,
        }
    }
}

/// Reads how long ago, or when.
fn parse_since(written: &str) -> Result<SystemTime, String> {
    let ago = parse_duration(written)
        .ok()
        .and_then(|ago| SystemTime::now().checked_sub(ago));
    ago.or_else(|| text::parse_time(written).ok()).ok_or_else(|| {
        "write how long ago, like `90s`, `10m` or `2h`, or a time like `2026-11-30T04:25:10Z`".to_owned()
    })
}

/// Runs the verb.
///
/// # Errors
/// No machine (3), or no such module (1).
pub async fn run(arguments: Arguments) -> Result<Exit, CliError> {
    let whole = arguments.module.is_none();
    let usual = (whole && arguments.since.is_none()).then_some(USUAL_LINES);
    let level = arguments.level.map_or(LogLevel::Unspecified, LeastLevel::on_the_wire);
    let request = LogsRequest {
        module: arguments.module.unwrap_or_default(),
        follow: arguments.follow,
        last: arguments.lines.or(usual),
        since: arguments.since.map(Into::into),
        min_level: level.into(),
    };
    let (as_json, style) = (arguments.json, Style::stdout());
    let mut client = match target::control(&arguments.selector, "logs").await {
        Ok(client) => client,
        Err(failure) if failure.exit == Exit::NoMachine && whole && !arguments.follow => {
            let Some(config) = arguments.selector.named_config() else {
                return Err(failure);
            };
            return of_the_dead(config, &request, as_json, style).ok_or(failure)?;
        }
        Err(failure) => return Err(failure),
    };
    let mut lines = client.logs(request).await?.into_inner();
    let show = async {
        while let Some(line) = lines.message().await? {
            print(&render(&line, whole, as_json, style))?;
        }
        Ok(())
    };
    target::until_interrupted(arguments.follow, show).await
}

/// Shows what a machine that does not run logged. `None` if it never did.
fn of_the_dead(config: PathBuf, request: &LogsRequest, as_json: bool, style: Style) -> Option<Result<Exit, CliError>> {
    let store = LastGood::open(&config);
    let folder = store.folder().filter(|folder| machine_log::path(folder).exists())?;
    let mut newest = Newest::new(LogFilter::of(request), request.last);
    machine_log::read(folder, |record| newest.add(record));
    note(&format!(
        "no machine runs {} now; what the last one logged:",
        config.display()
    ));
    let shown = newest
        .lines
        .iter()
        .try_for_each(|line| print(&render(line, true, as_json, style)));
    Some(shown.map(|()| Exit::Done))
}

/// One line of the whole machine, or of a module, as text, or as JSON, of which the keys are a promise to scripts.
fn render(line: &LogLine, whole: bool, as_json: bool, style: Style) -> String {
    let stream = match line.stream() {
        LogStream::Unspecified => "unknown",
        LogStream::Stdout => "stdout",
        LogStream::Stderr => "stderr",
        LogStream::Log => "log",
        LogStream::Core => "core",
        LogStream::Build => "build",
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
        let mut json = json!({
            "number": line.number,
            "time": rfc3339(line.time.as_ref()),
            // `stdout`, `stderr`, `log` (sent through the robot protocol), `build` or `core`.
            "stream": stream,
            // `trace`, `debug`, `info`, `warn` or `error`.
            "level": level,
            "text": line.text,
            // Lines directly before this one that are lost.
            "missed": line.missed,
        });
        if whole {
            // What it is from or about; empty for the core alone.
            json["module"] = json!(line.module);
        }
        return json.to_string();
    }
    let at = at(line.time.as_ref()).map(text::time);
    let level = style.paint(colour, &format!("{:<5}", level.to_uppercase()));
    let origin = match (whole, line.module.as_str()) {
        (false, _) => format!("{stream:<6}"),
        (true, "") => "core".to_owned(),
        (true, module) => format!("[{module}]"),
    };
    let origin = style.paint(Colour::Dim, &origin);
    let shown = format!("{} {level} {origin} {}", at.unwrap_or_default(), line.text);
    match line.missed {
        0 => shown,
        missed => format!("… {missed} lines are not kept any more\n{shown}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_ages_or_dates() {
        let age = |text: &str| {
            SystemTime::now()
                .duration_since(parse_since(text).expect(text))
                .expect("past")
        };
        assert!((Duration::from_secs(5399)..Duration::from_secs(5460)).contains(&age("1h30m")));
        assert!(age("2023-11-14T22:13:20Z") > Duration::from_secs(86_400));
        for wrong in ["yesterday", "10", "-5m"] {
            assert!(parse_since(wrong).is_err(), "{wrong}");
        }
    }

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
            module: "wheels".into(),
        };
        let shown = |line: &LogLine, json| render(line, false, json, Style::PLAIN);
        assert_eq!(
            render(&line, true, false, Style::PLAIN),
            "2023-11-14T22:13:20.005Z WARN  [wheels] slow"
        );
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
