//! `rdk:component:button`: buttons that a machine pushes.

use mainstay_proto::viam::component::button::v1;

use crate::{Object, Resource, Result, api};

/// Button (`rdk:component:button`).
///
/// ```
/// use mainstay_module::{api::button::Button, prelude::*};
/// # struct Doorbell;
/// # impl Resource for Doorbell {}
///
/// #[async_trait]
/// impl Button for Doorbell {
///     async fn push(&self, extra: &Object) -> Result<()> {
///         Ok(())
///     }
/// }
/// ```
#[api("rdk:component:button", v1::ButtonService { DoCommand, GetStatus })]
pub trait Button: Resource {
    /// Pushes the button, and lets it go.
    #[rpc(Push)]
    async fn push(&self, extra: &Object) -> Result<()>;
}
