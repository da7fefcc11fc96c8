//! `rdk:component:motor`: rotary motors.

use async_trait::async_trait;
use mainstay_proto::viam::component::motor::v1::{
    GetPositionRequest, GetPositionResponse, GetPropertiesRequest, GetPropertiesResponse, GoForRequest, GoForResponse,
    GoToRequest, GoToResponse, IsMovingRequest, IsMovingResponse, IsPoweredRequest, IsPoweredResponse,
    ResetZeroPositionRequest, ResetZeroPositionResponse, SetPowerRequest, SetPowerResponse, SetRpmRequest,
    SetRpmResponse, StopRequest, StopResponse,
    motor_service_client::MotorServiceClient,
    motor_service_server::{MotorService, MotorServiceServer},
};

use super::{
    macros::{resource_api, send, serve},
    unimplemented,
};
use crate::{
    Object, Resource, Result,
    value::wire::{from_struct, to_extra},
};

/// Rotary motor (`rdk:component:motor`). Positive values turn forward. A new command replaces the running one.
///
/// All methods, as you write them; only the first four and those that the motor can do are needed:
///
/// ```
/// use mainstay_module::{api::motor::{Powered, Properties}, prelude::*};
/// # #[derive(Default)]
/// # struct Wheel { power: std::sync::Mutex<f64> }
/// # impl Wheel {
/// #     fn power(&self) -> f64 { *self.power.lock().unwrap() }
/// #     async fn turn(&self, rpm: f64, to: f64) -> Result<()> { Ok(()) }
/// # }
/// # impl Resource for Wheel {}
///
/// #[async_trait]
/// impl Motor for Wheel {
///     async fn set_power(&self, power: f64, extra: &Object) -> Result<()> {
///         *self.power.lock().unwrap() = power.clamp(-1.0, 1.0);
///         Ok(())
///     }
///     async fn stop(&self, extra: &Object) -> Result<()> {
///         self.set_power(0.0, extra).await
///     }
///     async fn powered(&self, extra: &Object) -> Result<Powered> {
///         Ok(Powered { on: self.power() != 0.0, power: self.power() })
///     }
///     async fn is_moving(&self) -> Result<bool> {
///         Ok(self.power() != 0.0)
///     }
///
///     async fn properties(&self, extra: &Object) -> Result<Properties> {
///         Ok(Properties { position_reporting: true })
///     }
///     async fn position(&self, extra: &Object) -> Result<f64> {
///         Ok(0.25)
///     }
///     async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
///         let start = self.position(extra).await?;
///         self.turn(rpm.abs(), start + revolutions * rpm.signum()).await
///     }
///     async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()> {
///         self.turn(rpm.abs(), position).await
///     }
///     async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()> {
///         self.set_power(rpm / 100.0, extra).await
///     }
///     async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()> {
///         Err(Error::failed_precondition("the encoder has an absolute zero"))
///     }
/// }
/// ```
#[async_trait]
pub trait Motor: Resource {
    /// Turns with a fraction of full power, -1 to 1, until the next command. Returns at once.
    async fn set_power(&self, power: f64, extra: &Object) -> Result<()>;

    /// Turns by a number of revolutions at `rpm` and returns when done. The direction is the product of both signs.
    async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, revolutions, extra);
        unimplemented("GoFor")
    }

    /// Turns to a position, in revolutions from zero, and returns when it is reached. The sign of `rpm` is ignored.
    async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, position, extra);
        unimplemented("GoTo")
    }

    /// Turns at a speed, in revolutions per minute, until the next command. Returns at once.
    async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, extra);
        unimplemented("SetRPM")
    }

    /// Redefines the zero so that the current position is `offset`, in revolutions.
    async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()> {
        let _ = (offset, extra);
        unimplemented("ResetZeroPosition")
    }

    /// Returns the position in revolutions from zero.
    async fn position(&self, extra: &Object) -> Result<f64> {
        let _ = extra;
        unimplemented("GetPosition")
    }

    /// Returns the optional features of the motor; none by default.
    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let _ = extra;
        Ok(Properties::default())
    }

    /// Stops at once. Idempotent; returns when the motor has accepted the command. Also called before the resource is
    /// closed.
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Returns whether the motor is powered, and the power.
    async fn powered(&self, extra: &Object) -> Result<Powered>;

    /// Returns whether the motor is moving now. Must not wait.
    async fn is_moving(&self) -> Result<bool>;
}

/// Optional features of a motor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// True if [`Motor::position`] is supported.
    pub position_reporting: bool,
}

