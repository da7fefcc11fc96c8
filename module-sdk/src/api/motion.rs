//! `rdk:service:motion`: plans and carries out moves of a component through the frames of a machine.

#![allow(deprecated, reason = "`GetPose` is, and clients still call it")]

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

use futures_util::{StreamExt, stream};
use mainstay_proto::viam::service::motion::v1::{self, temp_stream_arm_joint_positions_request as stream_request};
use tonic::Streaming as Incoming;

use super::{
    Streaming,
    arm::MoveOptions,
    outgoing::outgoing,
    world::{GeoGeometry, PoseInFrame, Transform, WorldState},
};
use crate::{
    Error, Object, Resource, Resources, Result, api,
    spatial::{GeoPoint, Geometry, Pose},
    wire::{Message, Wire},
};

/// Motion (`rdk:service:motion`).
///
/// ```
/// use mainstay_module::{
///     api::{motion::{Constraints, Motion}, world::{PoseInFrame, WorldState}},
///     prelude::*,
/// };
/// # struct Planner;
/// # impl Resource for Planner {}
///
/// #[async_trait]
/// impl Motion for Planner {
///     async fn move_to(
///         &self, component: &str, destination: PoseInFrame, world: Option<WorldState>,
///         constraints: Option<Constraints>, extra: &Object,
///     ) -> Result<bool> {
///         Err(Error::failed_precondition(format_args!("there is no way for `{component}`")))
///     }
/// }
/// ```
#[api("rdk:service:motion", v1::MotionService { DoCommand, GetStatus })]
pub trait Motion: Resource {
    /// Moves a component to a pose, and returns when it is there. A new move ends the running one.
    #[rpc(Move { component_name: component, world_state: world, component_name_deprecated: _ } -> success)]
    async fn move_to(
        &self,
        component: &str,
        destination: PoseInFrame,
        world: Option<WorldState>,
        constraints: Option<Constraints>,
        extra: &Object,
    ) -> Result<bool>;

    /// Begins a move over the map of a SLAM service, and returns the identifier of its execution at once.
    #[rpc(MoveOnMap {
        component_name: component, slam_service_name: slam, motion_configuration: configuration,
        component_name_deprecated: _, slam_service_name_deprecated: _
    } -> execution_id, optional)]
    async fn move_on_map(
        &self,
        component: &str,
        destination: Pose,
        slam: &str,
        configuration: Option<MotionConfiguration>,
        obstacles: &[Geometry],
        extra: &Object,
    ) -> Result<String>;

    /// Begins a move over the globe, and returns the identifier of its execution at once.
    #[rpc(MoveOnGlobe, optional, serve = serve_on_globe, call = call_on_globe)]
    async fn move_on_globe(&self, goal: GlobeGoal, extra: &Object) -> Result<String>;

    /// Returns the pose of a component in another frame. Deprecated: the machine itself answers that.
    #[rpc(GetPose {
        component_name: component, supplemental_transforms: transforms, component_name_deprecated: _
    } -> pose, optional)]
    async fn pose(
        &self,
        component: &str,
        destination_frame: &str,
        transforms: &[Transform],
        extra: &Object,
    ) -> Result<PoseInFrame>;

    /// Ends the running plan of a component.
    #[rpc(StopPlan { component_name: component, component_name_deprecated: _ }, optional)]
    async fn stop_plan(&self, component: &str, extra: &Object) -> Result<()>;

    /// Returns the state of each plan of the last day.
    #[rpc(ListPlanStatuses { only_active_plans: only_active } -> plan_statuses_with_ids, optional)]
    async fn plan_statuses(&self, only_active: bool, extra: &Object) -> Result<Vec<IdentifiedStatus>>;

    /// Returns the newest plan of a component, and those that it replaced unless only the last is wanted. Without
    /// `execution_id` it is that of the newest execution.
    #[rpc(GetPlan { component_name: component, component_name_deprecated: _ }, optional)]
    async fn plan(
        &self,
        component: &str,
        last_plan_only: bool,
        execution_id: Option<String>,
        extra: &Object,
    ) -> Result<PlanHistory>;

    /// Leads an arm along joint positions while they come in, and tells how many milliseconds of them it has ahead. The wire
    /// calls it temporary.
    #[rpc(duplex TempStreamArmJointPositions, optional, serve = serve_stream, call = call_stream)]
    async fn stream_arm_joint_positions(
        &self,
        component: &str,
        positions: Streaming<Vec<Vec<f64>>>,
        options: Option<StreamOptions>,
        extra: &Object,
    ) -> Result<Streaming<Option<i32>>>;
}

