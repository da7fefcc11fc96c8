//! The section `auth`: who may come in, and who may do what. Its errors refuse the config, and nothing runs that asks for less.

use std::collections::{BTreeMap, BTreeSet};

use mainstay_model::suggest::nearest;
use mainstay_model::{AccessRule, ApiKey, Auth, AuthHandler, Network, Role, Secret, Span, Tls};

use crate::keys;
use crate::network::mark_open;
use crate::node::{NodeValue, TreeNode};
use crate::read::{Keys, Reader};

/// Reads `auth`. Every error in it is refused, and nothing runs that asks for less. `network`: where it is asked for.
/// `of_modules`: some module is limited by roles.
pub(super) fn auth(reader: &mut Reader, keys: &Keys<'_>, network: &Network, of_modules: bool) -> Auth {
    let before = reader.diagnostics.len();
    let auth = section(reader, keys, network, of_modules);
    mark_open(&mut reader.diagnostics[before..]);
    auth
}

fn section(reader: &mut Reader, keys: &Keys<'_>, network: &Network, of_modules: bool) -> Auth {
    let mut auth = Auth::default();
    let Some(keys) = reader.map(keys, "auth") else {
        return auth;
    };
    let mut known = handlers(reader, &keys, &mut auth);
    for (name, span) in reader.texts(&keys, "tls_auth_entities") {
        known.push((name.clone(), span));
        auth.tls_auth_entities.push(name);
    }
    if let Some(keys) = reader.map(&keys, "external_auth_config") {
        if let Some(node) = keys.get("jwks") {
            auth.external_jwks = reader.structure(&keys, "jwks");
            check_jwks(reader, node);
        } else {
            reader.error(keys.span, "must contain at least 1 key").help = Some("write jwks: {keys: [...]}".to_owned());
        }
        if auth.external_jwks.is_some() && auth.handlers.is_empty() {
            let message = "cannot use unauthenticated and auth handlers at same time";
            reader.error(keys.span, message).help = Some("add a handler of the type `api-key`".to_owned());
        } else if auth.external_jwks.is_some() && network.fqdn.is_empty() {
            let message = "no external token can be meant for this machine, because it has no name";
            reader.warn(keys.span, message).help = Some("set `network.fqdn`".to_owned());
        }
    }
    if let Some(node) = keys.get("roles") {
        let span = node.span;
        auth.roles = roles(reader, node, &known, auth.external_jwks.is_some());
        if auth.roles.is_some() && !auth.is_asked_for() && !of_modules {
            reader
                .error(span, "`roles` count for nothing while nobody is asked who they are")
                .help = Some("add `handlers`, name them in the `access` of a module, or remove them".to_owned());
        }
    }
    let in_cleartext = !network.is_loopback() && *network.tls_in_force() == Tls::None;
    if in_cleartext && !auth.handlers.is_empty() {
        let message = "API keys and tokens cross the network in cleartext: whoever listens there has them";
        reader.warn(keys.span_of("handlers"), message).help = Some(
            "serve TLS (`network.tls: own`, or `tls_cert_file` and `tls_key_file`), or listen on loopback".to_owned(),
        );
    }
    if network.allow_unauthenticated && auth.is_asked_for() {
        let message = "`network.allow_unauthenticated` has no effect: everybody is asked who they are";
        reader.warn(keys.span, message).help = Some("remove the one or the other".to_owned());
    }
    auth
}

/// Names of the roles in `auth`, for whoever is read before it.
pub(super) fn role_names(keys: &Keys<'_>) -> BTreeSet<String> {
    let roles = keys.get("auth").and_then(|auth| {
        let NodeValue::Map(entries) = &auth.value else {
            return None;
        };
        let roles = entries.iter().find(|entry| entry.key.eq_ignore_ascii_case("roles"));
        roles.map(|entry| &entry.value.value)
    });
    match roles {
        Some(NodeValue::Map(roles)) => roles.iter().map(|role| role.key.clone()).collect(),
        _ => BTreeSet::new(),
    }
}

/// Reads `handlers` into `auth`; gives the ids of all keys, and where they are.
fn handlers(reader: &mut Reader, keys: &Keys<'_>, auth: &mut Auth) -> Vec<(String, Span)> {
    let mut known = Vec::new();
    let mut types: Vec<&str> = Vec::new();
    for node in reader.list(keys, "handlers") {
        let Some(keys) = reader.keys(&keys::HANDLER, node) else {
            continue;
        };
        let kind = reader.text(&keys, "type").unwrap_or_default();
        let span = keys.span_of("type");
        if types.contains(&kind) {
            reader.error(span, format!("duplicate handler type \"{kind}\"")).help =
                Some("merge them into one".to_owned());
            continue;
        }
        types.push(kind);
        match kind {
            "" => {
                reader.error(span, "handler must have type").help = Some("for example `type: api-key`".to_owned());
            }
            "api-key" => {
                let by_id = api_keys(reader, &keys, &mut known, &mut auth.key_names);
                auth.handlers.push(AuthHandler::ApiKeys(by_id));
            }
            "external" => {
                reader.error(span, "robot cannot issue external auth tokens");
            }
            _ => {
                reader
                    .error(
                        span,
                        format!("do not know how to handle auth for \"{}\"", kind.escape_debug()),
                    )
                    .help = Some("the type of a handler is `api-key`".to_owned());
            }
        }
    }
    known
}

