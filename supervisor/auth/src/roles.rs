//! Roles: what an entity may do, by the built-in roles that it has and by the rules of others.

use std::collections::HashMap;
use std::sync::Arc;

use mainstay_model::{AccessRule, Role};
use mainstay_proto::methods as wire;

use crate::methods::{Effect, effect};
use crate::text::quoted;

/// A call, as far as it is known when it is asked whether it may be made.
#[derive(Debug, Clone, Copy)]
pub struct AskedCall<'c> {
    /// gRPC service.
    pub service: &'c str,
    /// Method.
    pub method: &'c str,
    /// Resource, once its name was read; then rules about resources count.
    pub resource: Option<AskedResource<'c>>,
}

/// Resource that a call is for.
#[derive(Debug, Clone, Copy)]
pub struct AskedResource<'c> {
    /// Simple name.
    pub name: &'c str,
    /// API; empty if the service is of a custom one, and no resource has this name.
    pub api: &'c str,
}

/// What one entity may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// Names of its roles, as the config has them.
    roles: Vec<Arc<str>>,
    /// Most that the built-in ones among them allow.
    most: Effect,
    rules: Vec<Rule>,
}

/// The rights of everybody.
#[derive(Debug, Default)]
pub struct Roles {
    /// `None`: everybody is an owner.
    entities: Option<HashMap<String, Arc<Rights>>>,
}

/// Rule with its patterns taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    resource: Option<Pattern>,
    api: Option<Pattern>,
    service: Option<Pattern>,
    methods: Vec<Pattern>,
}

impl Roles {
    /// The roles of a config.
    pub fn new(roles: Option<&[Role]>) -> Self {
        let Some(roles) = roles else { return Self::default() };
        let mut entities: HashMap<String, Rights> = HashMap::new();
        for role in roles {
            for entity in &role.entities {
                entities.entry(entity.clone()).or_default().add(role);
            }
        }
        let shared = entities.into_iter().map(|(entity, rights)| (entity, Arc::new(rights)));
        Self {
            entities: Some(shared.collect()),
        }
    }

    /// The rights of an entity; `None`: all.
    pub fn of(&self, entity: &str) -> Option<Arc<Rights>> {
        let entities = self.entities.as_ref()?;
        Some(entities.get(entity).cloned().unwrap_or_default())
    }
}

impl Default for Rights {
    /// Rights of whoever has no role.
    fn default() -> Self {
        Self {
            roles: Vec::new(),
            most: Effect::Stop,
            rules: Vec::new(),
        }
    }
}

impl Rights {
    /// Rights of whoever has the roles of these names. A name that is neither built in nor `known` gives none.
    pub fn of_roles(names: &[String], known: &[Role]) -> Self {
        let mut rights = Self::default();
        for name in names {
            match known.iter().find(|role| role.name == *name) {
                Some(role) => rights.add(role),
                None => rights.add(&Role {
                    name: name.clone(),
                    entities: Vec::new(),
                    allow: Vec::new(),
                }),
            }
        }
        rights
    }

    fn add(&mut self, role: &Role) {
        let most = match role.name.as_str() {
            Role::OWNER => Effect::Owner,
            Role::OPERATOR => Effect::Use,
            Role::VIEWER => Effect::Read,
            _ => Effect::Stop,
        };
        self.roles.push(role.name.as_str().into());
        self.most = self.most.max(most);
        self.rules.extend(role.allow.iter().map(Rule::new));
    }

    /// True if a call may be made; before its resource is known, if one of some resource may.
    pub fn allow(&self, call: &AskedCall<'_>) -> bool {
        let effect = effect(call.service, call.method);
        // No rule gives away what is the owner's: one about `Get*` means resources.
        effect <= self.most || effect < Effect::Owner && self.rules.iter().any(|rule| rule.allows(call))
    }

    /// True if everything is allowed.
    pub fn are_unlimited(&self) -> bool {
        self.most == Effect::Owner
    }

    /// Names of the roles, as the config has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(AsRef::as_ref)
    }

    /// The roles, in words.
    pub fn shown(&self) -> String {
        match self.roles.as_slice() {
            [] => "in no role".to_owned(),
            [one] => format!("role {}", quoted(one)),
            several => format!("roles {}", quoted(&several.join(", "))),
        }
    }
}