/// Goal of a move over the globe.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GlobeGoal {
    /// Name of the component that moves.
    pub component: String,
    /// Where to.
    pub destination: GeoPoint,
    /// Heading at the goal in degrees, clockwise from north.
    pub heading: Option<f64>,
    /// Name of the movement sensor that knows the position.
    pub movement_sensor: String,
    /// Things in the way.
    pub obstacles: Vec<GeoGeometry>,
    /// Regions that it must not leave.
    pub bounding_regions: Vec<GeoGeometry>,
    /// How it moves.
    pub configuration: Option<MotionConfiguration>,
}

/// How a component moves over a map or the globe; what is absent is the service's choice.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::MotionConfiguration)]
pub struct MotionConfiguration {
    /// What looks out for things in the way.
    pub obstacle_detectors: Vec<ObstacleDetector>,
    /// How often it asks where it is.
    pub position_polling_frequency_hz: Option<f64>,
    /// How often it looks out for things in the way.
    pub obstacle_polling_frequency_hz: Option<f64>,
    /// How far it may stray from its plan, in metres.
    pub plan_deviation_m: Option<f64>,
    /// Speed in metres per second.
    pub linear_m_per_sec: Option<f64>,
    /// Speed of turns in degrees per second.
    pub angular_degs_per_sec: Option<f64>,
}

/// Vision service, and the camera that it looks through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::ObstacleDetector, unused(vision_service_deprecated, camera_deprecated))]
pub struct ObstacleDetector {
    /// Name of the vision service.
    pub vision_service: String,
    /// Name of the camera.
    pub camera: String,
}

/// What holds on the whole way.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Constraints)]
pub struct Constraints {
    /// The way is a line.
    #[message(linear_constraint)]
    pub linear: Vec<LinearConstraint>,
    /// The orientation stays.
    #[message(orientation_constraint)]
    pub orientation: Vec<OrientationConstraint>,
    /// What may touch.
    #[message(collision_specification)]
    pub collision: Vec<CollisionSpecification>,
    /// The way is nearly a line.
    #[message(pseudolinear_constraint)]
    pub pseudolinear: Vec<PseudolinearConstraint>,
}

/// The way is a line, within tolerances.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::LinearConstraint)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct LinearConstraint {
    pub line_tolerance_mm: Option<f32>,
    pub orientation_tolerance_degs: Option<f32>,
}

/// The way is a line, within tolerances that grow with its length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::PseudolinearConstraint)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct PseudolinearConstraint {
    pub line_tolerance_factor: Option<f32>,
    pub orientation_tolerance_factor: Option<f32>,
}

/// The orientation stays, within a tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::OrientationConstraint)]
pub struct OrientationConstraint {
    /// Tolerance in degrees.
    pub orientation_tolerance_degs: Option<f32>,
    /// True if the rotation about the axis does not count.
    pub ignore_theta: Option<bool>,
}

/// Frames that may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::CollisionSpecification)]
pub struct CollisionSpecification {
    /// Pairs of frames.
    #[message(allows)]
    pub allowed: Vec<AllowedCollision>,
}

/// Two frames that may touch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::collision_specification::AllowedFrameCollisions)]
#[allow(missing_docs, reason = "two names")]
pub struct AllowedCollision {
    pub frame1: String,
    pub frame2: String,
}

/// Newest plan of a component, and those that it replaced.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GetPlanResponse)]
pub struct PlanHistory {
    /// The newest.
    #[message(current_plan_with_status)]
    pub current: Option<PlanWithStatus>,
    /// Those that it replaced.
    #[message(replan_history)]
    pub replaced: Vec<PlanWithStatus>,
}

/// Plan, and how it goes.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(v1::PlanWithStatus)]
pub struct PlanWithStatus {
    /// The plan.
    pub plan: Plan,
    /// Its state.
    pub status: PlanStatus,
    /// The states before.
    pub status_history: Vec<PlanStatus>,
}

/// Plan of a move.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Plan, default, unused(component_name_deprecated))]
pub struct Plan {
    /// Identifier.
    pub id: String,
    /// Identifier of its execution, which may have several plans.
    pub execution_id: String,
    /// Name of the component that moves.
    #[message(component_name)]
    pub component: String,
    /// The way.
    pub steps: Vec<PlanStep>,
}

/// Step of a plan: where each component is after it.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::PlanStep)]
pub struct PlanStep {
    /// State by name of the component.
    pub step: BTreeMap<String, ComponentState>,
}

/// State of a component after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::ComponentState)]
pub struct ComponentState {
    /// Its pose.
    pub pose: Pose,
}

