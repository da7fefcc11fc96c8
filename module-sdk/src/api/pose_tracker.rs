//! `rdk:component:pose_tracker`: where bodies are, such as markers that a camera sees.

use std::collections::BTreeMap;

use mainstay_proto::viam::component::posetracker::v1;

use super::world::PoseInFrame;
use crate::{Object, Resource, Result, api};

/// Pose tracker (`rdk:component:pose_tracker`).
///
/// ```
/// use std::collections::BTreeMap;
///
/// use mainstay_module::{api::{pose_tracker::PoseTracker, world::PoseInFrame}, prelude::*, spatial::Pose};
/// # struct Markers;
/// # impl Resource for Markers {}
///
/// #[async_trait]
/// impl PoseTracker for Markers {
///     async fn poses(&self, bodies: &[String], extra: &Object) -> Result<BTreeMap<String, PoseInFrame>> {
///         let cup = PoseInFrame { frame: "camera".into(), pose: Pose::default(), tolerance: None };
///         let all = BTreeMap::from([("cup".to_owned(), cup)]);
///         Ok(all.into_iter().filter(|(name, _)| bodies.is_empty() || bodies.contains(name)).collect())
///     }
/// }
/// ```
#[api("rdk:component:pose_tracker", v1::PoseTrackerService { DoCommand, GetStatus, GetGeometries })]
pub trait PoseTracker: Resource {
    /// Returns the pose of each of the named bodies, or of all if the list is empty. Bodies that are not seen are left out.
    #[rpc(GetPoses { body_names: bodies } -> body_poses)]
    async fn poses(&self, bodies: &[String], extra: &Object) -> Result<BTreeMap<String, PoseInFrame>>;
}
