//! The rules for names of resources, modules, remotes and packages, with the texts that peers know.

/// Subtypes of the standard component APIs.
const COMPONENTS: [&str; 19] = [
    "arm",
    "audio_in",
    "audio_out",
    "base",
    "board",
    "button",
    "camera",
    "encoder",
    "gantry",
    "generic",
    "gripper",
    "input_controller",
    "motor",
    "movement_sensor",
    "pose_tracker",
    "power_sensor",
    "sensor",
    "servo",
    "switch",
];
/// Subtypes of the standard service APIs.
const SERVICES: [&str; 12] = [
    "base_remote_control",
    "data_manager",
    "discovery",
    "generic",
    "mlmodel",
    "motion",
    "navigation",
    "shell",
    "slam",
    "video",
    "vision",
    "world_state_store",
];

/// The standard subtypes of APIs of this type.
pub(super) fn standard(kind: &str) -> impl Iterator<Item = &'static str> {
    let subtypes = match kind {
        "component" => &COMPONENTS[..],
        "service" => &SERVICES[..],
        _ => &[],
    };
    subtypes.iter().copied()
}

/// The text for a required field that is not there.
pub(super) fn missing(field: &str) -> String {
    format!("Error validating, missing required field. Field: \"{field}\"")
}

/// The part of an error that peers know, without the example: a better one is given as help.
fn known_text(error: mainstay_ids::IdError) -> String {
    let text = error.to_string();
    text.split_once(", like `")
        .map_or(text.clone(), |(known, _)| known.to_owned())
}

/// Checks one part of an API or model, and the characters of names that have a meaning elsewhere.
pub(super) fn check_reserved(name: &str) -> Result<(), String> {
    match name.chars().find(|c| matches!(c, ':' | '+')) {
        Some(c) => Err(format!("reserved character {c} used in name:\"{name}\"")),
        None => Ok(()),
    }
}

/// Checks the name of a resource or remote.
pub(super) fn check_resource(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(missing("name"));
    }
    check_reserved(name)?;
    mainstay_ids::check_name(name).map_err(known_text)
}

/// A name within the rules that looks like `name`, if there is one.
pub(super) fn repaired(name: &str) -> Option<String> {
    let good = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let replaced: String = name.chars().map(good).collect();
    let cut: String = replaced.trim_matches(['-', '_']).chars().take(60).collect();
    check_resource(&cut).is_ok().then_some(cut)
}

/// Checks the name of a module.
pub(super) fn check_module(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(missing("name"));
    }
    mainstay_ids::check_module_name(name).map_err(|error| format!("module {}", known_text(error)))?;
    if name == "parent" {
        return Err("module  cannot use the reserved name of parent".to_owned());
    }
    Ok(())
}

/// Checks the name of a package.
pub(super) fn check_package(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("empty package name".to_owned());
    }
    mainstay_ids::check_module_name(name).map_err(|error| format!("package {}", known_text(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_that_peers_know() {
        for good in ["a", "A1", "wheel-l", "0_x", &"x".repeat(60)] {
            assert_eq!(check_resource(good), Ok(()), "{good}");
        }
        for (bad, text) in [
            ("", "Error validating, missing required field. Field: \"name\""),
            (
                "_x",
                "name \"_x\" must start with a letter or number and must only contain",
            ),
            ("é", "name \"é\" must start with"),
            ("a b", "name \"a b\" must start with"),
            ("a:b", "reserved character : used in name:\"a:b\""),
            ("a+b", "reserved character + used in name:\"a+b\""),
            (&"x".repeat(61), "must be 60 characters or fewer"),
        ] {
            let error = check_resource(bad).expect_err(bad);
            assert!(error.contains(text), "{bad}: {error}");
        }
        assert_eq!(
            check_module("parent"),
            Err("module  cannot use the reserved name of parent".to_owned())
        );
        assert_eq!(check_module(&"x".repeat(200)), Ok(()));
        assert!(check_module(&"x".repeat(201)).is_err());
        assert_eq!(standard("component").count(), 19);
        assert_eq!(standard("service").count(), 12);
        assert_eq!(standard("thing").count(), 0);
    }
}