/// Power state of a motor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Powered {
    /// True if the motor is powered.
    pub on: bool,
    /// Fraction of full power, -1 to 1.
    pub power: f64,
}

resource_api!(
    dyn Motor = "rdk:component:motor" via MotorServiceServer, MotorServiceClient as Client
    with get_geometries, halted by stop
);

serve! {
    impl MotorService for dyn Motor with get_geometries {
        fn set_power(motor, request: SetPowerRequest) -> SetPowerResponse {
            motor.set_power(request.power_pct, &from_struct(request.extra)).await?;
            SetPowerResponse {}
        }
        fn go_for(motor, request: GoForRequest) -> GoForResponse {
            motor.go_for(request.rpm, request.revolutions, &from_struct(request.extra)).await?;
            GoForResponse {}
        }
        fn go_to(motor, request: GoToRequest) -> GoToResponse {
            motor.go_to(request.rpm, request.position_revolutions, &from_struct(request.extra)).await?;
            GoToResponse {}
        }
        fn set_rpm(motor, request: SetRpmRequest) -> SetRpmResponse {
            motor.set_rpm(request.rpm, &from_struct(request.extra)).await?;
            SetRpmResponse {}
        }
        fn reset_zero_position(motor, request: ResetZeroPositionRequest) -> ResetZeroPositionResponse {
            motor.reset_zero_position(request.offset, &from_struct(request.extra)).await?;
            ResetZeroPositionResponse {}
        }
        fn get_position(motor, request: GetPositionRequest) -> GetPositionResponse {
            GetPositionResponse { position: motor.position(&from_struct(request.extra)).await? }
        }
        fn get_properties(motor, request: GetPropertiesRequest) -> GetPropertiesResponse {
            let Properties { position_reporting } = motor.properties(&from_struct(request.extra)).await?;
            GetPropertiesResponse { position_reporting }
        }
        fn stop(motor, request: StopRequest) -> StopResponse {
            motor.stop(&from_struct(request.extra)).await?;
            StopResponse {}
        }
        fn is_powered(motor, request: IsPoweredRequest) -> IsPoweredResponse {
            let Powered { on, power } = motor.powered(&from_struct(request.extra)).await?;
            IsPoweredResponse { is_on: on, power_pct: power }
        }
        fn is_moving(motor, _request: IsMovingRequest) -> IsMovingResponse {
            IsMovingResponse { is_moving: motor.is_moving().await? }
        }
    }
}

#[async_trait]
impl Motor for Client {
    async fn set_power(&self, power: f64, extra: &Object) -> Result<()> {
        let request = SetPowerRequest {
            name: self.name(),
            power_pct: power,
            extra: to_extra(extra),
        };
        send!(self.set_power(request)).map(drop)
    }

    async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
        let request = GoForRequest {
            name: self.name(),
            rpm,
            revolutions,
            extra: to_extra(extra),
        };
        send!(self.go_for(request)).map(drop)
    }

    async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()> {
        let request = GoToRequest {
            name: self.name(),
            rpm,
            position_revolutions: position,
            extra: to_extra(extra),
        };
        send!(self.go_to(request)).map(drop)
    }

    async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()> {
        let request = SetRpmRequest {
            name: self.name(),
            rpm,
            extra: to_extra(extra),
        };
        send!(self.set_rpm(request)).map(drop)
    }

    async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()> {
        let request = ResetZeroPositionRequest {
            name: self.name(),
            offset,
            extra: to_extra(extra),
        };
        send!(self.reset_zero_position(request)).map(drop)
    }

    async fn position(&self, extra: &Object) -> Result<f64> {
        let request = GetPositionRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        Ok(send!(self.get_position(request))?.position)
    }

    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let request = GetPropertiesRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        let GetPropertiesResponse { position_reporting } = send!(self.get_properties(request))?;
        Ok(Properties { position_reporting })
    }

    async fn stop(&self, extra: &Object) -> Result<()> {
        let request = StopRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        send!(self.stop(request)).map(drop)
    }

    async fn powered(&self, extra: &Object) -> Result<Powered> {
        let request = IsPoweredRequest {
            name: self.name(),
            extra: to_extra(extra),
        };
        let IsPoweredResponse { is_on, power_pct } = send!(self.is_powered(request))?;
        Ok(Powered {
            on: is_on,
            power: power_pct,
        })
    }

    async fn is_moving(&self) -> Result<bool> {
        Ok(send!(self.is_moving(IsMovingRequest { name: self.name() }))?.is_moving)
    }
}
