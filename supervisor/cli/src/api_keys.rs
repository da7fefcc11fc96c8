//! `mainstay keys new` and `mainstay keys revoke`: API keys of a machine, written into its config file and taken out of it. A machine
//! that runs the file takes that up by itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use mainstay_model::suggest::nearest;
use mainstay_model::text::plain;
use mainstay_model::{ApiKey as StoredKey, Auth, AuthHandler, Role};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::auth_edit::ConfigEdit;
use crate::failure::{CliError, Exit};
use crate::output::{note, print};
use crate::status_text::file_name;

/// Cost of the hash of a key: what OWASP asks for at least, and some 30 ms on a small board.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Bytes.
const SECRET: usize = 32;
const SALT: usize = 16;
const HASH: usize = 32;

/// Arguments of `mainstay keys new`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay keys new --role operator --name laptop          into the config of the running machine
  mainstay keys new rover.yaml --role owner --name ann
  mainstay keys new --role viewer --print                  the lines for a config elsewhere; nothing is written

Standard output gets the key alone, as ID:KEY, this once: the config has a hash of it. For the Viam SDKs ID is the id of the \
API key, and KEY the key. The first role in a config that has none makes those who could come in before owners.

JSON: {id, key, role, name, file, line, config, owners}; `config` are the lines, `owners` who became one.")]
pub struct NewArguments {
    /// The config file of the machine [default: that of the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE", conflicts_with = "file", hide = true)]
    config: Option<PathBuf>,
    /// The role of whoever has the key: owner, operator, viewer, or one of the config's own
    #[arg(long, value_name = "ROLE")]
    role: String,
    /// Whose key it is, for people
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print the lines for a config, and write nothing
    #[arg(long)]
    pub print: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `mainstay keys revoke`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay keys list                                        the ids of the keys
  mainstay keys revoke 3f0b6d9e-8a57-4a41-9a5e-0f6f3c1d7a10

Its tokens end with the next call; calls under way go on, and no module is started again.

JSON: {id, file, left}; `left` is the number of keys that are left.")]
pub struct RevokeArguments {
    /// Id of the key
    #[arg(value_name = "ID")]
    id: String,
    /// The config file of the machine [default: that of the running machine]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// The same as FILE
    #[arg(long, value_name = "FILE", conflicts_with = "file", hide = true)]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

impl NewArguments {
    /// The config file, if one is given.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| self.config.clone())
    }
}

impl RevokeArguments {
    /// The config file, if one is given.
    pub fn file(&self) -> Option<PathBuf> {
        self.file.clone().or_else(|| self.config.clone())
    }
}

/// New key, of which the config gets the hash.
struct NewKey {
    id: String,
    secret: String,
    /// Its entry in the config, in YAML that is JSON.
    entry: String,
}

impl NewKey {
    fn generate(name: Option<&str>) -> Result<Self, CliError> {
        let (mut secret, mut salt, mut hash) = ([0; SECRET], [0; SALT], [0; HASH]);
        let random = SystemRandom::new();
        let filled = random.fill(&mut secret).and_then(|()| random.fill(&mut salt));
        filled.map_err(|_| CliError::wrong("the system gives no random numbers for a key"))?;
        let secret = URL_SAFE_NO_PAD.encode(secret);
        let hashed = Params::new(MEMORY_KIB, PASSES, LANES, Some(HASH)).and_then(|cost| {
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, cost);
            argon2.hash_password_into(secret.as_bytes(), &salt, &mut hash)
        });
        hashed.map_err(|error| CliError::wrong(format!("the key cannot be hashed: {error}")))?;
        let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
        let mut entry =
            json!({ "key_hash": format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}${salt}${hash}") });
        if let Some(name) = name {
            entry["name"] = name.into();
        }
        Ok(Self {
            id: Uuid::new_v4().to_string(),
            secret,
            entry: entry.to_string(),
        })
    }

