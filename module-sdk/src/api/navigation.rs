//! `rdk:service:navigation`: stored places, routes and zones, and driving to them.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use mainstay_proto::viam::service::navigation::v1;

use super::world::GeoPose;
use crate::{
    __private::answered,
    Object, Resource, Result, api,
    spatial::Pose,
    wire::{Malformed, Message, Wire},
};

/// Navigation (`rdk:service:navigation`), as since api v0.1.601; clients of earlier releases know other methods. A position is
/// a pose on a map or on the globe, as the service's [`MapType`] says.
///
/// ```
/// use mainstay_module::{api::navigation::{MapType, Navigation, Position, Properties, Status}, prelude::*};
/// # struct Pilot;
/// # impl Resource for Pilot {}
///
/// #[async_trait]
/// impl Navigation for Pilot {
///     async fn position(&self, extra: &Object) -> Result<Position> {
///         Ok(Position::default())
///     }
///     async fn navigation_status(&self, extra: &Object) -> Result<Status> {
///         Ok(Status { localized: true, ..Status::default() })
///     }
///     async fn properties(&self) -> Result<Properties> {
///         Ok(Properties { map_type: MapType::Local, robot_radius_m: 0.3, ..Properties::default() })
///     }
/// }
/// ```
#[api("rdk:service:navigation", v1::NavigationService { DoCommand, GetStatus })]
pub trait Navigation: Resource {
    /// Stores a place; without a position it is where the machine is now.
    #[rpc(AddLocation { location_name: location } -> location, optional)]
    async fn add_location(&self, location: &str, position: Option<Position>, extra: &Object) -> Result<Location>;

    /// Returns a stored place.
    #[rpc(GetLocation { location_name: location } -> location, optional)]
    async fn location(&self, location: &str, extra: &Object) -> Result<Location>;

    /// Returns all stored places.
    #[rpc(ListLocations -> locations, optional)]
    async fn locations(&self, extra: &Object) -> Result<Vec<Location>>;

    /// Changes the position or the name of a stored place.
    #[rpc(UpdateLocation { location_name: location } -> location, optional)]
    async fn update_location(
        &self,
        location: &str,
        position: Option<Position>,
        new_name: Option<String>,
        extra: &Object,
    ) -> Result<Location>;

    /// Forgets a place.
    #[rpc(DeleteLocation { location_name: location }, optional)]
    async fn delete_location(&self, location: &str, extra: &Object) -> Result<()>;

    /// Stores a route.
    #[rpc(AddRoute { route_name: route } -> route, optional)]
    async fn add_route(&self, route: &str, waypoints: &[Waypoint], extra: &Object) -> Result<Route>;

    /// Returns a stored route.
    #[rpc(GetRoute { route_name: route } -> route, optional)]
    async fn route(&self, route: &str, extra: &Object) -> Result<Route>;

    /// Returns all stored routes.
    #[rpc(ListRoutes -> routes, optional)]
    async fn routes(&self, extra: &Object) -> Result<Vec<Route>>;

    /// Changes the name or the waypoints of a stored route.
    #[rpc(UpdateRoute { route_name: route } -> route, optional)]
    async fn update_route(
        &self,
        route: &str,
        new_name: Option<String>,
        waypoints: Option<Vec<Waypoint>>,
        extra: &Object,
    ) -> Result<Route>;

    /// Forgets a route.
    #[rpc(DeleteRoute { route_name: route }, optional)]
    async fn delete_route(&self, route: &str, extra: &Object) -> Result<()>;

    /// Stores a zone. `kind` and `geometry` are of the service's own forms; `max_speed` in metres per second.
    #[rpc(AddZone { zone_name: zone, r#type: kind } -> zone, optional)]
    async fn add_zone(
        &self,
        zone: &str,
        kind: &str,
        geometry: Object,
        max_speed: Option<f64>,
        extra: &Object,
    ) -> Result<Zone>;

    /// Returns a stored zone.
    #[rpc(GetZone { zone_name: zone } -> zone, optional)]
    async fn zone(&self, zone: &str, extra: &Object) -> Result<Zone>;

    /// Returns the stored zones of a kind, or all if that is empty.
    #[rpc(ListZones { r#type: kind } -> zones, optional)]
    async fn zones(&self, kind: &str, extra: &Object) -> Result<Vec<Zone>>;

