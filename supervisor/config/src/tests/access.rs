//! `auth`: keys, whose tokens count, roles; and a machine that asks nobody.

use mainstay_model::{AccessRule, ApiKey, AuthHandler, Role};

use super::{check, good, lines, read};

const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const KEYS: &str = "handlers: [{type: api-key, config: {keys: [a, b], a: x, b: y}}]";

#[test]
fn a_key_is_a_text_or_a_hash_and_nothing_else_is_shown_of_it() {
    let text =
        format!("auth: {{handlers: [{{type: api-key, config: {{keys: [a, b], a: {{key_hash: \"{HASH}\"}}, b: y}}}}]}}");
    let auth = good(&text).config.auth;
    let AuthHandler::ApiKeys(keys) = &auth.handlers[0];
    let ApiKey::Hashed(hash) = &keys["a"] else {
        panic!("{keys:?}")
    };
    assert_eq!((hash.memory_kib, hash.salt.as_slice()), (19456, &b"saltsalt"[..]));
    assert!(matches!(keys["b"], ApiKey::Plain(_)));
    assert!(!format!("{auth:?}").contains("salt"), "{auth:?}");
    let cure = "(write {key_hash: \"$argon2id$v=19$m=19456,t=2,p=1$…$…\"})";
    for (value, wanted) in [
        (
            "{key_hash: hunter2}",
            "the `key_hash` of `a` is no argon2id hash: it does not begin with `$argon2id$v=19$`",
        ),
        (
            "{key_hash: \"$argon2id$v=19$m=9,t=9999,p=1$c2FsdHNhbHQ$AAAA\"}",
            "the `key_hash` of `a` is no argon2id hash: its parameters are not `m=8…262144,t=1…64,p=1…16`",
        ),
        ("{key_hash: 7}", "the `key_hash` of `a` must be a text"),
        (
            "{hash: hunter2}",
            "the key of `a` must be a text, or a map with `key_hash` and, if wanted, `name`",
        ),
        (
            "{}",
            "the key of `a` must be a text, or a map with `key_hash` and, if wanted, `name`",
        ),
    ] {
        let text = format!("auth: {{handlers: [{{type: api-key, config: {{keys: [a, b], a: {value}, b: y}}}}]}}");
        assert_eq!(
            lines("r.yaml", &text),
            [format!("Refused r.yaml:1:58: {wanted} {cure}")],
            "{value}"
        );
        let shown = read("r.yaml", &text).expect_err("refused").render(false);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn keys_that_cross_the_network_in_cleartext_are_warned_about() {
    let said = |network: &str| {
        let text = format!("auth: {{{KEYS}}}\nnetwork: {{{network}}}\n");
        lines("r.yaml", &text)
            .iter()
            .any(|line| line.contains("cross the network in cleartext"))
    };
    assert!(said("bind_address: ':8080'"));
    assert!(said("bind_address: ':8080', no_tls: true, tls: own"));
    assert!(!said("bind_address: 'localhost:8080'"));
    assert!(!said("bind_address: ':8080', tls: own"));
}

#[test]
fn roles_are_read_with_their_rules() {
    let text = format!(
        "auth:\n  {KEYS}\n  roles:\n    owner: {{entities: [a]}}\n    lights:\n      entities: [b]\n      allow:\n      - {{resource: 'lamp*', api: rdk:component:switch, methods: [SetPosition, 'Get*']}}\n      - {{service: viam.robot.v1.RobotService, methods: [RestartModule]}}\n"
    );
    let roles = good(&text).config.auth.roles.expect("given");
    let owner = Role {
        name: "owner".to_owned(),
        entities: vec!["a".to_owned()],
        allow: Vec::new(),
    };
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    let lights = Role {
        name: "lights".to_owned(),
        entities: vec!["b".to_owned()],
        allow: vec![
            AccessRule {
                resource: Some("lamp*".to_owned()),
                api: Some("rdk:component:switch".to_owned()),
                service: None,
                methods: texts(&["SetPosition", "Get*"]),
            },
            AccessRule {
                service: Some("viam.robot.v1.RobotService".to_owned()),
                methods: texts(&["RestartModule"]),
                ..AccessRule::default()
            },
        ],
    };
    assert_eq!(roles, [owner, lights]);
    assert_eq!(good(&format!("auth: {{{KEYS}}}")).config.auth.roles, None);
}

#[test]
fn what_a_role_leaves_out_is_said_and_what_would_allow_more_than_it_says_is_refused() {
    let with = |roles: &str| format!("auth: {{{KEYS}, roles: {roles}}}");
    for (roles, wanted) in [
        (
            "{owner: {entities: [a]}}",
            &[
                "Warning r.yaml:1:64: `b` is in no role, so it may do little but stop (list it in the `entities` of a role)",
            ][..],
        ),
        (
            "{owner: {entities: [a, b, bb]}}",
            &[
                "Warning r.yaml:1:106: no key and no certificate has this name, so nobody gets the role (did you mean `b`?)",
            ],
        ),
        (
            "{viewer: {entities: [a, b], allow: [{resource: x}]}}",
            &[
                "Refused r.yaml:1:115: the built-in role `viewer` takes no rules of yours (give them to a role with a name of your own; one may have several roles)",
            ],
        ),
        (
            "{owners: {entities: [a, b]}}",
            &[
                "Warning r.yaml:1:81: the role `owners` allows nothing but to stop what moves (did you mean the built-in role `owner`?)",
            ],
        ),
        (
            "{x: {entities: [a, b], allow: [{}]}}",
            &[
                "Refused r.yaml:1:111: a rule must say what it allows: `resource`, `api`, `service` or `methods` (methods: ['*'] is everything)",
            ],
        ),
        (
            "{x: {entities: [a, b], allow: [{resource: l, methods: []}, {service: s}]}}",
            &["Refused r.yaml:1:134: `methods` must name at least one method (`*` stands for any)"],
        ),
        (
            "{x: {entities: [a, b], allow: [{resorce: l, methods: [m]}]}}",
            &[
                "Refused r.yaml:1:112: a rule of a role has no key `resorce`; it has no effect (did you mean `resource`?)",
            ],
        ),
        (
            "{x: {entities: [a, b], allow: [{resource: '', methods: [m]}]}}",
            &["Refused r.yaml:1:122: `resource` must not be empty (`*` stands for any)"],
        ),
        (
            "{x: [a]}",
            &["Refused r.yaml:1:84: a role must be a map of keys and values, but is a list"],
        ),
        (
            "[owner]",
            &["Refused r.yaml:1:80: `roles` must be a map of roles, but is a list"],
        ),
    ] {
        let mut said = lines("r.yaml", &with(roles));
        if roles == "{x: [a]}" {
            said.retain(|line| line.starts_with("Refused"));
        }
        assert_eq!(said, wanted, "{roles}");
    }
    let refused = read("r.yaml", &with("{x: [a]}")).expect_err("refused");
    assert!(refused.asks_for_protection());
    check(
        "r.yaml",
        &[(
            "auth: {roles: {owner: {entities: []}}}",
            &[
                "Refused r.yaml:1:15: `roles` count for nothing while nobody is asked who they are (add `handlers`, name them in the `access` of a module, or remove them)",
            ],
        )],
    );
}

#[test]
fn external_tokens_need_a_handler_beside_them_and_a_name_to_be_meant_for() {
    let jwks = "external_auth_config: {jwks: {keys: [{kty: RSA, alg: RS256, kid: k, n: AQAB, e: AQAB}]}}";
    let alone = format!("auth: {{{jwks}}}");
    let refused = "Refused r.yaml:1:30: cannot use unauthenticated and auth handlers at same time (add a handler of the type `api-key`)";
    assert_eq!(lines("r.yaml", &alone), [refused]);
    let nameless = lines("r.yaml", &format!("auth: {{{KEYS}, {jwks}}}"));
    let warning = "no external token can be meant for this machine, because it has no name (set `network.fqdn`)";
    assert!(nameless.len() == 1 && nameless[0].ends_with(warning), "{nameless:?}");
    let named = lines(
        "r.yaml",
        &format!("auth: {{{KEYS}, {jwks}}}\nnetwork: {{fqdn: rover.example}}"),
    );
    assert_eq!(named, [""; 0]);
    // A subject of such a token may have a role, too.
    let roles = format!("auth: {{{KEYS}, {jwks}, roles: {{owner: {{entities: [a, b, ann]}}}}}}\nnetwork: {{fqdn: r}}");
    assert_eq!(lines("r.yaml", &roles), [""; 0]);
}

#[test]
fn a_machine_that_asks_nobody_is_open_only_if_its_config_says_so() {
    for (text, allowed) in [
        ("network: {bind_address: ':8080'}", false),
        ("network: {bind_address: ':8080', allow_unauthenticated: true}", true),
    ] {
        let config = good(text).config;
        assert_eq!(
            (config.network.allow_unauthenticated, config.auth.is_asked_for()),
            (allowed, false)
        );
    }
    let both = format!("network: {{allow_unauthenticated: true}}\nauth: {{{KEYS}}}");
    let said = lines("r.yaml", &both);
    let warning =
        "`network.allow_unauthenticated` has no effect: everybody is asked who they are (remove the one or the other)";
    assert!(said.len() == 1 && said[0].ends_with(warning), "{said:?}");
}
