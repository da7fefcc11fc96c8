//! `rdk:component:motor`: something that turns.

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

/// Something that turns.
#[async_trait]
pub trait Motor: Resource {
    /// Turns with a share of full power, -1 to 1, until told otherwise.
    async fn set_power(&self, power: f64, extra: &Object) -> Result<()>;

    /// Turns this many revolutions at `rpm` and returns when that is done. The signs of both multiply.
    async fn go_for(&self, rpm: f64, revolutions: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, revolutions, extra);
        unimplemented("GoFor")
    }

    /// Turns to a position in revolutions from zero, and returns when it is there. The sign of `rpm` does not matter.
    async fn go_to(&self, rpm: f64, position: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, position, extra);
        unimplemented("GoTo")
    }

    /// Turns at this speed until told otherwise.
    async fn set_rpm(&self, rpm: f64, extra: &Object) -> Result<()> {
        let _ = (rpm, extra);
        unimplemented("SetRPM")
    }

    /// Makes the present position the zero, or lets it lie `offset` revolutions from zero.
    async fn reset_zero_position(&self, offset: f64, extra: &Object) -> Result<()> {
        let _ = (offset, extra);
        unimplemented("ResetZeroPosition")
    }

    /// Revolutions from zero.
    async fn position(&self, extra: &Object) -> Result<f64> {
        let _ = extra;
        unimplemented("GetPosition")
    }

    /// What this motor can do.
    async fn properties(&self, extra: &Object) -> Result<Properties> {
        let _ = extra;
        Ok(Properties::default())
    }

    /// Stops at once. Asking twice is harmless; returns when the motor has taken it.
    async fn stop(&self, extra: &Object) -> Result<()>;

    /// Whether it is under power, and how much.
    async fn powered(&self, extra: &Object) -> Result<Powered>;

    /// Whether it moves now. Never waits.
    async fn is_moving(&self) -> Result<bool>;
}

/// What a motor can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// [`Motor::position`] answers.
    pub position_reporting: bool,
}

/// Whether a motor is under power.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Powered {
    /// It is.
    pub on: bool,
    /// Share of full power, -1 to 1.
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
