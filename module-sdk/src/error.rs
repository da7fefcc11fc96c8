//! Error of resource methods: a gRPC code and a text. `?` converts everything that implements `std::error::Error`.

use std::{any::Any, error::Error as StdError, fmt};

pub use tonic::Code;
use tonic::Status;

use crate::wire::Malformed;

/// Result of resource methods.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Error of a call: a gRPC code for programs and a text for people.
///
/// `?` converts any error: a [`tonic::Status`] keeps its code and text, a field of a request that stands for nothing
/// ([`Malformed`]) is INVALID_ARGUMENT, and every other error becomes [`Code::Unknown`] with its text and those of its
/// sources.
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
    /// Creates an error with the given code.
    #[must_use]
    pub fn new(code: Code, message: impl fmt::Display) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    constructors! {
        /// Creates an UNKNOWN error, for hardware and libraries whose failure no other code describes.
        unknown Unknown;
        /// Creates an INVALID_ARGUMENT error: the request can never succeed as it is.
        invalid_argument InvalidArgument;
        /// Creates a NOT_FOUND error: the named thing does not exist.
        not_found NotFound;
        /// Creates a FAILED_PRECONDITION error: something else must be done first.
        failed_precondition FailedPrecondition;
        /// Creates an UNIMPLEMENTED error: the model does not offer the method.
        unimplemented Unimplemented;
        /// Creates an UNAVAILABLE error: the same request may succeed soon.
        unavailable Unavailable;
        /// Creates a DEADLINE_EXCEEDED error: the operation took too long.
        deadline_exceeded DeadlineExceeded;
        /// Creates a CANCELLED error: a newer call, a stop or the caller ended the operation.
        cancelled Cancelled;
        /// Creates an INTERNAL error: a bug in the module.
        internal Internal;
    }

    /// Returns the gRPC code that callers see.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the text that callers see.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Prefixes the text with the action that failed: `context("reading")` gives `reading: …`.
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
        // What a request says cannot be used: the caller's affair.
        if (&error as &dyn Any).is::<Malformed>() {
            return Self::invalid_argument(error);
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
        let missing = Error::from(Malformed::missing("pose"));
        assert_eq!(missing, Error::invalid_argument("`pose` is missing"));
        assert_eq!(call().unwrap_err().context("reading").message(), "reading: no such pin");
    }
}