    /// The lines of a config that has this key alone.
    fn lines(&self, role: &str) -> String {
        let (id, entry) = (&self.id, &self.entry);
        let role = json!(role);
        format!(
            "auth:\n  handlers:\n    - type: api-key\n      config:\n        keys: [{id}]\n        {id}: {entry}\n  roles:\n    {role}: {{entities: [{id}]}}"
        )
    }
}

/// Runs `mainstay keys new --print`, which needs no machine.
///
/// # Errors
/// The system gives no random numbers.
pub fn print_new(arguments: &NewArguments) -> Result<Exit, CliError> {
    let key = NewKey::generate(arguments.name.as_deref())?;
    let lines = key.lines(&arguments.role);
    tell(arguments, &key, None, &lines, &[])?;
    if !arguments.json {
        note(&format!("for the config of the machine:\n\n{lines}"));
    }
    Ok(Exit::Done)
}

/// Runs `mainstay keys new` on the config `file`.
///
/// # Errors
/// The file cannot be used, or not be changed at this place.
pub fn new(arguments: &NewArguments, file: &Path) -> Result<Exit, CliError> {
    let key = NewKey::generate(arguments.name.as_deref())?;
    let mut edit = ConfigEdit::open(file)?;
    let auth = edit.auth.clone();
    check_role(&auth, &arguments.role)?;
    edit.add_key(&key.id, &key.entry)?;
    let owners = edit.add_to_role(&auth, &arguments.role, &key.id)?;
    let line = edit.line_of(&key.id);
    edit.write()?;
    tell(
        arguments,
        &key,
        Some((&edit.place, line)),
        &key.lines(&arguments.role),
        &owners,
    )?;
    if !arguments.json {
        let shown = file_name(&edit.place.display().to_string()).to_owned();
        note(&format!(
            "{shown} has its hash, in line {line}; a machine that runs it takes that up by itself"
        ));
        if !owners.is_empty() {
            note(&format!(
                "without roles whoever came in was an owner, and stays one: {}",
                plain(&owners.join(", "))
            ));
        }
        if !auth.is_asked_for() {
            note("from now on the machine asks everybody on its port who they are");
            if arguments.role != Role::OWNER {
                note("nobody is its owner on the network: `mainstay keys new --role owner` makes a key for one");
            }
        }
    }
    Ok(Exit::Done)
}

/// Shows the key, this once.
fn tell(
    arguments: &NewArguments,
    key: &NewKey,
    place: Option<(&Path, u32)>,
    lines: &str,
    owners: &[String],
) -> Result<(), CliError> {
    if arguments.json {
        let shown = json!({
            "id": key.id,
            "key": key.secret,
            "role": arguments.role,
            "name": arguments.name,
            "file": place.map(|(file, _)| file.display().to_string()),
            "line": place.map(|(_, line)| line),
            "config": lines,
            "owners": owners,
        });
        return print(&shown.to_string());
    }
    note(&format!(
        "the key of the role {}, which is shown this once:",
        plain(&arguments.role)
    ));
    print(&format!("{}:{}", key.id, key.secret))
}

/// Runs `mainstay keys revoke` on the config `file`.
///
/// # Errors
/// There is no such key, it is the last one, or the file cannot be changed at this place.
pub fn revoke(arguments: &RevokeArguments, file: &Path) -> Result<Exit, CliError> {
    let mut edit = ConfigEdit::open(file)?;
    let auth = edit.auth.clone();
    let keys = keys_of(&auth);
    let id = &arguments.id;
    if !keys.contains_key(id) {
        let hint = match nearest(id, keys.keys().map(|id| id.as_str())) {
            Some(near) => format!("did you mean `{}`?", plain(near)),
            None => "`mainstay keys list` lists them".to_owned(),
        };
        // Not quoted: it may be a key in the wrong place.
        return Err(CliError::wrong(format!("the config has no key of this id; {hint}")));
    }
    if keys.len() == 1 {
        return Err(CliError::wrong(
            "this is the last key, and a config without any is another one: make another key first (`mainstay keys new`), or take `auth` out by hand",
        ));
    }
    edit.remove_key(id)?;
    edit.remove_from_roles(&auth, id)?;
    edit.write()?;
    if arguments.json {
        let shown = json!({ "id": id, "file": edit.place.display().to_string(), "left": keys.len() - 1 });
        print(&shown.to_string())?;
    } else {
        let shown = file_name(&edit.place.display().to_string()).to_owned();
        print(&format!(
            "`{}` is taken out of {shown}; its tokens end once the machine has read that",
            plain(id)
        ))?;
        let is_owner = |id: &str| {
            auth.roles
                .as_deref()
                .is_none_or(|roles| has_role(roles, Role::OWNER, id))
        };
        if is_owner(id) && !keys.keys().any(|other| *other != id && is_owner(other)) {
            note("no key of an owner is left: on the network nobody may do everything");
        }
    }
    Ok(Exit::Done)
}

fn has_role(roles: &[Role], name: &str, id: &str) -> bool {
    let mut named = roles.iter().filter(|role| role.name == name);
    named.any(|role| role.entities.iter().any(|entity| entity == id))
}

/// Keys of a config by their ids.
pub fn keys_of(auth: &Auth) -> BTreeMap<&String, &StoredKey> {
    let AuthHandler::ApiKeys(keys) = match auth.handlers.first() {
        Some(handler) => handler,
        None => return BTreeMap::new(),
    };
    keys.iter().collect()
}

/// Checks that a role is there, or needs no rules.
fn check_role(auth: &Auth, role: &str) -> Result<(), CliError> {
    let own = auth.roles.iter().flatten().map(|role| role.name.as_str());
    let known: Vec<_> = own.chain(Role::BUILT_IN).collect();
    if known.contains(&role) {
        return Ok(());
    }
    let hint = match nearest(role, known.iter().copied()) {
        Some(near) => format!("did you mean `{}`?", plain(near)),
        None => format!(
            "there are: {}; `auth.roles` in the config makes others",
            plain(&known.join(", "))
        ),
    };
    Err(CliError::usage(format!("no role `{}`; {hint}", plain(role))))
}

/// Key of a config, for a list.
pub struct ListedKey {
    id: String,
    name: Option<String>,
    roles: Vec<String>,
    is_hashed: bool,
    file: String,
    line: u32,
}

impl ListedKey {
    /// The cells of a table: ID, NAME, ROLES, KEY, WHERE.
    pub fn cells(&self) -> [String; 5] {
        let roles = match self.roles.as_slice() {
            [] => "none".to_owned(),
            roles => plain(&roles.join(", ")),
        };
        let name = self.name.as_deref().map_or("–".to_owned(), plain);
        let stored = if self.is_hashed { "hashed" } else { "as it is" };
        [
            plain(&self.id),
            name,
            roles,
            stored.to_owned(),
            format!("{}:{}", self.file, self.line),
        ]
    }

