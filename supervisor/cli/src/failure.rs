//! End of a verb: its exit code, and the text on stderr when that is not 0.

use std::process::ExitCode;

use mainstay_model::text::plain_lines;
use tonic::{Code, Status};

/// The exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Failed subject of the verb: a bad config, a call that failed, a resource that does not exist.
    Wrong = 1,
    /// Bad usage: the question itself cannot be understood or has several answers.
    Usage = 2,
    /// No machine to talk to.
    NoMachine = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// CliError of a verb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CliError {
    /// The exit code to end with.
    pub exit: Exit,
    /// Text for people: what, where, why and the cure. Empty when there is nothing left to say.
    pub message: String,
    /// The gRPC code's name where a call was refused, for example `UNAVAILABLE`.
    pub code: Option<String>,
}

impl CliError {
    fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            code: None,
        }
    }

    /// CliError of the verb's subject.
    pub fn wrong(message: impl Into<String>) -> Self {
        Self::new(Exit::Wrong, message)
    }

    /// The question is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// CliError without a machine to ask.
    pub fn no_machine(message: impl Into<String>) -> Self {
        Self::new(Exit::NoMachine, message)
    }

    /// Success at a closed pipe: the reader of our output has seen enough (`mainstay status | head -1`).
    pub fn reader_gone() -> Self {
        Self::new(Exit::Done, "")
    }

    /// Prints the failure on stderr, as JSON when the verb was asked for JSON, and turns it into the exit code.
    pub fn report(&self, json: bool) -> Exit {
        use std::io::Write as _;
        if !self.message.is_empty() {
            // A closed stderr leaves nobody to tell.
            let _ = writeln!(std::io::stderr(), "{}", self.text(json));
        }
        self.exit
    }

    fn text(&self, json: bool) -> String {
        if json {
            return serde_json::json!({ "error": { "code": self.code, "message": self.message } }).to_string();
        }
        match (&self.code, self.exit) {
            (Some(code), _) => format!("error: {code}: {}", self.message),
            // Nothing is broken; there is just nobody to ask.
            (None, Exit::NoMachine) => self.message.clone(),
            (None, _) => format!("error: {}", self.message),
        }
    }
}

impl From<Status> for CliError {
    /// The text may be a module's, so what would steer the terminal is left out.
    fn from(status: Status) -> Self {
        let message = match plain_lines(status.message()) {
            empty if empty.is_empty() => "the machine gave no reason".to_owned(),
            message => message,
        };
        Self {
            code: Some(code_name(status.code())),
            ..Self::wrong(message)
        }
    }
}

/// The name of a gRPC code as gRPC itself writes it: `NOT_FOUND` for `NotFound`.
fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_end_has_its_documented_exit_code() {
        let cases = [
            (CliError::reader_gone().exit, 0),
            (CliError::wrong("w").exit, 1),
            (CliError::from(Status::unavailable("gone")).exit, 1),
            (CliError::usage("u").exit, 2),
            (CliError::no_machine("n").exit, 3),
        ];
        for (exit, number) in cases {
            assert_eq!(ExitCode::from(exit), ExitCode::from(number));
        }
    }

    #[test]
    fn codes_have_the_names_of_the_grpc_specification() {
        let names: Vec<_> = (0..17).map(|number| code_name(Code::from_i32(number))).collect();
        assert_eq!(
            names.join(" "),
            "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED \
             RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS \
             UNAUTHENTICATED"
        );
    }

    #[test]
    fn what_a_module_says_does_not_steer_the_terminal() {
        let failure = CliError::from(Status::internal(
            "a\x1b[2Jb\u{202e}c\u{2028}d\u{9b}31m\r\nnext\tline\x07\n",
        ));
        assert_eq!(failure.message, "abc d31m\nnext line");
        assert_eq!(
            CliError::from(Status::internal("\x1b[0m")).message,
            "the machine gave no reason"
        );
    }

    #[test]
    fn a_refused_call_names_its_code() {
        let failure = CliError::from(Status::unavailable("module `wheels` is restarting"));
        assert_eq!(failure.text(false), "error: UNAVAILABLE: module `wheels` is restarting");
        assert_eq!(
            failure.text(true),
            r#"{"error":{"code":"UNAVAILABLE","message":"module `wheels` is restarting"}}"#
        );
        assert_eq!(CliError::usage("which one?").text(false), "error: which one?");
        assert_eq!(CliError::no_machine("nobody here").text(false), "nobody here");
    }
}
