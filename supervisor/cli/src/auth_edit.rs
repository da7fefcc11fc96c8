//! Change of who may come in: API keys and their roles put into the section `auth` of a config file, and taken out, with all
//! around them as it was.

use std::fs;
use std::path::{Path, PathBuf};

use mainstay_config as config;
use mainstay_config::edit::{EditableFile, Impossible, NewValue, ValuePath};
use mainstay_model::{Auth, Role};
use serde_json::json;

use crate::api_keys::keys_of;
use crate::config::{MARK, check, read};
use crate::config_files::file_of;
use crate::diagnostics;
use crate::failure::CliError;
use crate::replace_file::replace;

/// Change of the section `auth` of a config, in several edits that are written at once.
pub struct ConfigEdit {
    /// The config file, which may include others.
    file: PathBuf,
    /// The file that has the section.
    pub place: PathBuf,
    /// The section as it was read.
    pub auth: Auth,
    document: EditableFile,
    text: String,
    old: Vec<u8>,
}

fn path(text: &str) -> Result<ValuePath, CliError> {
    text.parse()
        .map_err(|error: config::edit::BadPath| CliError::wrong(error.to_string()))
}

fn value(text: &str) -> Result<NewValue, CliError> {
    NewValue::read(text).map_err(|error| CliError::wrong(error.to_string()))
}

fn impossible(error: Impossible) -> CliError {
    CliError::wrong(error.to_string())
}

/// Ids as a list in YAML that is JSON.
fn ids(ids: &[String]) -> String {
    json!(ids).to_string()
}

impl ConfigEdit {
    /// Reads the config of `file`.
    ///
    /// # Errors
    /// It cannot be used.
    pub fn open(file: &Path) -> Result<Self, CliError> {
        let loaded = config::load(file).map_err(|refused| {
            let shown = diagnostics::render(&refused.diagnostics, config::colour_wanted());
            CliError::wrong(format!(
                "nothing is written, because this config cannot be used:\n\n{shown}"
            ))
        })?;
        let place = file_of(file, &path("auth.handlers")?).file;
        let (document, old) = read(&place)?;
        let text = fs::read_to_string(&place)
            .map_err(|error| CliError::wrong(format!("`{}` cannot be read: {error}", place.display())))?;
        Ok(Self {
            file: file.to_owned(),
            auth: loaded.config.auth,
            place,
            document,
            text,
            old,
        })
    }

    /// Path of the handler of API keys; `None` if there is none.
    fn handler(&self) -> Result<Option<ValuePath>, CliError> {
        let handlers = path("auth.handlers")?;
        let kind = |index: usize| {
            let kind = self.document.get(&handlers.clone().item(index).key("type"), false);
            kind.map(|found| found.value)
        };
        for index in 0.. {
            match kind(index) {
                Ok(kind) if kind == "api-key" => return Ok(Some(handlers.item(index).key("config"))),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        Ok(None)
    }

    fn take(&mut self, change: Result<config::edit::TextChange, Impossible>) -> Result<(), CliError> {
        let change = change.map_err(impossible)?;
        change.text().clone_into(&mut self.text);
        let reread = EditableFile::read(&self.place, self.text.clone());
        self.document = reread.map_err(|refused| CliError::wrong(refused.render(false)))?;
        Ok(())
    }

    fn set(&mut self, at: &ValuePath, new: &str) -> Result<(), CliError> {
        self.take(self.document.set(at, &value(new)?))
    }

    /// Adds the key `id`, with its entry in YAML.
    ///
    /// # Errors
    /// The file is written in a way in which nothing can be added there.
    pub fn add_key(&mut self, id: &str, entry: &str) -> Result<(), CliError> {
        let Some(handler) = self.handler()? else {
            let new = format!("[{{type: api-key, config: {{keys: [{}], {}: {}}}}}]", id, id, entry);
            return self.set(&path("auth.handlers")?, &new);
        };
        self.take(self.document.append(&handler.clone().key("keys"), &NewValue::text(id)))?;
        self.set(&handler.key(id), entry)
    }

    /// Gives a role to the key `id`. Returns who becomes an owner because the config had no roles yet.
    ///
    /// # Errors
    /// As [`ConfigEdit::add_key`].
    pub fn add_to_role(&mut self, auth: &Auth, role: &str, id: &str) -> Result<Vec<String>, CliError> {
        let roles = path("auth.roles")?;
        let Some(known) = &auth.roles else {
            if role == Role::OWNER {
                return Ok(Vec::new());
            }
            let owners: Vec<String> = keys_of(auth)
                .into_keys()
                .chain(&auth.tls_auth_entities)
                .cloned()
                .collect();
            let mut new = json!({});
            if !owners.is_empty() {
                new[Role::OWNER] = json!({ "entities": owners });
            }
            new[role] = json!({ "entities": [id] });
            self.set(&roles, &new.to_string())?;
            return Ok(owners);
        };
        let entities = roles.key(role).key("entities");
        match known.iter().find(|known| known.name == role) {
            Some(known) if !known.entities.is_empty() => {
                self.take(self.document.append(&entities, &NewValue::text(id)))?;
            }
            _ => self.set(&entities, &ids(&[id.to_owned()]))?,
        }
        Ok(Vec::new())
    }

    /// Takes the key `id` out.
    ///
    /// # Errors
    /// The file is written in a way in which it alone cannot be taken out.
    pub fn remove_key(&mut self, id: &str) -> Result<(), CliError> {
        let handler = self
            .handler()?
            .ok_or_else(|| CliError::wrong("the config has no API keys"))?;
        self.take(self.document.remove(&handler.clone().key(id)))?;
        self.remove_from_list(&handler.key("keys"), id)
    }

    /// Takes the key `id` out of all roles.
    ///
    /// # Errors
    /// As [`ConfigEdit::remove_key`].
    pub fn remove_from_roles(&mut self, auth: &Auth, id: &str) -> Result<(), CliError> {
        for role in auth.roles.iter().flatten() {
            let entities = path("auth.roles")?.key(&role.name).key("entities");
            self.remove_from_list(&entities, id)?;
        }
        Ok(())
    }

    /// Takes every item that is `id` out of a list.
    fn remove_from_list(&mut self, at: &ValuePath, id: &str) -> Result<(), CliError> {
        loop {
            let Ok(found) = self.document.get(at, true) else {
                return Ok(());
            };
            let items = found.value.as_array().cloned().unwrap_or_default();
            match items.iter().position(|item| item == id) {
                None => return Ok(()),
                // A list of several lines cannot be empty.
                Some(_) if items.len() == 1 => return self.set(at, "[]"),
                Some(index) => self.take(self.document.remove(&at.clone().item(index)))?,
            }
        }
    }

    /// Line of the entry of a key, from 1.
    pub fn line_of(&self, id: &str) -> u32 {
        let handler = self.handler().ok().flatten();
        let found = handler.and_then(|handler| self.document.get(&handler.key(id), false).ok());
        found.map_or(1, |found| found.place.line)
    }

    /// Writes the file, if the config can be used then.
    ///
    /// # Errors
    /// It cannot, or the disk refuses.
    pub fn write(&self) -> Result<(), CliError> {
        let mark = if self.old.starts_with(MARK) { MARK } else { &[] };
        let text = self.text.strip_prefix('\u{feff}').unwrap_or(&self.text);
        check(&self.file, &self.place, text.as_bytes())?;
        replace(&self.place, &self.old, &[mark, text.as_bytes()].concat())
    }
}