/// State of a plan.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(v1::PlanStatus)]
pub struct PlanStatus {
    /// The state.
    pub state: PlanState,
    /// Since when.
    #[message(timestamp)]
    pub since: Option<SystemTime>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// State of a plan, with the identifiers that belong to it.
#[derive(Clone, Debug, PartialEq, Message)]
#[message(v1::PlanStatusWithId, unused(component_name_deprecated))]
pub struct IdentifiedStatus {
    /// Identifier of the plan.
    pub plan_id: String,
    /// Identifier of its execution.
    pub execution_id: String,
    /// Name of the component that moves.
    #[message(component_name)]
    pub component: String,
    /// The state.
    pub status: PlanStatus,
}

/// State of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Message)]
#[message(v1::PlanState)]
pub enum PlanState {
    /// It is being carried out.
    InProgress,
    /// It was stopped.
    Stopped,
    /// The component is there.
    Succeeded,
    /// It failed.
    Failed,
}

/// How an arm is led; what is absent is the service's choice.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::TempStreamOptions)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct StreamOptions {
    pub arm_side_target_runway_ms: Option<i32>,
    pub send_to_arm_interval_ms: Option<i32>,
    pub diagnostics_window_secs: Option<i32>,
    pub move_options: Option<MoveOptions>,
}

async fn serve_on_globe(motion: Arc<dyn Motion>, request: v1::MoveOnGlobeRequest) -> Result<v1::MoveOnGlobeResponse> {
    let goal = GlobeGoal {
        component: request.component_name,
        destination: Wire::from_wire(request.destination, "destination")?,
        heading: request.heading,
        movement_sensor: request.movement_sensor_name,
        obstacles: Wire::from_wire(request.obstacles, "obstacles")?,
        bounding_regions: Wire::from_wire(request.bounding_regions, "bounding_regions")?,
        configuration: Wire::from_wire(request.motion_configuration, "motion_configuration")?,
    };
    let execution_id = motion
        .move_on_globe(goal, &Wire::from_wire(request.extra, "extra")?)
        .await?;
    Ok(v1::MoveOnGlobeResponse { execution_id })
}

async fn call_on_globe(client: &MotionClient, goal: GlobeGoal, extra: &Object) -> Result<String> {
    let request = client.0.request(v1::MoveOnGlobeRequest {
        name: client.0.name().to_owned(),
        destination: goal.destination.into_wire(),
        heading: goal.heading,
        component_name_deprecated: None,
        movement_sensor_name_deprecated: None,
        obstacles: goal.obstacles.into_wire(),
        motion_configuration: goal.configuration.into_wire(),
        bounding_regions: goal.bounding_regions.into_wire(),
        component_name: goal.component,
        movement_sensor_name: goal.movement_sensor,
        extra: extra.clone().into_wire(),
    });
    let answer = client
        .0
        .response(async move { client.stub().move_on_globe(request).await });
    Ok(answer.await?.execution_id)
}

async fn serve_stream(
    motions: &Resources<dyn Motion>,
    mut requests: Incoming<v1::TempStreamArmJointPositionsRequest>,
) -> Result<Streaming<v1::TempStreamArmJointPositionsResponse>> {
    let first = requests.message().await?.unwrap_or_default();
    let Some(stream_request::Message::Init(init)) = first.message else {
        return Err(Error::invalid_argument("first message must be Init"));
    };
    let motion = motions.get(&first.name)?;
    let positions = requests.map(|request| match request?.message {
        Some(stream_request::Message::Targets(targets)) => Ok(Wire::from_wire(targets.positions, "positions")?),
        _ => Err(Error::invalid_argument("expected Targets")),
    });
    let options = Wire::from_wire(init.options, "options")?;
    let extra = Wire::from_wire(init.extra, "extra")?;
    let positions = Box::pin(positions);
    let runway = motion
        .stream_arm_joint_positions(&init.component_name, positions, options, &extra)
        .await?;
    Ok(Box::pin(runway.map(|runway| {
        Ok(v1::TempStreamArmJointPositionsResponse {
            motion_side_current_runway_ms: runway?,
        })
    })))
}

async fn call_stream(
    client: &MotionClient,
    component: &str,
    positions: Streaming<Vec<Vec<f64>>>,
    options: Option<StreamOptions>,
    extra: &Object,
) -> Result<Streaming<Option<i32>>> {
    let name = client.0.name().to_owned();
    let init = stream_request::Message::Init(stream_request::Init {
        component_name: component.to_owned(),
        options: options.into_wire(),
        extra: extra.clone().into_wire(),
    });
    let (positions, broken) = outgoing(positions);
    let targets = positions.map(|positions| {
        stream_request::Message::Targets(stream_request::Targets {
            positions: positions.into_wire(),
        })
    });
    let messages = stream::iter([init])
        .chain(targets)
        .map(move |message| v1::TempStreamArmJointPositionsRequest {
            name: name.clone(),
            message: Some(message),
        });
    let request = client.0.request(messages);
    let call = async move { client.stub().temp_stream_arm_joint_positions(request).await };
    let answers = client.0.response(call).await?;
    Ok(broken.ends(answers.map(|answer| Ok(answer?.motion_side_current_runway_ms))))
}