    /// Changes a stored zone; what is absent stays.
    #[rpc(UpdateZone { zone_name: zone, r#type: kind } -> zone, optional)]
    async fn update_zone(
        &self,
        zone: &str,
        kind: Option<String>,
        geometry: Option<Object>,
        max_speed: Option<f64>,
        new_name: Option<String>,
        extra: &Object,
    ) -> Result<Zone>;

    /// Forgets a zone.
    #[rpc(DeleteZone { zone_name: zone }, optional)]
    async fn delete_zone(&self, zone: &str, extra: &Object) -> Result<()>;

    /// Plans the way to a stored place and follows it.
    #[rpc(NavigateToLocation { location_name: location } -> status, optional)]
    async fn navigate_to_location(&self, location: &str, extra: &Object) -> Result<Status>;

    /// Plans the way to a position and follows it.
    #[rpc(NavigateToPoint -> status, optional)]
    async fn navigate_to_point(&self, destination: Position, extra: &Object) -> Result<Status>;

    /// Follows a route.
    #[rpc(NavigateRoute, optional, serve = serve_route, call = call_route)]
    async fn navigate_route(&self, follow: FollowRoute, extra: &Object) -> Result<Status>;

    /// Plans the way to a position, from `start` or from where the machine is.
    #[rpc(PlanToPoint -> plan, optional)]
    async fn plan_to_point(&self, destination: Position, start: Option<Position>, extra: &Object) -> Result<Plan>;

    /// Plans the way to a stored place, from `start` or from where the machine is.
    #[rpc(PlanToLocation { location_name: location } -> plan, optional)]
    async fn plan_to_location(&self, location: &str, start: Option<Position>, extra: &Object) -> Result<Plan>;

    /// Follows a plan.
    #[rpc(ExecutePlan -> status, optional)]
    async fn execute_plan(&self, plan: Plan, extra: &Object) -> Result<Status>;

    /// Drives straight to a stored place. With `wait` it returns when the machine is there.
    #[rpc(GoToLocation { location_name: location } -> status, optional)]
    async fn go_to_location(
        &self,
        location: &str,
        wait: Option<bool>,
        linear_m_per_sec: Option<f64>,
        extra: &Object,
    ) -> Result<Status>;

    /// Drives straight to a position. With `wait` it returns when the machine is there.
    #[rpc(GoToPoint -> status, optional)]
    async fn go_to_point(
        &self,
        destination: Position,
        wait: Option<bool>,
        linear_m_per_sec: Option<f64>,
        extra: &Object,
    ) -> Result<Status>;

    /// Pauses the goal, and says why.
    #[rpc(Suspend -> status, optional)]
    async fn suspend(&self, reason: &str, extra: &Object) -> Result<Status>;

    /// Goes on with the goal.
    #[rpc(Resume -> status, optional)]
    async fn resume(&self, extra: &Object) -> Result<Status>;

    /// Gives the goal up.
    #[rpc(Cancel -> status, optional)]
    async fn cancel(&self, extra: &Object) -> Result<Status>;

    /// Returns where the machine is.
    #[rpc(GetPosition -> position)]
    async fn position(&self, extra: &Object) -> Result<Position>;

    /// Returns where the machine is, and how far its goal.
    #[rpc(GetNavigationStatus -> status)]
    async fn navigation_status(&self, extra: &Object) -> Result<Status>;

    /// Returns what the service can do.
    #[rpc(GetProperties -> properties)]
    async fn properties(&self) -> Result<Properties>;

    /// Returns a layer of the map of costs, of each `stride`-th cell.
    #[rpc(GetCostmap, optional)]
    async fn costmap(&self, layer: &str, stride: u32, extra: &Object) -> Result<Costmap>;
}

/// Position of a machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Position {
    /// On a map.
    Local(Pose),
    /// On the globe.
    Globe(GeoPose),
}

impl Default for Position {
    fn default() -> Self {
        Self::Local(Pose::default())
    }
}

/// Stored place.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Location)]
pub struct Location {
    /// Its name.
    pub name: String,
    /// Its position.
    pub position: Position,
}

/// Point of a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Waypoint {
    /// Name of a stored place.
    Location(String),
    /// Position.
    Position(Position),
}

/// Stored route.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Route)]
pub struct Route {
    /// Its name.
    pub name: String,
    /// Its points, in order.
    pub waypoints: Vec<Waypoint>,
}

