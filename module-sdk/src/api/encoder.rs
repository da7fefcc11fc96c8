//! `rdk:component:encoder`: position of a shaft.

use std::sync::Arc;

use mainstay_proto::viam::component::encoder::v1;

use crate::{
    Error, Object, Resource, Result, api,
    wire::{Message, Wire},
};

/// Encoder, which measures the position of a shaft (`rdk:component:encoder`).
///
/// ```
/// use mainstay_module::{api::encoder::{Position, Properties, Unit}, prelude::*};
/// # struct Shaft { ticks: f32 }
/// # impl Resource for Shaft {}
///
/// #[async_trait]
/// impl Encoder for Shaft {
///     async fn position(&self, unit: Option<Unit>, extra: &Object) -> Result<Position> {
///         match unit {
///             None | Some(Unit::Ticks) => Ok(Position { value: self.ticks, unit: Unit::Ticks }),
///             Some(Unit::Degrees) => Err(Error::invalid_argument("this encoder counts ticks")),
///         }
///     }
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { ticks: true, degrees: false })
///     }
///     // If it can be done:
///     async fn reset_position(&self, extra: &Object) -> Result<()> {
///         Err(Error::failed_precondition("the shaft turns"))
///     }
/// }
/// ```
#[api("rdk:component:encoder", v1::EncoderService { DoCommand, GetStatus, GetGeometries })]
pub trait Encoder: Resource {
    /// Returns the position since zero, in `unit`; `None` leaves the unit to the encoder.
    ///
    /// # Errors
    /// Models return INVALID_ARGUMENT for a unit they do not support.
    #[rpc(GetPosition { position_type: unit }, serve = serve_position, call = call_position)]
    async fn position(&self, unit: Option<Unit>, extra: &Object) -> Result<Position>;

    /// Sets the zero to the current position.
    #[rpc(ResetPosition, optional)]
    async fn reset_position(&self, extra: &Object) -> Result<()>;

    /// Returns the units that the encoder supports.
    #[rpc(GetProperties)]
    async fn properties(&self, extra: &Object) -> Result<Properties>;
}

/// Unit of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[message(v1::PositionType)]
pub enum Unit {
    /// Ticks.
    #[message(TicksCount)]
    Ticks,
    /// Degrees.
    #[message(AngleDegrees)]
    Degrees,
}

/// Position of an encoder since zero.
#[derive(Clone, Copy, Debug, PartialEq, Message)]
#[message(v1::GetPositionResponse)]
pub struct Position {
    /// Position in `unit`. The wire carries 24 bits of precision.
    pub value: f32,
    /// Unit of `value`.
    #[message(position_type)]
    pub unit: Unit,
}

/// Units that an encoder supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetPropertiesResponse)]
pub struct Properties {
    /// True if it supports [`Unit::Ticks`].
    #[message(ticks_count_supported)]
    pub ticks: bool,
    /// True if it supports [`Unit::Degrees`].
    #[message(angle_degrees_supported)]
    pub degrees: bool,
}

/// Answers a request for a position. A unit that nobody knows is none.
async fn serve_position(encoder: Arc<dyn Encoder>, request: v1::GetPositionRequest) -> Result<v1::GetPositionResponse> {
    let unit = request
        .position_type
        .and_then(|unit| Unit::from_wire(unit, "position_type").ok());
    let position = encoder
        .position(unit, &Wire::from_wire(request.extra, "extra")?)
        .await?;
    Ok(position.into_wire())
}

async fn call_position(client: &EncoderClient, unit: Option<Unit>, extra: &Object) -> Result<Position> {
    let request = client.0.request(v1::GetPositionRequest {
        name: client.0.name().to_owned(),
        position_type: unit.into_wire(),
        extra: extra.clone().into_wire(),
    });
    let answer = client
        .0
        .response(async move { client.stub().get_position(request).await });
    let v1::GetPositionResponse { value, position_type } = answer.await?;
    // An encoder that does not say what it counts counts what it was asked for.
    let unit = Unit::from_wire(position_type, "position_type").ok().or(unit);
    let unit = unit.ok_or_else(|| {
        Error::unknown(format_args!(
            "encoder `{}` does not say what its position counts",
            client.0.name()
        ))
    })?;
    Ok(Position { value, unit })
}
