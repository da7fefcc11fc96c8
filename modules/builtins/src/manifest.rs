//! Manifest of the built-in modules for the core, generated from the models that each module registers.

use serde_json::{Value, json};

use crate::Builtin;

/// JSON document `{"modules":[{"name":"fake","models":[{"api":"rdk:component:motor","model":"rdk:builtin:fake"}, …]}, …]}`
pub(crate) fn of(builtins: &[Builtin]) -> Value {
    let modules: Vec<Value> = builtins
        .iter()
        .map(|builtin| {
            let module = (builtin.make)();
            let models: Vec<Value> = module
                .models()
                .map(|(api, model)| json!({ "api": api.to_string(), "model": model.to_string() }))
                .collect();
            json!({ "name": builtin.name, "models": models })
        })
        .collect();
    json!({ "modules": modules })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BUILTINS;

    #[test]
    fn the_manifest_names_every_fake_under_its_api() {
        let manifest = of(BUILTINS);
        let fake = &manifest["modules"][0];
        assert_eq!(fake["name"], "fake");
        let models = fake["models"].as_array().unwrap();
        let has = |api: &str| models.contains(&json!({ "api": api, "model": "rdk:builtin:fake" }));
        let components = [
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
            "power_sensor",
            "sensor",
            "servo",
            "switch",
        ];
        for api in components {
            assert!(has(&format!("rdk:component:{api}")), "{api}: {manifest}");
        }
        let services = [
            "discovery",
            "generic",
            "mlmodel",
            "slam",
            "video",
            "vision",
            "world_state_store",
        ];
        for api in services {
            assert!(has(&format!("rdk:service:{api}")), "{api}: {manifest}");
        }
        // And one that is no fake: the simulated arm.
        assert_eq!(models.len(), components.len() + services.len() + 1, "{manifest}");
    }
}