/// Stored zone.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Zone)]
pub struct Zone {
    /// Its name.
    pub name: String,
    /// Its kind, of the service's choice.
    #[message(r#type)]
    pub kind: String,
    /// Its shape, in the service's own form.
    pub geometry: Object,
    /// Highest speed within it, in metres per second.
    pub max_speed: Option<f64>,
}

/// Route to follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FollowRoute {
    /// Name of a stored route; empty if `waypoints` are meant.
    pub route: String,
    /// The points themselves.
    pub waypoints: Vec<Waypoint>,
    /// Number of the point to begin at.
    pub start_index: u32,
    /// True to begin at the nearest point.
    pub start_nearest: bool,
    /// True to begin anew at the end.
    pub repeat: bool,
    /// True to return when it is done.
    pub wait: bool,
}

/// Planned way.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Plan)]
pub struct Plan {
    /// The way.
    pub path: Vec<Position>,
    /// Name of the stored place that it leads to.
    pub location: Option<String>,
    /// Its length in metres.
    pub length_m: f64,
}

/// Velocity of a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::Velocity, default)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct Velocity {
    pub linear_m_per_sec: f64,
    pub angular_deg_per_sec: f64,
}

/// Why a goal was not reached.
#[derive(Clone, Debug, PartialEq, Eq, Message)]
#[message(v1::NavError)]
pub struct NavError {
    /// The kind.
    pub code: NavErrorCode,
    /// Text for people.
    pub message: String,
}

/// Kind of a [`NavError`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::NavErrorCode, default)]
#[allow(missing_docs, reason = "the kinds name themselves")]
pub enum NavErrorCode {
    NoPath,
    Blocked,
    LocalizationLost,
    BaseError,
    Timeout,
    #[default]
    Other,
}

/// How far a goal is.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Progress)]
pub struct Progress {
    /// Distance that is left, in metres.
    pub distance_remaining_m: f64,
    /// The way.
    pub path: Vec<Position>,
    /// Length of the way in metres.
    pub length_m: f64,
}

/// How far a route is.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::RouteProgress)]
pub struct RouteProgress {
    /// Name of the route.
    pub name: String,
    /// Its points.
    pub waypoints: Vec<Waypoint>,
    /// Number of the point that is next.
    pub index: u32,
    /// True if it begins anew at the end.
    #[message(r#loop)]
    pub repeat: bool,
    /// How often it has begun anew.
    pub lap: u32,
}

/// Goal of a machine.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GoalStatus)]
pub struct Goal {
    /// How it goes.
    pub state: GoalState,
    /// How it is approached.
    pub mode: NavMode,
    /// Where it is.
    pub target: Option<Position>,
    /// Name of the stored place that it is.
    pub location: Option<String>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// How far the route is.
    pub route: Option<RouteProgress>,
    /// Why it is paused.
    pub suspend_reason: Option<String>,
    /// Why it failed.
    pub error: Option<NavError>,
    /// When it began.
    pub started_at: Option<SystemTime>,
    /// When it ended.
    pub finished_at: Option<SystemTime>,
}

/// How a goal goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GoalState, default)]
#[allow(missing_docs, reason = "the states name themselves")]
pub enum GoalState {
    #[default]
    Unspecified,
    Active,
    Suspended,
    Succeeded,
    Failed,
    Canceled,
}

/// How a goal is approached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::NavMode, default)]
pub enum NavMode {
    /// Not said.
    #[default]
    Unspecified,
    /// By a planned way.
    Planned,
    /// Straight.
    Direct,
    /// Along a route.
    Route,
}

/// Where a machine is, and how far its goal.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::Status)]
pub struct Status {
    /// Where it is.
    pub position: Option<Position>,
    /// True if that is known.
    pub localized: bool,
    /// How fast it is.
    pub velocity: Velocity,
    /// Its goal.
    pub goal: Option<Goal>,
    /// When this was known.
    pub updated_at: Option<SystemTime>,
    /// What else the model knows.
    pub extra: Object,
}

/// Kind of a service's map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::MapType, default)]
pub enum MapType {
    /// Not said.
    #[default]
    Unspecified,
    /// Positions are poses on a map.
    Local,
    /// Positions are those of the globe.
    Gps,
}

/// What a navigation service can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Message)]
#[message(v1::Properties)]
#[allow(missing_docs, reason = "the fields name themselves")]
pub struct Properties {
    pub map_type: MapType,
    pub footprint_length_m: f64,
    pub footprint_width_m: f64,
    pub robot_radius_m: f64,
    pub planning_supported: bool,
    pub costmap_supported: bool,
    pub zones_supported: bool,
    pub routes_supported: bool,
}

