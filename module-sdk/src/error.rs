//! The error that resource methods return. Anything that implements `std::error::Error` becomes one with `?`.

use std::{any::Any, error::Error as StdError, fmt};

pub use tonic::Code;
use tonic::Status;

/// What resource methods return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed: a gRPC code for programs and a text for people.
///
/// `?` turns any error into one: a gRPC status keeps its code, everything else becomes [`Code::Unknown`] with the
/// texts of its sources.
#[derive(Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $code:ident;)*) => {
        $($(#[$doc])* #[must_use] pub fn $name(message: impl fmt::Display) -> Self { Self::new(Code::$code, message) })*
    };
}

impl Error {
    /// An error with a code of one's choice.
    #[must_use]
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    constructors! {
        /// What the hardware or a library says, when no other code tells more.
        unknown Unknown;
        /// The caller asked for something that can never work.
        invalid_argument InvalidArgument;
        /// There is no such thing.
        not_found NotFound;
        /// Something must be done first; the same call may work later.
        failed_precondition FailedPrecondition;
        /// This resource does not offer that.
        unimplemented Unimplemented;
        /// Not now; trying again soon may work.
        unavailable Unavailable;
        /// It took too long.
        deadline_exceeded DeadlineExceeded;
        /// A newer call, a stop or the caller ended it.
        cancelled Cancelled;
        /// A bug in the module.
        internal Internal;
    }

    /// The code that callers see.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// The text that callers see.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Puts what was being done in front of the text.
    #[must_use]
    pub fn context(self, doing: impl fmt::Display) -> Self {
        Self {
            code: self.code,
            message: format!("{doing}: {}", self.message),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

// `Error` is no `std::error::Error` itself: that is what lets `?` take every other error.
impl<E: StdError + Send + Sync + 'static> From<E> for Error {
    fn from(error: E) -> Self {
        if let Some(status) = (&error as &dyn Any).downcast_ref::<Status>() {
            return Self::new(status.code(), status.message());
        }
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            let text = error.to_string();
            // Some errors repeat their source in their own text.
            if !message.ends_with(&text) {
                message = format!("{message}: {text}");
            }
            source = error.source();
        }
        Self {
            code: Code::Unknown,
            message,
        }
    }
}

impl From<Error> for Status {
    fn from(Error { code, message }: Error) -> Self {
        Self::new(code, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_error_becomes_one_and_a_status_keeps_its_code() {
        fn parse() -> Result<u8> {
            Ok("x".parse::<u8>()?)
        }
        fn call() -> Result<()> {
            Err(Status::not_found("no such pin"))?
        }
        assert_eq!(parse().unwrap_err(), Error::unknown("invalid digit found in string"));
        assert_eq!(call().unwrap_err(), Error::not_found("no such pin"));
        assert_eq!(call().unwrap_err().context("reading").message(), "reading: no such pin");
    }
}
