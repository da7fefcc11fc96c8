//! Resolution of a typed resource name: `left`, `motor/left`, `component:motor/left` or `rdk:component:motor/left`.

use mainstay_model::suggest::nearest;
use mainstay_proto::viam::common::v1::ResourceName;

use crate::failure::CliError;

/// The API of a resource as `namespace:type:subtype`.
pub fn api(name: &ResourceName) -> String {
    format!("{}:{}:{}", name.namespace, name.r#type, name.subtype)
}

/// The full name, which every verb accepts.
pub fn full(name: &ResourceName) -> String {
    format!("{}/{}", api(name), name.name)
}

/// Picks the one resource that `query` names.
///
/// # Errors
/// None has that name (exit 1, with the nearest ones), or several have (exit 2, with their full names).
pub fn resource<'a>(all: &'a [ResourceName], query: &str) -> Result<&'a ResourceName, CliError> {
    let found = matching(all, query);
    match found[..] {
        [one] => Ok(one),
        [] => Err(CliError::wrong(unknown(all, query))),
        _ => {
            let names: Vec<String> = found.iter().map(|name| format!("  {}", full(name))).collect();
            Err(CliError::usage(format!(
                "`{query}` is the name of several resources; say which one:\n{}",
                names.join("\n")
            )))
        }
    }
}

/// Resources that `query` could mean: by their names, else those of other machines by the part behind the machine.
pub fn matching<'a>(all: &'a [ResourceName], query: &str) -> Vec<&'a ResourceName> {
    let fits = |name: &ResourceName, simple: &str| {
        if simple == query {
            return true;
        }
        let Some((wanted_api, wanted_name)) = query.split_once('/') else {
            return false;
        };
        simple == wanted_name && api_fits(&api(name), wanted_api)
    };
    let found: Vec<_> = all.iter().filter(|name| fits(name, &name.name)).collect();
    if !found.is_empty() {
        return found;
    }
    let behind = |name: &ResourceName| name.name.rsplit_once(':').is_some_and(|(_, behind)| fits(name, behind));
    all.iter().filter(|name| behind(name)).collect()
}

/// `motor` and `component:motor` are short for `rdk:component:motor`, and for any other namespace's.
fn api_fits(full: &str, short: &str) -> bool {
    full.strip_suffix(short)
        .is_some_and(|before| before.is_empty() || before.ends_with(':'))
}

fn unknown(all: &[ResourceName], query: &str) -> String {
    if all.is_empty() {
        return format!("no resource `{query}`: this machine has none yet");
    }
    let bare = query.rsplit('/').next().unwrap_or(query);
    let hint = match nearest(bare, all.iter().map(|name| name.name.as_str())) {
        None => "`mainstay status` lists them".to_owned(),
        Some(near) => format!("did you mean `{near}`?"),
    };
    format!("no resource `{query}` on this machine; {hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        let (api, name) = text.split_once('/').unwrap();
        let [namespace, kind, subtype] = api.split(':').collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        ResourceName {
            namespace: namespace.into(),
            r#type: kind.into(),
            subtype: subtype.into(),
            name: name.into(),
        }
    }

    #[test]
    fn a_resource_of_another_machine_is_found_without_that_where_nothing_here_has_its_name() {
        let all = [
            "rdk:component:motor/left",
            "rdk:component:motor/b:left",
            "rdk:component:motor/b:right",
        ]
        .map(name);
        let found = |query| {
            matching(&all, query)
                .iter()
                .map(|name| name.name.as_str())
                .collect::<Vec<_>>()
        };
        assert_eq!(found("left"), ["left"]);
        assert_eq!(found("right"), ["b:right"]);
        assert_eq!(found("motor/right"), ["b:right"]);
        assert_eq!(found("b:left"), ["b:left"]);
    }

    fn machine() -> Vec<ResourceName> {
        let names = [
            "rdk:component:motor/left",
            "rdk:component:motor/right",
            "rdk:component:encoder/left",
            "acme:component:gripper/claw",
            "rdk:component:generic/thing",
            "rdk:service:generic/thing",
            "rdk:component:motor/remote:left",
        ];
        names.into_iter().map(name).collect()
    }

    #[test]
    fn a_resource_answers_to_every_spelling_of_its_name() {
        let cases = [
            ("right", "rdk:component:motor/right"),
            ("motor/left", "rdk:component:motor/left"),
            ("component:motor/left", "rdk:component:motor/left"),
            ("rdk:component:motor/left", "rdk:component:motor/left"),
            ("gripper/claw", "acme:component:gripper/claw"),
            ("remote:left", "rdk:component:motor/remote:left"),
            ("motor/remote:left", "rdk:component:motor/remote:left"),
            ("service:generic/thing", "rdk:service:generic/thing"),
        ];
        let machine = machine();
        for (query, found) in cases {
            assert_eq!(resource(&machine, query).map(full), Ok(found.to_owned()), "{query}");
        }
    }

    #[test]
    fn an_ambiguous_name_lists_what_it_could_be() {
        let machine = machine();
        for (query, first, second) in [
            ("left", "rdk:component:motor/left", "rdk:component:encoder/left"),
            (
                "generic/thing",
                "rdk:component:generic/thing",
                "rdk:service:generic/thing",
            ),
        ] {
            let failure = resource(&machine, query).unwrap_err();
            assert_eq!(failure.exit, crate::failure::Exit::Usage);
            assert!(
                failure.message.ends_with(&format!("\n  {first}\n  {second}")),
                "{}",
                failure.message
            );
        }
    }

    #[test]
    fn an_unknown_name_suggests_the_nearest() {
        let machine = machine();
        let cases = [
            ("rigth", "no resource `rigth` on this machine; did you mean `right`?"),
            (
                "otor/left",
                "no resource `otor/left` on this machine; did you mean `left`?",
            ),
            (
                "tor/right",
                "no resource `tor/right` on this machine; did you mean `right`?",
            ),
            (
                "zzzzzzzz",
                "no resource `zzzzzzzz` on this machine; `mainstay status` lists them",
            ),
        ];
        for (query, message) in cases {
            let failure = resource(&machine, query).unwrap_err();
            assert_eq!((failure.exit as u8, failure.message.as_str()), (1, message));
        }
        assert_eq!(
            resource(&[], "left").unwrap_err().message,
            "no resource `left`: this machine has none yet"
        );
    }
}
