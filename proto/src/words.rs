//! Words for the enums of `mainstay.control.v1`, shared by server and command line.

use crate::mainstay::control::v1::ResourceState;

/// A resource's state in one word, for tables and JSON.
pub fn resource_state(state: ResourceState) -> &'static str {
    match state {
        ResourceState::Unspecified => "unknown",
        ResourceState::Pending => "pending",
        ResourceState::Configuring => "configuring",
        ResourceState::Ready => "ready",
        ResourceState::Unhealthy => "unhealthy",
        ResourceState::Removing => "removing",
    }
}