    /// The same for scripts.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id,
            "name": self.name,
            "roles": self.roles,
            "hashed": self.is_hashed,
            "file": self.file,
            "line": self.line,
        })
    }
}

/// The keys of a config; none if it cannot be used.
pub fn list(file: &Path) -> Vec<ListedKey> {
    let Ok(edit) = ConfigEdit::open(file) else {
        return Vec::new();
    };
    let roles_of = |id: &str| match &edit.auth.roles {
        None => vec![Role::OWNER.to_owned()],
        Some(roles) => {
            let held = roles
                .iter()
                .filter(|role| role.entities.iter().any(|entity| entity == id));
            held.map(|role| role.name.clone()).collect()
        }
    };
    let listed = keys_of(&edit.auth).into_iter().map(|(id, stored)| ListedKey {
        id: id.clone(),
        name: edit.auth.key_names.get(id).cloned(),
        roles: roles_of(id),
        is_hashed: matches!(stored, StoredKey::Hashed(_)),
        file: edit.place.display().to_string(),
        line: edit.line_of(id),
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ROVER: &str = "\
# The rover.
network: {bind_address: \"127.0.0.1:8080\"}  # here
auth:
  handlers:
    - type: api-key
      config:
        keys: [first]   # ids
        first: a secret # of Ann
  roles:
    owner: {entities: [first]}
";

    fn new_arguments(role: &str) -> NewArguments {
        NewArguments {
            file: None,
            config: None,
            role: role.to_owned(),
            name: Some("laptop of \"Bob\"".to_owned()),
            print: false,
            json: true,
        }
    }

    fn listed(file: &Path) -> Vec<[String; 5]> {
        list(file).iter().map(ListedKey::cells).collect()
    }

    /// A key that was made, and its place in the list.
    fn made(file: &Path, role: &str, known: &[String]) -> [String; 5] {
        new(&new_arguments(role), file).expect("made");
        let all = listed(file);
        all.into_iter()
            .find(|cells| !known.contains(&cells[0]))
            .expect("a new one")
    }

    #[test]
    fn a_key_is_made_and_revoked_and_the_file_is_as_before() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("rover.yaml");
        fs::write(&file, ROVER).expect("written");
        let text = || fs::read_to_string(&file).expect("there");
        let known = ["first".to_owned()];
        let cells = made(&file, "operator", &known);
        assert_eq!(
            cells[1..4],
            ["laptop of \"Bob\"", "operator", "hashed"].map(str::to_owned)
        );
        assert!(
            text().contains("# of Ann") && text().contains("$argon2id$v=19$m=19456,t=2,p=1$"),
            "{}",
            text()
        );
        assert!(
            text().contains(&format!("keys: [first, {}]   # ids", cells[0])),
            "{}",
            text()
        );
        let second = made(&file, "owner", &["first".to_owned(), cells[0].clone()]);
        assert!(
            text().contains(&format!("owner: {{entities: [first, {}]}}", second[0])),
            "{}",
            text()
        );
        for id in [&cells[0], &second[0]] {
            let arguments = RevokeArguments {
                id: id.clone(),
                file: None,
                config: None,
                json: true,
            };
            revoke(&arguments, &file).expect("revoked");
            assert!(revoke(&arguments, &file).is_err());
        }
        let without_role = text().replace("    operator:\n      entities: []\n", "");
        assert_eq!(without_role, ROVER);
        let last = RevokeArguments {
            id: "first".to_owned(),
            file: None,
            config: None,
            json: true,
        };
        let refused = revoke(&last, &file).expect_err("the last").message;
        assert!(refused.contains("the last key"), "{refused}");
        let refused = check_role(&ConfigEdit::open(&file).expect("good").auth, "opertor").expect_err("none");
        assert!(
            refused.message.contains("did you mean `operator`?"),
            "{}",
            refused.message
        );
    }

    #[test]
    fn the_first_key_and_the_first_role_of_a_config_find_their_place() {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text, role, roles_of_first) in [
            ("none.yaml", "debug: false\n", "viewer", None),
            ("none.json", "{\"debug\": false}\n", "owner", None),
            (
                "keys.yaml",
                "auth:\n  handlers:\n  - {type: api-key, config: {keys: [a], a: b}}\n",
                "operator",
                Some("owner"),
            ),
            (
                "keys.json",
                "{\"auth\": {\"handlers\": [{\"type\": \"api-key\", \"config\": {\"keys\": [\"a\"], \"a\": \"b\"}}]}}",
                "owner",
                Some("owner"),
            ),
            (
                "lists.yaml",
                "auth:\n  handlers:\n  - type: api-key\n    config:\n      keys:\n      - a  # Ann's\n      a: b\n  roles:\n    viewer:\n      entities:\n      - a\n",
                "viewer",
                Some("viewer"),
            ),
        ] {
            let file = folder.path().join(name);
            fs::write(&file, text).expect("written");
            let cells = made(&file, role, &["a".to_owned()]);
            assert_eq!((cells[2].as_str(), cells[3].as_str()), (role, "hashed"), "{name}");
            let all = listed(&file);
            let first = all.iter().find(|cells| cells[0] == "a").map(|cells| cells[2].as_str());
            assert_eq!(first, roles_of_first, "{name}");
            let written = fs::read_to_string(&file).expect("there");
            assert!(
                !text.contains("# Ann's") || written.contains("- a  # Ann's\n"),
                "{written}"
            );
        }
    }

    #[test]
    fn lines_for_another_config_are_a_config() {
        let key = NewKey::generate(Some("x")).expect("random numbers");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("r.yaml");
        fs::write(&file, key.lines("owner")).expect("written");
        let cells = listed(&file);
        assert_eq!(cells[0][..3], [key.id.as_str(), "x", "owner"].map(str::to_owned));
        assert!(key.secret.len() >= 43 && !key.entry.contains(&key.secret));
    }
}