/// True for a service that the machine itself has, and no resource.
pub fn is_of_the_machine(service: &str) -> bool {
    wire::service(service).is_some_and(|service| service.api.is_none())
        || service.starts_with("grpc.")
        || service.starts_with("mainstay.")
        // Pages, not calls.
        || service == "debug"
        || service.starts_with("debug/")
}

/// What would allow a call, in words.
pub fn cure(call: &AskedCall<'_>) -> String {
    let roles = match effect(call.service, call.method) {
        Effect::Owner => return "the role owner in `auth.roles` allows it, and nothing else does".to_owned(),
        Effect::Admin => "the role owner allows it",
        Effect::Use => "the roles operator and owner allow it",
        Effect::Basic | Effect::Stop | Effect::Read => "the roles viewer, operator and owner allow it",
    };
    let (method, service) = (quoted(call.method), quoted(call.service));
    let rule = match call.resource {
        Some(resource) => format!("{{resource: {}, methods: [{method}]}}", quoted(resource.name)),
        None => format!("{{service: {service}, methods: [{method}]}}"),
    };
    format!("{roles}, and so does a rule in `auth.roles` like `allow: [{rule}]`")
}

impl Rule {
    fn new(rule: &AccessRule) -> Self {
        let pattern = |text: &Option<String>| text.as_deref().map(Pattern::new);
        Self {
            resource: pattern(&rule.resource),
            api: pattern(&rule.api),
            service: pattern(&rule.service),
            methods: rule.methods.iter().map(|text| Pattern::new(text)).collect(),
        }
    }

    fn allows(&self, call: &AskedCall<'_>) -> bool {
        let fits = |pattern: &Option<Pattern>, text: &str| pattern.as_ref().is_none_or(|pattern| pattern.fits(text));
        (self.methods.is_empty() || self.methods.iter().any(|pattern| pattern.fits(call.method)))
            && fits(&self.service, call.service)
            && self.fits_resource(call)
    }

    fn fits_resource(&self, call: &AskedCall<'_>) -> bool {
        if self.resource.is_none() && self.api.is_none() {
            return true;
        }
        let Some(resource) = call.resource else {
            // Its name comes later; a service of the machine itself has none.
            let standard = wire::service(call.service).and_then(|service| service.api);
            // A generic command may be for a custom API.
            let settled = standard.filter(|_| call.method != "DoCommand");
            let api = self
                .api
                .as_ref()
                .zip(settled)
                .is_none_or(|(pattern, api)| pattern.fits(api));
            return !is_of_the_machine(call.service) && api;
        };
        let named = |pattern: &Pattern| match pattern.is_full() {
            true => pattern.fits(&format!("{}/{}", resource.api, resource.name)),
            false => pattern.fits(resource.name),
        };
        self.resource.as_ref().is_none_or(named) && self.api.as_ref().is_none_or(|pattern| pattern.fits(resource.api))
    }
}

/// Text in which `*` stands for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// What stands between the stars.
    parts: Vec<String>,
}

impl Pattern {
    fn new(text: &str) -> Self {
        Self {
            parts: text.split('*').map(str::to_owned).collect(),
        }
    }

    /// True if it names a resource in full, with its API.
    fn is_full(&self) -> bool {
        self.parts.iter().any(|part| part.contains('/'))
    }

