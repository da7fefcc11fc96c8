//! `rdk:service:world_state_store`: frames that come and go.

use bytes::Bytes;
use mainstay_proto::viam::service::worldstatestore::v1;

use super::Streaming;
pub use super::world::Transform;
use crate::{
    Object, Resource, Result, api,
    wire::{Malformed, Message, Wire},
};

/// World state store (`rdk:service:world_state_store`).
///
/// ```
/// use bytes::Bytes;
/// use mainstay_module::{
///     api::{Streaming, world_state_store::{Change, ChangeType, Transform, WorldStateStore}},
///     prelude::*,
/// };
/// # struct Store;
/// # impl Resource for Store {}
///
/// #[async_trait]
/// impl WorldStateStore for Store {
///     async fn uuids(&self, extra: &Object) -> Result<Vec<Bytes>> {
///         Ok(vec![Bytes::from_static(b"cup")])
///     }
///     async fn transform(&self, uuid: Bytes, extra: &Object) -> Result<Transform> {
///         Ok(Transform { frame: "cup".into(), uuid, ..Transform::default() })
///     }
///     async fn changes(&self, extra: &Object) -> Result<Streaming<Change>> {
///         let change = ChangeType::Added;
///         let transform = Transform { frame: "cup".into(), ..Transform::default() };
///         let added = Change { change, transform, updated_fields: Vec::new() };
///         Ok(Box::pin(futures_util::stream::iter([Ok(added)])))
///     }
/// }
/// ```
#[api("rdk:service:world_state_store", v1::WorldStateStoreService { DoCommand, GetStatus })]
pub trait WorldStateStore: Resource {
    /// Returns the identifier of each transform.
    #[rpc(ListUUIDs -> uuids)]
    async fn uuids(&self, extra: &Object) -> Result<Vec<Bytes>>;

    /// Returns one transform.
    #[rpc(GetTransform -> transform)]
    async fn transform(&self, uuid: Bytes, extra: &Object) -> Result<Transform>;

    /// Streams every change until the caller drops the stream. Return only once changes are being recorded: callers are told
    /// then that none is missed from here on.
    #[rpc(announced StreamTransformChanges)]
    async fn changes(&self, extra: &Object) -> Result<Streaming<Change>>;
}

/// Change of a transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What happened.
    pub change: ChangeType,
    /// The transform as it is now; of one that was removed, its identifier.
    pub transform: Transform,
    /// Paths of the fields that differ, such as `poseInObserverFrame.pose.x`, of a transform that was updated.
    pub updated_fields: Vec<String>,
}

/// What happened to a transform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[message(v1::TransformChangeType)]
pub enum ChangeType {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is different.
    Updated,
}

impl Wire<v1::StreamTransformChangesResponse> for Change {
    fn into_wire(self) -> v1::StreamTransformChangesResponse {
        let paths = self.updated_fields;
        v1::StreamTransformChangesResponse {
            change_type: self.change.into_wire(),
            transform: self.transform.into_wire(),
            updated_fields: (!paths.is_empty()).then_some(prost_types::FieldMask { paths }),
        }
    }

    fn from_wire(wire: v1::StreamTransformChangesResponse, _: &'static str) -> Result<Self, Malformed> {
        Ok(Self {
            change: Wire::from_wire(wire.change_type, "change_type")?,
            // That of one that was removed may be its identifier alone, without a pose.
            transform: match wire.transform {
                Some(common) if common.pose_in_observer_frame.is_none() => Transform {
                    frame: common.reference_frame,
                    uuid: common.uuid,
                    ..Transform::default()
                },
                other => Wire::from_wire(other, "transform")?,
            },
            updated_fields: wire.updated_fields.unwrap_or_default().paths,
        })
    }
}