fn api_keys(
    reader: &mut Reader,
    keys: &Keys<'_>,
    known: &mut Vec<(String, Span)>,
    names: &mut BTreeMap<String, String>,
) -> BTreeMap<String, ApiKey> {
    let mut by_id = BTreeMap::new();
    let Some(node) = keys.get("config") else {
        reader.error(keys.span, "keys is required").help =
            Some("write config: {keys: [my-id], my-id: <key>}".to_owned());
        return by_id;
    };
    let mut ids: Vec<(&str, Span)> = Vec::new();
    for (key, span, value) in reader.any_keys("`config`", node) {
        match (key, &value.value) {
            ("keys", NodeValue::List(items)) => {
                ids = items
                    .iter()
                    .filter_map(|item| Some((reader.as_text("a key id", item)?, item.span)))
                    .collect();
            }
            ("keys", _) => {
                reader.wrong_type("`keys`", value, "a list");
            }
            ("key", _) => {}
            (id, NodeValue::Text(secret)) if !secret.is_empty() => {
                by_id.insert(id.to_owned(), ApiKey::Plain(Secret(secret.clone())));
                known.push((id.to_owned(), span));
            }
            (id, NodeValue::Map(entries)) => {
                if let Some((key, name)) = key_hash(reader, id, span, entries) {
                    by_id.insert(id.to_owned(), key);
                    names.extend(name.map(|name| (id.to_owned(), name)));
                }
                known.push((id.to_owned(), span));
            }
            // No quote and no type here: whatever it is, it stands where a key should.
            (id, _) => {
                reader.error(
                    span,
                    format!("the key of `{}` must be a text that is not empty", id.escape_debug()),
                );
            }
        }
    }
    if ids.is_empty() {
        reader.error(node.span, "keys is required").help = Some("list the ids, like `keys: [my-id]`".to_owned());
    } else if by_id.is_empty() {
        reader.error(node.span, "\"api-key\" handler requires non-empty API keys");
    }
    for (id, span) in ids {
        if !known.iter().any(|(known, _)| known == id) {
            reader.warn(span, format!("there is no key for the id `{}`", id.escape_debug()));
        }
    }
    by_id
}

/// `{key_hash: "$argon2id$…"}`, and perhaps a `name`. Quotes nothing of it.
fn key_hash(
    reader: &mut Reader,
    id: &str,
    span: Span,
    entries: &[crate::node::MapEntry],
) -> Option<(ApiKey, Option<String>)> {
    let (mut hash, mut name, mut others) = (None, None, false);
    for entry in entries {
        match entry.key.to_ascii_lowercase().as_str() {
            "key_hash" => hash = Some(&entry.value.value),
            "name" => name = Some(&entry.value.value),
            _ => others = true,
        }
    }
    let id = id.escape_debug();
    let problem = match (hash, name) {
        (Some(NodeValue::Text(text)), name) if !others => match (text.parse(), name) {
            (Err(bad), _) => format!("the `key_hash` of `{id}` is no argon2id hash: {bad}"),
            (Ok(hash), None) => return Some((ApiKey::Hashed(hash), None)),
            (Ok(hash), Some(NodeValue::Text(name))) => return Some((ApiKey::Hashed(hash), Some(name.clone()))),
            (Ok(_), Some(_)) => format!("the `name` of the key `{id}` must be a text"),
        },
        (Some(_), _) if !others => format!("the `key_hash` of `{id}` must be a text"),
        _ => format!("the key of `{id}` must be a text, or a map with `key_hash` and, if wanted, `name`"),
    };
    reader.error(span, problem).help = Some("write {key_hash: \"$argon2id$v=19$m=19456,t=2,p=1$…$…\"}".to_owned());
    None
}

