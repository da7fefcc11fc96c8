//! `rdk:component:switch`: switches with two positions or more, counted from 0.

use mainstay_proto::viam::component::switch::v1;

use crate::{Object, Resource, Result, api, wire::Message};

/// Switch (`rdk:component:switch`).
///
/// ```
/// use mainstay_module::{api::switch::{Positions, Switch}, prelude::*};
/// # struct Lights;
/// # impl Resource for Lights {}
///
/// #[async_trait]
/// impl Switch for Lights {
///     async fn set_position(&self, position: u32, extra: &Object) -> Result<()> {
///         match position {
///             0 | 1 => Ok(()),
///             _ => Err(Error::invalid_argument("the positions are 0 and 1")),
///         }
///     }
///     async fn position(&self, extra: &Object) -> Result<u32> {
///         Ok(1)
///     }
///     async fn positions(&self, extra: &Object) -> Result<Positions> {
///         Ok(Positions { count: 2, labels: vec!["off".into(), "on".into()] })
///     }
/// }
/// ```
#[api("rdk:component:switch", v1::SwitchService { DoCommand, GetStatus })]
pub trait Switch: Resource {
    /// Goes to a position, and returns when it is reached.
    #[rpc(SetPosition)]
    async fn set_position(&self, position: u32, extra: &Object) -> Result<()>;

    /// Returns the position.
    #[rpc(GetPosition -> position)]
    async fn position(&self, extra: &Object) -> Result<u32>;

    /// Returns how many positions there are, and what they are called.
    #[rpc(GetNumberOfPositions)]
    async fn positions(&self, extra: &Object) -> Result<Positions>;
}

/// Positions of a switch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Message)]
#[message(v1::GetNumberOfPositionsResponse)]
pub struct Positions {
    /// Number of positions.
    #[message(number_of_positions)]
    pub count: u32,
    /// A label for each position, or none. Servers of peers refuse another number of labels.
    pub labels: Vec<String>,
}