/// Map of the cost of being somewhere.
#[derive(Clone, Debug, Default, PartialEq, Message)]
#[message(v1::GetCostmapResponse)]
pub struct Costmap {
    /// True if there is one.
    pub available: bool,
    /// Name of the layer.
    pub layer: String,
    /// What made it.
    pub nav_backend: String,
    /// X of the first cell, in metres.
    #[message(origin_x)]
    pub origin_x_m: f64,
    /// Y of the first cell, in metres.
    #[message(origin_y)]
    pub origin_y_m: f64,
    /// Edge of a cell, in metres.
    #[message(resolution)]
    pub resolution_m: f64,
    /// Number of cells along X.
    pub width: u32,
    /// Number of cells along Y.
    pub height: u32,
    /// Form of `data`.
    pub encoding: String,
    /// The cells, row by row.
    pub data: Bytes,
}

async fn serve_route(
    navigation: Arc<dyn Navigation>,
    request: v1::NavigateRouteRequest,
) -> Result<v1::NavigateRouteResponse> {
    let follow = FollowRoute {
        route: request.route_name,
        waypoints: Wire::from_wire(request.waypoints, "waypoints")?,
        start_index: request.start_index,
        start_nearest: request.start_nearest,
        repeat: request.r#loop,
        wait: request.wait,
    };
    let status = navigation
        .navigate_route(follow, &Wire::from_wire(request.extra, "extra")?)
        .await?;
    Ok(v1::NavigateRouteResponse {
        status: status.into_wire(),
    })
}

async fn call_route(client: &NavigationClient, follow: FollowRoute, extra: &Object) -> Result<Status> {
    let FollowRoute {
        route,
        waypoints,
        start_index,
        start_nearest,
        repeat,
        wait,
    } = follow;
    let request = client.0.request(v1::NavigateRouteRequest {
        name: client.0.name().to_owned(),
        route_name: route,
        waypoints: waypoints.into_wire(),
        start_index,
        start_nearest,
        r#loop: repeat,
        wait,
        extra: extra.clone().into_wire(),
    });
    let answer = client
        .0
        .response(async move { client.stub().navigate_route(request).await });
    answered(answer.await?.status, "status")
}

impl Wire<v1::Position> for Position {
    fn into_wire(self) -> v1::Position {
        let value = match self {
            Self::Local(pose) => v1::position::Value::Pose(pose.into_wire()),
            Self::Globe(pose) => v1::position::Value::GeoPose(pose.into_wire()),
        };
        v1::Position { value: Some(value) }
    }

    fn from_wire(wire: v1::Position, field: &'static str) -> Result<Self, Malformed> {
        match wire.value.ok_or_else(|| Malformed::missing(field))? {
            v1::position::Value::Pose(pose) => Ok(Self::Local(pose.into())),
            v1::position::Value::GeoPose(pose) => Ok(Self::Globe(GeoPose::from_wire(pose, field)?)),
        }
    }
}

impl Wire<Option<v1::Position>> for Position {
    fn into_wire(self) -> Option<v1::Position> {
        Some(self.into_wire())
    }

    fn from_wire(wire: Option<v1::Position>, field: &'static str) -> Result<Self, Malformed> {
        Self::from_wire(wire.unwrap_or_default(), field)
    }
}

impl Wire<v1::Waypoint> for Waypoint {
    fn into_wire(self) -> v1::Waypoint {
        let value = match self {
            Self::Location(name) => v1::waypoint::Value::Location(name),
            Self::Position(position) => v1::waypoint::Value::Position(position.into_wire()),
        };
        v1::Waypoint { value: Some(value) }
    }

    fn from_wire(wire: v1::Waypoint, field: &'static str) -> Result<Self, Malformed> {
        match wire.value.ok_or_else(|| Malformed::missing(field))? {
            v1::waypoint::Value::Location(name) => Ok(Self::Location(name)),
            v1::waypoint::Value::Position(position) => Ok(Self::Position(Position::from_wire(position, field)?)),
        }
    }
}

impl Wire<v1::WaypointList> for Vec<Waypoint> {
    fn into_wire(self) -> v1::WaypointList {
        v1::WaypointList {
            waypoints: self.into_wire(),
        }
    }

    fn from_wire(wire: v1::WaypointList, field: &'static str) -> Result<Self, Malformed> {
        Wire::from_wire(wire.waypoints, field)
    }
}
