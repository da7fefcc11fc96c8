//! Conversions between typed ids and their messages.

use mainstay_ids::{Api, IdError, ResourceName};

use crate::viam::common::v1 as common;

impl From<ResourceName> for common::ResourceName {
    fn from(name: ResourceName) -> Self {
        Self::from(&name)
    }
}

impl From<&ResourceName> for common::ResourceName {
    fn from(ResourceName { api, name }: &ResourceName) -> Self {
        Self {
            namespace: api.namespace().to_owned(),
            r#type: api.kind().to_owned(),
            subtype: api.subtype().to_owned(),
            name: name.clone(),
        }
    }
}

impl TryFrom<common::ResourceName> for ResourceName {
    type Error = IdError;

    fn try_from(wire: common::ResourceName) -> Result<Self, IdError> {
        let api = Api::new(&wire.namespace, &wire.r#type, &wire.subtype)?;
        format!("{api}/{}", wire.name).parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_name_from_the_wire_is_refused() {
        let wire = |namespace: &str, name: &str| common::ResourceName {
            namespace: namespace.into(),
            r#type: "component".into(),
            subtype: "motor".into(),
            name: name.into(),
        };
        assert_eq!(
            ResourceName::try_from(wire("rdk", "left")),
            "rdk:component:motor/left".parse()
        );
        assert!(ResourceName::try_from(wire("", "left")).is_err());
        assert!(ResourceName::try_from(wire("rdk", "")).is_err());
    }

    #[test]
    fn a_name_survives_the_way_over_the_wire() {
        for text in [
            "rdk:component:motor/left",
            "acme:service:x/a:b:left",
            "rdk:service:motion/$internal",
        ] {
            let name: ResourceName = text.parse().unwrap();
            assert_eq!(ResourceName::try_from(common::ResourceName::from(&name)), Ok(name));
        }
    }
}
