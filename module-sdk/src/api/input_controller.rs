//! `rdk:component:input_controller`: gamepads and the like.

use std::time::SystemTime;

use mainstay_proto::viam::component::inputcontroller::v1;

use super::Streaming;
use crate::{Object, Resource, Result, api, wire::Message};

/// Input controller (`rdk:component:input_controller`).
///
/// ```
/// use mainstay_module::{
///     api::{Streaming, input_controller::{Event, InputController, Subscription, event}},
///     prelude::*,
/// };
/// # struct Pad;
/// # impl Resource for Pad {}
///
/// #[async_trait]
/// impl InputController for Pad {
///     async fn controls(&self, extra: &Object) -> Result<Vec<String>> {
///         Ok(vec!["AbsoluteX".into(), "ButtonStart".into()])
///     }
///     async fn events(&self, extra: &Object) -> Result<Vec<Event>> {
///         Ok(vec![Event::now(event::POSITION_CHANGE_ABS, "AbsoluteX", -0.5)])
///     }
///     async fn stream_events(&self, wanted: &[Subscription], extra: &Object) -> Result<Streaming<Event>> {
///         Ok(Box::pin(futures_util::stream::iter([Ok(Event::now(event::BUTTON_PRESS, "ButtonStart", 1.0))])))
///     }
/// }
/// ```
#[api(
    "rdk:component:input_controller",
    v1::InputControllerService { DoCommand, GetStatus, GetGeometries }
)]
pub trait InputController: Resource {
    /// Returns the names of the controls, such as `AbsoluteX`, `ButtonSouth`, `AbsolutePedalBrake`.
    #[rpc(GetControls { controller: self } -> controls)]
    async fn controls(&self, extra: &Object) -> Result<Vec<String>>;

    /// Returns the last event of each control.
    #[rpc(GetEvents { controller: self } -> events)]
    async fn events(&self, extra: &Object) -> Result<Vec<Event>>;

    /// Streams the wanted events until the caller drops the stream.
    #[rpc(stream StreamEvents { controller: self, events: wanted } -> event)]
    async fn stream_events(&self, wanted: &[Subscription], extra: &Object) -> Result<Streaming<Event>>;

    /// Acts as if the event had happened.
    #[rpc(TriggerEvent { controller: self }, optional)]
    async fn trigger_event(&self, event: Event, extra: &Object) -> Result<()>;
}

/// Names of events.
#[allow(missing_docs, reason = "the constants are the names")]
pub mod event {
    /// Stands for all others, in a [`Subscription`](super::Subscription).
    pub const ALL: &str = "AllEvents";
    pub const CONNECT: &str = "Connect";
    pub const DISCONNECT: &str = "Disconnect";
    pub const BUTTON_PRESS: &str = "ButtonPress";
    pub const BUTTON_RELEASE: &str = "ButtonRelease";
    pub const BUTTON_HOLD: &str = "ButtonHold";
    /// Stands for press and release, in a [`Subscription`](super::Subscription).
    pub const BUTTON_CHANGE: &str = "ButtonChange";
    pub const POSITION_CHANGE_ABS: &str = "PositionChangeAbs";
    pub const POSITION_CHANGE_REL: &str = "PositionChangeRel";
}

/// Event of a control.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(v1::Event)]
pub struct Event {
    /// When it happened.
    pub time: Option<SystemTime>,
    /// Name of the event, one of those in [`event`].
    pub event: String,
    /// Name of the control.
    pub control: String,
    /// Buttons 0 or 1, axes -1 to 1, pedals 0 to 1.
    pub value: f64,
}

impl Event {
    /// Creates an event that happens now.
    #[must_use]
    pub fn now(event: &str, control: &str, value: f64) -> Self {
        let time = Some(SystemTime::now());
        Self {
            time,
            event: event.to_owned(),
            control: control.to_owned(),
            value,
        }
    }
}

/// Events of one control that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::stream_events_request::Events)]
pub struct Subscription {
    /// Name of the control.
    pub control: String,
    /// Names of the events, those in [`event`].
    pub events: Vec<String>,
    /// Names of events that are wanted no more.
    pub cancelled_events: Vec<String>,
}

impl Subscription {
    /// Returns whether it wants an event of this name.
    #[must_use]
    pub fn wants(&self, name: &str) -> bool {
        let named = |list: &[String]| {
            list.iter().any(|wanted| match wanted.as_str() {
                event::ALL => true,
                event::BUTTON_CHANGE => matches!(name, event::BUTTON_PRESS | event::BUTTON_RELEASE),
                wanted => wanted == name,
            })
        };
        named(&self.events) && !named(&self.cancelled_events)
    }
}
