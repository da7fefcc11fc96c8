//! `rdk:component:encoder`: position of a shaft.

use async_trait::async_trait;
use mainstay_proto::viam::component::encoder::v1::{
    GetPositionRequest, GetPositionResponse, GetPropertiesRequest, GetPropertiesResponse, PositionType,
    ResetPositionRequest, ResetPositionResponse,
    encoder_service_client::EncoderServiceClient,
    encoder_service_server::{EncoderService, EncoderServiceServer},
};

use super::{
    macros::{resource_api, send, serve},
    unimplemented,
};
use crate::{
    Error, Object, Resource, Result,
    value::wire::{from_struct, to_extra},
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
#[async_trait]
pub trait Encoder: Resource {
    /// Returns the position since zero, in `unit`; `None` leaves the unit to the encoder.
    ///
    /// # Errors
    /// Models return INVALID_ARGUMENT for a unit they do not support.
    async fn position(&self, unit: Option<Unit>, extra: &Object) -> Result<Position>;

    /// Sets the zero to the current position.
    async fn reset_position(&self, extra: &Object) -> Result<()> {
        let _ = extra;
        unimplemented("ResetPosition")
    }

    /// Returns the units that the encoder supports.
    async fn properties(&self, extra: &Object) -> Result<Properties>;
}

/// Unit of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Ticks.
    Ticks,
    /// Degrees.
    Degrees,
}

/// Position of an encoder since zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// Position in `unit`. The wire carries 24 bits of precision.
    pub value: f32,
    /// Unit of `value`.
    pub unit: Unit,
}

/// Units that an encoder supports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// True if it supports [`Unit::Ticks`].
    pub ticks: bool,
    /// True if it supports [`Unit::Degrees`].
    pub degrees: bool,
}

impl Unit {
    /// Converts the number of the wire. `None`, also for unknown numbers, leaves the unit to the encoder.
    fn from_wire(unit: i32) -> Option<Self> {
        match PositionType::try_from(unit) {
            Ok(PositionType::TicksCount) => Some(Self::Ticks),
            Ok(PositionType::AngleDegrees) => Some(Self::Degrees),
            Ok(PositionType::Unspecified) | Err(_) => None,
        }
    }

    fn to_wire(self) -> i32 {
        match self {
            Self::Ticks => PositionType::TicksCount.into(),
            Self::Degrees => PositionType::AngleDegrees.into(),
        }
    }
}

resource_api!(
    dyn Encoder = "rdk:component:encoder" via EncoderServiceServer, EncoderServiceClient as Client with get_geometries
);

serve! {
    impl EncoderService for dyn Encoder with get_geometries {
        fn get_position(encoder, request: GetPositionRequest) -> GetPositionResponse {
            let unit = request.position_type.and_then(Unit::from_wire);
            let Position { value, unit } = encoder.position(unit, &from_struct(request.extra)).await?;
            GetPositionResponse { value, position_type: unit.to_wire() }
        }
        fn reset_position(encoder, request: ResetPositionRequest) -> ResetPositionResponse {
            encoder.reset_position(&from_struct(request.extra)).await?;
            ResetPositionResponse {}
        }
        fn get_properties(encoder, request: GetPropertiesRequest) -> GetPropertiesResponse {
            let Properties { ticks, degrees } = encoder.properties(&from_struct(request.extra)).await?;
            GetPropertiesResponse { ticks_count_supported: ticks, angle_degrees_supported: degrees }
        }
    }
}

#[async_trait]
impl Encoder for Client {
    async fn position(&self, unit: Option<Unit>, extra: &Object) -> Result<Position> {
        let position_type = unit.map(Unit::to_wire);
        let request = GetPositionRequest {
            name: self.name(),
            position_type,
            extra: to_extra(extra),
        };
        let GetPositionResponse { value, position_type } = send!(self.get_position(request))?;
        // An encoder that does not say what it counts counts what it was asked for.
        let unit = Unit::from_wire(position_type).or(unit).ok_or_else(|| {
            Error::unknown(format_args!(
                "encoder `{}` does not say what its position counts",
                self.name()
            ))
        })?;
        Ok(Position { value, unit })
    }

    async fn reset_position(&self, extra: &Object) -> Result<()> {
        let request = ResetPositionRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        send!(self.reset_position(request)).map(drop)
    }

    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let request = GetPropertiesRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        let answer = send!(self.get_properties(request))?;
        Ok(Properties {
            ticks: answer.ticks_count_supported,
            degrees: answer.angle_degrees_supported,
        })
    }
}
