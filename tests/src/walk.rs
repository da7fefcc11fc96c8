//! Random walk through configs: each differs a little from the one before, many have mistakes, some are invalid as a
//! whole. All contain the motor [`MOTOR`] and the sensor [`SENSOR`] with its module.

use serde_json::{Value, json};

use crate::dice::Dice;
use crate::machine::{Machine, Module, Resource};

/// Name of a built-in motor that no step changes.
pub const MOTOR: &str = "still";
/// Name of a sensor, in its own module, that no step changes.
pub const SENSOR: &str = "rock-probe";
/// Name of the module of [`SENSOR`].
pub const ROCK: &str = "rock";

/// Names of resources that come and go.
const NAMES: [&str; 8] = ["ant", "bee", "cat", "dog", "eel", "fox", "gnu", "hen"];
/// Names of modules that come and go.
const FAMILIES: [&str; 3] = ["red", "green", "blue"];

/// Next content of the config file.
#[derive(Debug, Clone)]
pub enum Step {
    /// Valid config, though single entries may be invalid.
    Config {
        /// `revision` of the config.
        revision: String,
        /// Text of the config.
        text: String,
    },
    /// Invalid config, which must change nothing.
    Broken(String),
}

/// State of the walk.
#[derive(Debug, Clone)]
pub struct Walk {
    dice: Dice,
    /// Modules, each with a number that goes into its environment.
    modules: Vec<(&'static str, usize)>,
    resources: Vec<(String, Resource)>,
    loud: bool,
    steps: usize,
    broken: bool,
}

impl Walk {
    /// Creates a walk from a seed.
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            modules: vec![("red", 0)],
            resources: Vec::new(),
            loud: false,
            steps: 0,
            broken: false,
        }
    }

    /// Takes the next step. An invalid config always follows a valid one.
    pub fn step(&mut self) -> Step {
        self.steps += 1;
        let text = if !self.broken && self.steps > 1 && self.dice.once_in(6) {
            self.broken = true;
            return Step::Broken(self.unusable());
        } else {
            self.broken = false;
            for _ in 0..=self.dice.roll(3) {
                self.change();
            }
            self.text()
        };
        Step::Config {
            revision: self.revision(),
            text,
        }
    }

    fn revision(&self) -> String {
        format!("step {}", self.steps)
    }

    fn change(&mut self) {
        match self.dice.roll(12) {
            0..=3 => self.put(),
            4 | 5 if !self.resources.is_empty() => {
                let place = self.dice.roll(self.resources.len());
                self.resources.remove(place);
            }
            6 if self.resources.len() > 1 => {
                let (one, other) = (
                    self.dice.roll(self.resources.len()),
                    self.dice.roll(self.resources.len()),
                );
                self.resources.swap(one, other);
            }
            7 if !self.resources.is_empty() => {
                // The first counts, whoever that is.
                let twin = self.dice.pick(&self.resources).clone();
                if self.resources.len() < 12 {
                    self.resources.push(twin);
                }
            }
            8 => {
                let name = *self.dice.pick(&FAMILIES);
                match self.modules.iter().position(|(module, _)| *module == name) {
                    Some(place) => drop(self.modules.remove(place)),
                    None => self.modules.push((name, 0)),
                }
            }
            9 if !self.modules.is_empty() => {
                let place = self.dice.roll(self.modules.len());
                self.modules[place].1 += 1;
            }
            10 if self.modules.len() > 1 => self.modules.rotate_left(1),
            11 => self.loud = !self.loud,
            _ => self.put(),
        }
    }

    /// Adds a resource, or replaces the one of its name.
    fn put(&mut self) {
        let name = *self.dice.pick(&NAMES);
        let resource = self.resource(name);
        match self.resources.iter_mut().find(|(taken, _)| taken == name) {
            Some((_, old)) => *old = resource,
            None => self.resources.push((name.to_owned(), resource)),
        }
    }

    fn resource(&mut self, name: &str) -> Resource {
        let family = *self.dice.pick(&FAMILIES);
        let others: Vec<&str> = (0..self.dice.roll(3)).map(|_| *self.dice.pick(&NAMES)).collect();
        let mut resource = match self.dice.roll(8) {
            0 => Resource::fake(name, "motor").depends_on(&others),
            1 => Resource::fake(name, "sensor").depends_on(&others),
            2 => Resource::new(name, "rdk:component:motor", "acme:drive:none"),
            kind @ 3..=7 => {
                let kind = if kind < 6 { "generic" } else { "probe" };
                let mut attributes = json!({ "turn": self.dice.roll(3) });
                if !others.is_empty() {
                    attributes[*self.dice.pick(&["needs", "wants"])] = json!(others);
                }
                if self.dice.once_in(10) {
                    attributes["fault"] = "validate-error".into();
                }
                Resource::of(family, kind, name).attributes(attributes)
            }
            _ => unreachable!("eight sides"),
        };
        if self.dice.once_in(4) {
            let x = self.dice.roll(100);
            resource = resource.set(
                "frame",
                json!({ "parent": "world", "translation": { "x": x, "y": 0, "z": 0 } }),
            );
        }
        if self.dice.once_in(4) {
            resource = resource.set("log_configuration", json!({ "level": "debug" }));
        }
        resource
    }

    fn text(&mut self) -> String {
        let mut machine = Machine::new()
            .set("revision", self.revision().into())
            .module(Module::family(ROCK));
        for (name, salt) in &self.modules {
            machine = machine.module(Module::family(name).env("SALT", &salt.to_string()));
        }
        machine = machine
            .resource(Resource::fake(MOTOR, "motor"))
            .resource(Resource::of(ROCK, "probe", SENSOR));
        for (_, resource) in &self.resources {
            machine = machine.resource(resource.clone());
        }
        if self.loud {
            machine = machine.set("log", json!([{ "pattern": "rdk.nobody.*", "level": "debug" }]));
        }
        match self.dice.roll(2) {
            0 => machine.json().to_string(),
            _ => serde_json::to_string_pretty(machine.json()).expect("a config"),
        }
    }

    /// Returns the last text with a change that makes it invalid as a whole.
    fn unusable(&mut self) -> String {
        let whole = self.clone().text();
        match self.dice.roll(5) {
            0 => String::new(),
            1 => whole[..whole.len() - 2].to_owned(),
            2 => json!({ "components": 7 }).to_string(),
            3 => json!({ "network": { "bind_address": "no port" } }).to_string(),
            _ => {
                json!({ "components": [{ "name": "ant", "api": "motor", "model": "fake" }], "network": 7 }).to_string()
            }
        }
    }

    /// Returns the variable `SALT` of each module of the last config.
    pub fn salts(&self) -> impl Iterator<Item = (&'static str, Value)> {
        self.modules.iter().map(|(name, salt)| (*name, salt.to_string().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_the_same_for_the_same_seed_and_leads_somewhere() {
        let texts = |seed| {
            let mut walk = Walk::new(seed);
            (0..50).map(|_| format!("{:?}", walk.step())).collect::<Vec<_>>()
        };
        assert_eq!(texts(1), texts(1));
        assert_ne!(texts(1), texts(2));
        let broken = texts(1).iter().filter(|step| step.starts_with("Broken")).count();
        assert!((1..=25).contains(&broken), "{broken}");
    }
}
