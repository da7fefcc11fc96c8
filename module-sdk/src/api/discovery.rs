//! `rdk:service:discovery`: what could be configured on a machine.

use mainstay_proto::viam::{
    app::v1::{self as app, ComponentConfig, Orientation as WireOrientation, Translation},
    service::discovery::v1,
};

use crate::{
    Object, Resource, Result, api,
    spatial::{Geometry, Vector3},
    wire::{Malformed, Wire},
};

/// Discovery (`rdk:service:discovery`).
///
/// ```
/// use mainstay_module::{api::discovery::{Discovered, Discovery}, prelude::*};
/// # struct Usb;
/// # impl Resource for Usb {}
///
/// #[async_trait]
/// impl Discovery for Usb {
///     async fn discover(&self, extra: &Object) -> Result<Vec<Discovered>> {
///         Ok(vec![Discovered {
///             name: "webcam-1".into(),
///             api: "rdk:component:camera".into(),
///             model: "acme:vision:webcam".into(),
///             attributes: object! { "video_path" => "/dev/video0" },
///             ..Discovered::default()
///         }])
///     }
/// }
/// ```
#[api("rdk:service:discovery", v1::DiscoveryService { DoCommand, GetStatus })]
pub trait Discovery: Resource {
    /// Returns the configuration of each resource that was found, to be put into that of the machine.
    #[rpc(DiscoverResources -> discoveries)]
    async fn discover(&self, extra: &Object) -> Result<Vec<Discovered>>;
}

/// Configuration of a resource that was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Discovered {
    /// Proposed name.
    pub name: String,
    /// API, such as `rdk:component:camera`.
    pub api: String,
    /// Model, such as `acme:vision:webcam`.
    pub model: String,
    /// Attributes.
    pub attributes: Object,
    /// Names of the resources that it needs.
    pub depends_on: Vec<String>,
    /// Place in the frame system.
    pub frame: Option<DiscoveredFrame>,
}

/// Place of a discovered resource in the frame system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveredFrame {
    /// Name of the frame that it hangs on.
    pub parent: String,
    /// Translation in millimetres.
    pub translation: Vector3,
    /// Rotation as a unit quaternion `[w, x, y, z]`; none if absent.
    pub quaternion: Option<[f64; 4]>,
    /// Solid that it occupies.
    pub geometry: Option<Geometry>,
}

impl Wire<ComponentConfig> for Discovered {
    fn into_wire(self) -> ComponentConfig {
        // Both forms of the API are sent, because peers read one or the other and refuse two that differ.
        let mut parts = self.api.splitn(3, ':');
        let (namespace, _, subtype) = (parts.next(), parts.next(), parts.next());
        ComponentConfig {
            name: self.name,
            namespace: namespace.unwrap_or_default().to_owned(),
            r#type: subtype.unwrap_or_default().to_owned(),
            api: self.api,
            model: self.model,
            attributes: Some(self.attributes.into_wire()),
            depends_on: self.depends_on,
            frame: self.frame.into_wire(),
            service_configs: Vec::new(),
            log_configuration: None,
        }
    }

    fn from_wire(wire: ComponentConfig, _: &'static str) -> Result<Self, Malformed> {
        let api = if wire.api.is_empty() {
            format!("{}:component:{}", wire.namespace, wire.r#type)
        } else {
            wire.api
        };
        Ok(Self {
            name: wire.name,
            api,
            model: wire.model,
            attributes: Wire::from_wire(wire.attributes, "attributes")?,
            depends_on: wire.depends_on,
            frame: Wire::from_wire(wire.frame, "frame")?,
        })
    }
}

impl Wire<app::Frame> for DiscoveredFrame {
    fn into_wire(self) -> app::Frame {
        use app::orientation::{Quaternion, Type};
        let Vector3 { x, y, z } = self.translation;
        let orientation = self.quaternion.map(|[w, x, y, z]| WireOrientation {
            r#type: Some(Type::Quaternion(Quaternion { w, x, y, z })),
        });
        app::Frame {
            parent: self.parent,
            translation: Some(Translation { x, y, z }),
            orientation,
            geometry: self.geometry.into_wire(),
        }
    }

    fn from_wire(wire: app::Frame, _: &'static str) -> Result<Self, Malformed> {
        let Translation { x, y, z } = wire.translation.unwrap_or_default();
        let quaternion = match wire.orientation.and_then(|orientation| orientation.r#type) {
            Some(app::orientation::Type::Quaternion(turn)) => Some([turn.w, turn.x, turn.y, turn.z]),
            // Machines send quaternions alone.
            _ => None,
        };
        Ok(Self {
            parent: wire.parent,
            translation: Vector3 { x, y, z },
            quaternion,
            geometry: Wire::from_wire(wire.geometry, "geometry")?,
        })
    }
}
