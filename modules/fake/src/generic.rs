//! Fake `rdk:component:generic` and `rdk:service:generic`: `do_command` returns the command.

use mainstay_module::{prelude::*, spatial::Geometry};

/// Component and service that returns every command unchanged.
#[derive(Debug)]
pub struct FakeGeneric;

#[async_trait]
impl Resource for FakeGeneric {
    async fn do_command(&self, command: Object) -> Result<Object> {
        Ok(command)
    }

    async fn geometries(&self, _: &Object) -> Result<Option<Vec<Geometry>>> {
        // It takes up no space, whatever its `frame` says: that is what peers expect of this model.
        Ok(Some(Vec::new()))
    }
}

impl FromConfig for FakeGeneric {
    type Attributes = ();

    async fn from_config(_: Config<()>, _: Dependencies) -> Result<Self> {
        Ok(Self)
    }
}

impl Generic for FakeGeneric {}

impl GenericService for FakeGeneric {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_command_comes_back_as_it_was() {
        let generic = FakeGeneric::from_config(Config::new("g", ()), Dependencies::none())
            .await
            .unwrap();
        for command in [
            Object::new(),
            object! { "set" => object! { "speed" => 1.5 }, "list" => vec![1, 2] },
        ] {
            assert_eq!(generic.do_command(command.clone()).await.unwrap(), command);
        }
        assert_eq!(generic.geometries(NO_EXTRA).await.unwrap(), Some(Vec::new()));
    }
}
