//! Vectors, poses and geometries as fields of messages.

use mainstay_proto::viam::common::v1 as common;

use super::{Malformed, Wire};
use crate::spatial::{GeoPoint, Geometry, Orientation, Pose, Vector3};

/// Types with the fields of a message, and what it means when the message is absent.
macro_rules! messages {
    ($($kind:ident: |$field:pat_param| $absent:expr;)*) => {
        $(impl Wire<common::$kind> for $kind {
            fn into_wire(self) -> common::$kind { self.into() }
            fn from_wire(wire: common::$kind, _: &'static str) -> Result<Self, Malformed> { Ok(wire.into()) }
        }

        impl Wire<Option<common::$kind>> for $kind {
            fn into_wire(self) -> Option<common::$kind> { Some(self.into()) }
            fn from_wire(wire: Option<common::$kind>, field: &'static str) -> Result<Self, Malformed> {
                let $field = field;
                wire.map_or_else(|| $absent, |wire| Ok(wire.into()))
            }
        })*
    };
}

messages! {
    Vector3: |_| Ok(Self::default());
    Orientation: |_| Ok(Self::default());
    Pose: |field| Err(Malformed::missing(field));
    GeoPoint: |field| Err(Malformed::missing(field));
}

impl From<common::GeoPoint> for GeoPoint {
    fn from(common::GeoPoint { latitude, longitude }: common::GeoPoint) -> Self {
        Self { latitude, longitude }
    }
}

impl From<GeoPoint> for common::GeoPoint {
    fn from(GeoPoint { latitude, longitude }: GeoPoint) -> Self {
        Self { latitude, longitude }
    }
}

impl Wire<common::Geometry> for Geometry {
    fn into_wire(self) -> common::Geometry {
        self.into()
    }

    fn from_wire(wire: common::Geometry, field: &'static str) -> Result<Self, Malformed> {
        Self::from_wire(wire).ok_or_else(|| Malformed::new(format!("`{field}` has a geometry without a shape")))
    }
}
