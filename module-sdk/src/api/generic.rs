//! `rdk:component:generic` and `rdk:service:generic`: resources with no other method than `do_command`.

use mainstay_proto::viam::{component::generic::v1 as component, service::generic::v1 as service};

use crate::{Resource, Resources, api};

/// Component that fits no other API (`rdk:component:generic`). Its functions are in [`Resource::do_command`].
///
/// ```
/// use mainstay_module::prelude::*;
///
/// struct Lamp;
///
/// #[async_trait]
/// impl Resource for Lamp {
///     async fn do_command(&self, command: Object) -> Result<Object> {
///         Ok(object! { "shines" => command.contains_key("on") })
///     }
/// }
///
/// impl Generic for Lamp {}
/// ```
// A command may also be for a custom component.
#[api(
    "rdk:component:generic",
    component::GenericService { DoCommand: Resources::do_command_of_any, GetStatus, GetGeometries }
)]
pub trait Generic: Resource {}

/// Service that fits no other API (`rdk:service:generic`). Its functions are in [`Resource::do_command`].
///
/// ```
/// use mainstay_module::prelude::*;
///
/// struct Greeter;
///
/// #[async_trait]
/// impl Resource for Greeter {
///     async fn do_command(&self, command: Object) -> Result<Object> {
///         let name = command.get("name").and_then(Value::as_str);
///         let name = name.ok_or_else(|| Error::invalid_argument("`name` is missing"))?;
///         Ok(object! { "greeting" => format!("Hello, {name}!") })
///     }
/// }
///
/// impl GenericService for Greeter {}
/// ```
#[api("rdk:service:generic", service::GenericService { DoCommand, GetStatus })]
pub trait GenericService: Resource {}
