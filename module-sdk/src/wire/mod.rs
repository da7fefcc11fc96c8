//! Conversions between the types of an API and the fields of its messages.
//!
//! [`Message`] writes them for a struct with the fields of a message, and for an enum with the values of one:
//!
//! ```
//! use mainstay_module::wire::Message;
//! # mod v1 {
//! #     pub struct LampState { pub is_on: bool, pub brightness_pct: f64 }
//! #     pub enum Colour { Unspecified = 0, Red = 1, Green = 2 }
//! #     impl TryFrom<i32> for Colour {
//! #         type Error = ();
//! #         fn try_from(n: i32) -> Result<Self, ()> { [Self::Unspecified, Self::Red, Self::Green].into_iter().nth(n as usize).ok_or(()) }
//! #     }
//! # }
//!
//! #[derive(Message)]
//! #[message(v1::LampState)]
//! struct State {
//!     #[message(is_on)]
//!     on: bool,
//!     brightness_pct: f64,
//! }
//!
//! #[derive(Message)]
//! #[message(v1::Colour)]
//! enum Colour {
//!     Red,
//!     Green,
//! }
//! ```
//!
//! All fields of the message must be there, but those in `#[message(v1::LampState, unused(old, older))]`, which nobody reads. `#[message(v1::LampState, default)]` takes an absent message for the default
//! value, or an unknown number for the default variant; otherwise both are errors that name the field.

mod spatial;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
pub use mainstay_module_macros::Message;
use prost_types::{Struct, Timestamp};

use crate::{
    Object, Value,
    value::wire::{from_struct, from_value, to_extra, to_struct, to_value},
};

/// Type that a field of type `W` carries.
pub trait Wire<W>: Sized {
    /// Converts a value to the field.
    fn into_wire(self) -> W;

    /// Converts the field called `field` to a value.
    ///
    /// # Errors
    /// Why the field stands for no value.
    fn from_wire(wire: W, field: &'static str) -> Result<Self, Malformed>;
}

/// Reason why a message stands for no value, such as "`pose` is missing".
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(Cow<'static, str>);

impl Malformed {
    /// Creates the reason.
    #[must_use]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }

    /// A message or a choice that must be there is not.
    #[must_use]
    pub fn missing(field: &str) -> Self {
        Self::new(format!("`{field}` is missing"))
    }

    /// An enum has no such number, or it is the one for "unspecified".
    #[must_use]
    pub fn number(field: &str, number: i32) -> Self {
        if number == 0 {
            return Self::missing(field);
        }
        Self::new(format!("`{field}` has no value {number}"))
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

macro_rules! same {
    ($($kind:ty),*) => {
        $(impl Wire<$kind> for $kind {
            fn into_wire(self) -> Self { self }
            fn from_wire(wire: Self, _: &'static str) -> Result<Self, Malformed> { Ok(wire) }
        })*
    };
}

same!(bool, f32, f64, i32, i64, u32, u64, String, Bytes);

impl<T: Wire<W>, W> Wire<Option<W>> for Option<T> {
    fn into_wire(self) -> Option<W> {
        self.map(Wire::into_wire)
    }

    fn from_wire(wire: Option<W>, field: &'static str) -> Result<Self, Malformed> {
        wire.map(|wire| T::from_wire(wire, field)).transpose()
    }
}

impl<T: Wire<W>, W> Wire<Vec<W>> for Vec<T> {
    fn into_wire(self) -> Vec<W> {
        self.into_iter().map(Wire::into_wire).collect()
    }

    fn from_wire(wire: Vec<W>, field: &'static str) -> Result<Self, Malformed> {
        wire.into_iter().map(|wire| T::from_wire(wire, field)).collect()
    }
}

impl<T: Wire<W>, W> Wire<BTreeMap<String, W>> for BTreeMap<String, T> {
    fn into_wire(self) -> BTreeMap<String, W> {
        self.into_iter()
            .map(|(name, value)| (name, value.into_wire()))
            .collect()
    }

    fn from_wire(wire: BTreeMap<String, W>, field: &'static str) -> Result<Self, Malformed> {
        wire.into_iter()
            .map(|(name, wire)| Ok((name, T::from_wire(wire, field)?)))
            .collect()
    }
}

impl Wire<String> for Cow<'static, str> {
    fn into_wire(self) -> String {
        self.into_owned()
    }

    fn from_wire(wire: String, _: &'static str) -> Result<Self, Malformed> {
        Ok(wire.into())
    }
}

impl Wire<prost_types::Value> for Value {
    fn into_wire(self) -> prost_types::Value {
        to_value(self)
    }

    fn from_wire(wire: prost_types::Value, _: &'static str) -> Result<Self, Malformed> {
        Ok(from_value(wire))
    }
}

impl Wire<Struct> for Object {
    fn into_wire(self) -> Struct {
        to_struct(self)
    }

    fn from_wire(wire: Struct, _: &'static str) -> Result<Self, Malformed> {
        Ok(from_struct(Some(wire)))
    }
}

/// An empty object is left out, which peers read the same.
impl Wire<Option<Struct>> for Object {
    fn into_wire(self) -> Option<Struct> {
        to_extra(self)
    }

    fn from_wire(wire: Option<Struct>, _: &'static str) -> Result<Self, Malformed> {
        Ok(from_struct(wire))
    }
}

/// One too long for the wire, 10,000 years, becomes the longest.
impl Wire<prost_types::Duration> for Duration {
    fn into_wire(self) -> prost_types::Duration {
        self.try_into().unwrap_or(prost_types::Duration {
            seconds: 315_576_000_000,
            nanos: 0,
        })
    }

    fn from_wire(wire: prost_types::Duration, field: &'static str) -> Result<Self, Malformed> {
        wire.try_into()
            .map_err(|_| Malformed::new(format!("`{field}` is negative")))
    }
}

impl Wire<Timestamp> for SystemTime {
    fn into_wire(self) -> Timestamp {
        self.into()
    }

    fn from_wire(wire: Timestamp, field: &'static str) -> Result<Self, Malformed> {
        wire.try_into().map_err(|_| {
            Malformed::new(format!(
                "`{field}` is a time that the clock of this machine cannot hold"
            ))
        })
    }
}