fn check_jwks(reader: &mut Reader, node: &TreeNode) {
    let entries = reader.any_keys("`jwks`", node);
    let Some((.., list)) = entries.iter().find(|(key, ..)| *key == "keys") else {
        reader.error(node.span, "must contain at least 1 key");
        return;
    };
    let NodeValue::List(items) = &list.value else {
        reader.wrong_type("`keys`", list, "a list");
        return;
    };
    if items.is_empty() {
        reader.error(list.span, "must contain at least 1 key");
    }
    for item in items {
        let text = |entries: &[(&str, Span, &TreeNode)], wanted: &str| {
            entries
                .iter()
                .find(|(key, ..)| *key == wanted)
                .and_then(|(.., node)| match &node.value {
                    NodeValue::Text(text) => Some(text.clone()),
                    _ => None,
                })
        };
        let entries = reader.any_keys("a key", item);
        if text(&entries, "kty").as_deref() != Some("RSA") {
            reader.error(item.span, "the keys of `jwks` must be RSA keys");
        } else if !matches!(text(&entries, "alg").as_deref(), Some("RS256" | "RS384" | "RS512")) {
            reader.error(item.span, "the `alg` of a key must be RS256, RS384 or RS512");
        }
    }
}

/// Reads `roles`. `known`: who can authenticate, and where that is said; `external`: others can, too.
fn roles(reader: &mut Reader, node: &TreeNode, known: &[(String, Span)], external: bool) -> Option<Vec<Role>> {
    let NodeValue::Map(_) = &node.value else {
        reader.wrong_type("`roles`", node, "a map of roles");
        return None;
    };
    let mut roles = Vec::new();
    let mut placed: BTreeSet<String> = BTreeSet::new();
    for (name, span, node) in reader.any_keys("`roles`", node) {
        let Some(keys) = reader.keys(&keys::ROLE, node) else {
            continue;
        };
        let mut role = Role {
            name: name.to_owned(),
            entities: Vec::new(),
            allow: rules(reader, &keys),
        };
        for (entity, span) in reader.texts(&keys, "entities") {
            if !external && !known.iter().any(|(known, _)| *known == entity) {
                // Not quoted: it may be a key that stands where its id should.
                let near = nearest(&entity, known.iter().map(|(known, _)| known.as_str()));
                reader
                    .warn(span, "no key and no certificate has this name, so nobody gets the role")
                    .help = near.map(|near| format!("did you mean `{}`?", near.escape_debug()));
            }
            placed.insert(entity.clone());
            role.entities.push(entity);
        }
        let built_in = Role::BUILT_IN.contains(&name);
        let silent = keys.get("allow").is_none_or(TreeNode::is_empty);
        if built_in && !silent {
            let message = format!("the built-in role `{name}` takes no rules of yours");
            reader.error(keys.span_of("allow"), message).help =
                Some("give them to a role with a name of your own; one may have several roles".to_owned());
        } else if !built_in && silent {
            let message = format!(
                "the role `{}` allows nothing but to stop what moves",
                name.escape_debug()
            );
            let near = nearest(name, Role::BUILT_IN);
            reader.warn(span, message).help = Some(near.map_or_else(
                || "write allow: [{resource: …, methods: […]}]".to_owned(),
                |near| format!("did you mean the built-in role `{near}`?"),
            ));
        }
        roles.push(role);
    }
    for (id, span) in known.iter().filter(|(id, _)| !placed.contains(id)) {
        let message = format!("`{}` is in no role, so it may do little but stop", id.escape_debug());
        reader.warn(*span, message).help = Some("list it in the `entities` of a role".to_owned());
    }
    Some(roles)
}

fn rules(reader: &mut Reader, keys: &Keys<'_>) -> Vec<AccessRule> {
    let mut rules = Vec::new();
    for node in reader.list(keys, "allow") {
        let Some(keys) = reader.keys(&keys::ACCESS_RULE, node) else {
            continue;
        };
        let mut pattern = |key| {
            let text = reader.text(&keys, key)?;
            // An empty one matches nothing, which nobody means.
            if text.is_empty() {
                let message = format!("{} must not be empty", keys.label(key));
                reader.error(keys.span_of(key), message).help = Some("`*` stands for any".to_owned());
            }
            Some(text.to_owned())
        };
        let rule = AccessRule {
            resource: pattern("resource"),
            api: pattern("api"),
            service: pattern("service"),
            methods: reader
                .texts(&keys, "methods")
                .into_iter()
                .map(|(text, _)| text)
                .collect(),
        };
        // A list that is empty, or whose items were not read, must not count as all methods.
        let listed = keys.get("methods").is_some();
        if listed && rule.methods.is_empty() {
            let message = "`methods` must name at least one method";
            reader.error(keys.span_of("methods"), message).help = Some("`*` stands for any".to_owned());
        } else if rule == AccessRule::default() {
            let message = "a rule must say what it allows: `resource`, `api`, `service` or `methods`";
            reader.error(keys.span, message).help = Some("methods: ['*'] is everything".to_owned());
        } else {
            rules.push(rule);
        }
    }
    rules
}