    fn fits(&self, text: &str) -> bool {
        let [first, rest @ ..] = self.parts.as_slice() else {
            return text.is_empty();
        };
        let [middle @ .., last] = rest else {
            return text == first;
        };
        let Some(mut rest) = text.strip_prefix(first.as_str()) else {
            return false;
        };
        for part in middle {
            match rest.find(part.as_str()) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        rest.len() >= last.len() && rest.ends_with(last.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOTOR: &str = "viam.component.motor.v1.MotorService";
    const ROBOT: &str = "viam.robot.v1.RobotService";
    const SHELL: &str = "viam.service.shell.v1.ShellService";

    fn role(name: &str, allow: Vec<AccessRule>) -> Role {
        Role {
            name: name.to_owned(),
            entities: vec![name.to_owned()],
            allow,
        }
    }

    fn rule(resource: Option<&str>, api: Option<&str>, service: Option<&str>, methods: &str) -> AccessRule {
        AccessRule {
            resource: resource.map(str::to_owned),
            api: api.map(str::to_owned),
            service: service.map(str::to_owned),
            methods: methods.split_whitespace().map(str::to_owned).collect(),
        }
    }

    fn on<'c>(service: &'c str, method: &'c str, api: &'c str, name: &'c str) -> AskedCall<'c> {
        AskedCall {
            service,
            method,
            resource: Some(AskedResource { name, api }),
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, fitting, others) in [
            ("left", &["left"][..], &["", "lef", "left2", "aleft"][..]),
            ("left*", &["left", "left2"], &["lef", "aleft"]),
            ("*left", &["left", "aleft"], &["left2"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["ac", "acb", "abcX"]),
            ("a*a", &["aa", "aba"], &["a", ""]),
            ("*", &["", "x"], &[]),
            ("", &[""], &["x"]),
        ] {
            for text in fitting {
                assert!(Pattern::new(pattern).fits(text), "{pattern} {text}");
            }
            for text in others {
                assert!(!Pattern::new(pattern).fits(text), "{pattern} {text}");
            }
        }
    }

    #[test]
    fn without_roles_everybody_may_do_everything_and_with_them_others_may_stop() {
        assert_eq!(Roles::new(None).of("anybody"), None);
        let stranger = Roles::new(Some(&[])).of("stranger").expect("limited");
        let allowed = |service, method| {
            stranger.allow(&AskedCall {
                service,
                method,
                resource: None,
            })
        };
        assert!(allowed(MOTOR, "Stop") && allowed(ROBOT, "StopAll") && allowed(ROBOT, "GetVersion"));
        assert!(!allowed(MOTOR, "GetPosition") && !allowed(MOTOR, "SetPower") && !allowed(ROBOT, "Shutdown"));
        assert_eq!(stranger.shown(), "in no role");
    }

    /// Each built-in role against every method of the wire, by words that are not those of our table.
    #[test]
    fn each_built_in_role_may_do_what_it_says_of_every_method() {
        let roles = Role::BUILT_IN.map(|name| role(name, vec![]));
        let roles = Roles::new(Some(&roles));
        let rights = |entity| roles.of(entity).expect("limited");
        let (owner, operator, viewer, none) = (
            rights(Role::OWNER),
            rights(Role::OPERATOR),
            rights(Role::VIEWER),
            rights("stranger"),
        );
        let owners = [
            "Shutdown",
            "RestartModule",
            "Tunnel",
            "ListTunnels",
            "Log",
            "SendTraces",
            "UploadDataFromPath",
            "Shell",
            "CopyFilesToMachine",
            "CopyFilesFromMachine",
            "Answer",
            "AuthenticateTo",
        ];
        let everybodys = [
            "Stop",
            "StopAll",
            "StopPlan",
            "Cancel",
            "Suspend",
            "GetVersion",
            "ResourceNames",
            "ResourceRPCSubtypes",
            "StartSession",
            "SendSessionHeartbeat",
            "GetOperations",
            "Authenticate",
            "Call",
            "CallUpdate",
            "OptionalWebRTCConfig",
            "ReportConnectionMetadata",
            "Check",
            "Watch",
        ];
        let read = [
            "Get",
            "List",
            "Is",
            "PWM",
            "Read",
            "Stream",
            "Infer",
            "Metadata",
            "CaptureAll",
            "Transform",
            "FrameSystem",
            "BlockFor",
        ];
        let viewed = ["AddStream", "RemoveStream"];
        for method in wire::services().iter().flat_map(|service| service.methods) {
            let (service, name) = (method.service, method.name);
            let call = AskedCall {
                service,
                method: name,
                resource: None,
            };
            let admin = owners.contains(&name)
                || ["viam.app.", "viam.module."]
                    .iter()
                    .any(|begin| service.starts_with(begin))
                || (service == SHELL && name == "DoCommand");
            let all = everybodys.contains(&name);
            let reads = read.iter().any(|begin| name.starts_with(begin)) || viewed.contains(&name);
            let wanted = [true, !admin, !admin && (all || reads), !admin && all];
            let found = [&owner, &operator, &viewer, &none].map(|rights| rights.allow(&call));
            assert_eq!(found, wanted, "{service}/{name}: owner, operator, viewer, in no role");
        }
    }

    #[test]
    fn the_control_service_is_the_owners_whatever_a_rule_says() {
        let control = "mainstay.control.v1.ControlService";
        let everything = [
            rule(None, None, None, "*"),
            rule(None, None, Some(control), ""),
            rule(Some("*"), Some("*"), Some("*"), "*"),
        ];
        let own = role("own", everything.to_vec());
        let built_in = Role::BUILT_IN.map(|name| role(name, vec![]));
        let roles = Roles::new(Some(&[own].into_iter().chain(built_in).collect::<Vec<_>>()));
        for (entity, allowed) in [
            (Role::OWNER, true),
            (Role::OPERATOR, false),
            (Role::VIEWER, false),
            ("own", false),
            ("stranger", false),
        ] {
            for method in ["GetStatus", "Logs", "ApplyConfig", "Explode"] {
                let call = AskedCall {
                    service: control,
                    method,
                    resource: None,
                };
                let rights = roles.of(entity).expect("limited");
                assert_eq!(rights.allow(&call), allowed, "{entity} {method}");
                assert_eq!(rights.are_unlimited(), allowed, "{entity}");
            }
        }
    }

    #[test]
    fn a_rule_allows_what_all_its_patterns_match_and_nothing_else() {
        let api = "rdk:component:motor";
        for (given, allowed, refused) in [
            (
                rule(Some("left*"), None, None, "SetPower"),
                vec![
                    on(MOTOR, "SetPower", api, "left"),
                    on(MOTOR, "SetPower", api, "left2"),
                    on(MOTOR, "Stop", api, "right"),
                ],
                vec![
                    on(MOTOR, "SetPower", api, "right"),
                    on(MOTOR, "GoFor", api, "left"),
                    AskedCall {
                        service: ROBOT,
                        method: "SetPower",
                        resource: None,
                    },
                ],
            ),
            (
                rule(Some("rdk:component:motor/*"), None, None, ""),
                vec![on(MOTOR, "DoCommand", api, "any")],
                vec![on(
                    "viam.component.servo.v1.ServoService",
                    "Move",
                    "rdk:component:servo",
                    "any",
                )],
            ),
            (
                rule(None, Some("acme:*"), None, ""),
                vec![
                    on("acme.v1.Gizmo", "Turn", "acme:component:gizmo", "g"),
                    on(
                        "viam.component.generic.v1.GenericService",
                        "DoCommand",
                        "acme:component:gizmo",
                        "g",
                    ),
                ],
                vec![
                    on("acme.v1.Gizmo", "Turn", "", "g"),
                    on(
                        "viam.component.generic.v1.GenericService",
                        "DoCommand",
                        "rdk:component:generic",
                        "g",
                    ),
                ],
            ),
            (
                rule(None, None, Some(ROBOT), "RestartModule"),
                vec![AskedCall {
                    service: ROBOT,
                    method: "RestartModule",
                    resource: None,
                }],
                vec![AskedCall {
                    service: ROBOT,
                    method: "Shutdown",
                    resource: None,
                }],
            ),
            (
                rule(None, None, None, "*"),
                vec![
                    on(SHELL, "Shell", "rdk:service:shell", "s"),
                    AskedCall {
                        service: ROBOT,
                        method: "Shutdown",
                        resource: None,
                    },
                ],
                vec![],
            ),
        ] {
            let roles = Roles::new(Some(&[role("own", vec![given.clone()])]));
            let rights = roles.of("own").expect("limited");
            for call in allowed {
                assert!(rights.allow(&call), "{given:?} {call:?}");
                // Nobody is sent away before the name is read whom the rule lets in.
                let early = AskedCall { resource: None, ..call };
                assert!(rights.allow(&early), "{given:?} {early:?}");
            }
            for call in refused {
                assert!(!rights.allow(&call), "{given:?} {call:?}");
            }
        }
    }

    #[test]
    fn who_has_several_roles_may_do_what_any_of_them_allows() {
        let mut own = role("lights", vec![rule(Some("lamp"), None, None, "")]);
        own.entities = vec!["k".to_owned()];
        let mut viewer = role(Role::VIEWER, vec![]);
        viewer.entities = vec!["k".to_owned()];
        let rights = Roles::new(Some(&[own, viewer])).of("k").expect("limited");
        let api = "rdk:component:motor";
        assert!(rights.allow(&on(MOTOR, "SetPower", api, "lamp")));
        assert!(rights.allow(&on(MOTOR, "GetPosition", api, "left")));
        assert!(!rights.allow(&on(MOTOR, "SetPower", api, "left")));
        assert_eq!(rights.shown(), "roles lights, viewer");
    }
}
