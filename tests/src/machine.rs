//! Builder of machine configs, which produces the JSON that a user would write.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::bins;
use crate::fixture::trap::{Deed, Moment};

/// Machine config under construction. Binds to a free loopback port by default.
#[derive(Debug, Clone)]
pub struct Machine(Value);

impl Machine {
    /// Creates an empty config.
    pub fn new() -> Self {
        Self(json!({ "network": { "bind_address": "127.0.0.1:0" }, "modules": [], "components": [], "services": [] }))
    }

    /// Adds a module.
    pub fn module(mut self, module: Module) -> Self {
        self.list("modules").push(Value::Object(module.0));
        self
    }

    /// Adds a component or service; the list is chosen by its API.
    pub fn resource(mut self, resource: Resource) -> Self {
        let api = resource.0.get("api").and_then(Value::as_str).unwrap_or_default();
        let list = if api.contains(":service:") {
            "services"
        } else {
            "components"
        };
        self.list(list).push(Value::Object(resource.0));
        self
    }

    /// Sets a top-level key.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.0[key] = value;
        self
    }

    /// Sets `network.sessions.heartbeat_window`, a Go duration such as `300ms`.
    pub fn heartbeat_window(mut self, window: &str) -> Self {
        self.0["network"]["sessions"] = json!({ "heartbeat_window": window });
        self
    }

    /// Sets `network.bind_address`.
    pub fn bind(mut self, address: &str) -> Self {
        self.0["network"]["bind_address"] = address.into();
        self
    }

    /// Returns the config as JSON.
    pub fn json(&self) -> &Value {
        &self.0
    }

    pub(crate) fn json_mut(&mut self) -> &mut Value {
        &mut self.0
    }

    fn list(&mut self, key: &str) -> &mut Vec<Value> {
        self.0[key].as_array_mut().expect("made as a list")
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

/// Entry of `modules`.
#[derive(Debug, Clone)]
pub struct Module(pub(crate) Map<String, Value>);

impl Module {
    /// Creates an entry that runs `executable`.
    pub fn new(name: &str, executable: &Path) -> Self {
        let mut entry = Map::new();
        entry.insert("name".into(), name.into());
        entry.insert("type".into(), "local".into());
        entry.insert(
            "executable_path".into(),
            executable.to_str().expect("a path in UTF-8").into(),
        );
        Self(entry)
    }

    /// Creates an entry of the fixture without fault. Its responses carry its own name as nonce.
    pub fn fixture(name: &str) -> Self {
        Self::new(name, &bins::find("misbehave")).env("NONCE", name)
    }

    /// Creates an entry of the fixture with a fault of [`crate::fixture::Fault`].
    pub fn faulty(name: &str, fault: &str) -> Self {
        Self::fixture(name).env("FAULT", fault)
    }

    /// Creates an entry of the fixture with separate models: `tests:<name>:probe` and so on. See [`Resource::of`].
    pub fn family(name: &str) -> Self {
        Self::fixture(name).env("MODELS", name)
    }

    /// Arms a trap, a deed at a moment: once for all processes of the module if there is a marker file, otherwise in each.
    pub fn trap(self, deed: Deed, moment: Moment, marker: Option<&Path>) -> Self {
        let armed = self.env("TRAP", &format!("{deed}@{moment}"));
        match marker {
            Some(marker) => armed.env("TRAP_ONCE", marker.to_str().expect("a path in UTF-8")),
            None => armed,
        }
    }

    /// Creates an entry of a program in `tests/python/modules/`. Its start script is written when the world starts.
    pub fn python(name: &str, program: &str) -> Self {
        let mut module = Self::new(name, Path::new("")).env("NONCE", name);
        module.0.insert(
            "executable_path".into(),
            format!("{}{program}", crate::python::PLACEHOLDER).into(),
        );
        module
    }

    /// Adds a variable to the module's environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let env = self.0.entry("env").or_insert_with(|| json!({}));
        env[name] = value.into();
        self
    }

    /// Sets any other key.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.into(), value);
        self
    }

    /// Sets a key that is not set yet.
    pub fn set_if_unset(mut self, key: &str, value: Value) -> Self {
        self.0.entry(key).or_insert(value);
        self
    }
}

/// Entry of `components` or `services`.
#[derive(Debug, Clone)]
pub struct Resource(Map<String, Value>);

impl Resource {
    /// Creates an entry by API (`rdk:component:motor`) and model.
    pub fn new(name: &str, api: &str, model: &str) -> Self {
        let mut entry = Map::new();
        entry.insert("name".into(), name.into());
        entry.insert("api".into(), api.into());
        entry.insert("model".into(), model.into());
        Self(entry)
    }

    /// Creates a component of a standard API with the built-in model `fake`.
    pub fn fake(name: &str, subtype: &str) -> Self {
        Self::new(name, &format!("rdk:component:{subtype}"), "fake")
    }

    /// A sensor of the fixture.
    pub fn probe(name: &str) -> Self {
        Self::new(name, "rdk:component:sensor", crate::fixture::PROBE)
    }

    /// A resource of [`Module::family`]: a `probe`, an `echo` or a `generic`.
    pub fn of(family: &str, kind: &str, name: &str) -> Self {
        let api = match kind {
            "probe" => "rdk:component:sensor",
            "generic" => "rdk:component:generic",
            _ => crate::echo::API,
        };
        Self::new(name, api, &format!("tests:{family}:{kind}"))
    }

    /// Creates a resource of the tests' custom API, served by the fixture.
    pub fn echo(name: &str) -> Self {
        Self::new(name, crate::echo::API, crate::fixture::ECHO)
    }

    /// Creates a generic component of the fixture.
    pub fn generic(name: &str) -> Self {
        Self::new(name, "rdk:component:generic", crate::fixture::GENERIC)
    }

    /// Returns the entry as JSON.
    pub fn json(self) -> Value {
        Value::Object(self.0)
    }

    /// Sets `attributes`.
    pub fn attributes(self, attributes: Value) -> Self {
        self.set("attributes", attributes)
    }

    /// Sets `depends_on`.
    pub fn depends_on(self, names: &[&str]) -> Self {
        self.set("depends_on", json!(names))
    }

    /// Sets any other key.
    pub fn set(mut self, key: &str, value: Value) -> Self {
        self.0.insert(key.into(), value);
        self
    }
}
