//! Method names as people write them: `set_power` as in the SDKs, `SetPower` as on the wire.

use mainstay_model::suggest::nearest;
use prost_reflect::{MethodDescriptor, ServiceDescriptor};

use crate::failure::CliError;

/// Finds the method that is meant: case and underscores do not matter, nor does a `get_` that only one side has.
///
/// # Errors
/// The service has no such method; the message lists those it has, the nearest first.
pub fn find(service: &ServiceDescriptor, wanted: &str) -> Result<MethodDescriptor, CliError> {
    let methods: Vec<MethodDescriptor> = service.methods().collect();
    let names: Vec<&str> = methods.iter().map(MethodDescriptor::name).collect();
    match position(&names, wanted) {
        Some(index) => Ok(methods[index].clone()),
        None => Err(CliError::usage(unknown(service.full_name(), &names, wanted))),
    }
}

/// True when both name the same method.
pub fn same(a: &str, b: &str) -> bool {
    key(a) == key(b)
}

fn position(names: &[&str], wanted: &str) -> Option<usize> {
    let wanted = key(wanted);
    let exact = names.iter().position(|name| key(name) == wanted);
    // Some SDKs say `readings` or `get_is_moving` where the wire says `GetReadings` and `IsMoving`.
    let bare = |name: &str| name.strip_prefix("get").unwrap_or(name).to_owned();
    exact.or_else(|| names.iter().position(|name| bare(&key(name)) == bare(&wanted)))
}

fn key(name: &str) -> String {
    name.chars()
        .filter(|c| *c != '_' && *c != '-')
        .flat_map(char::to_lowercase)
        .collect()
}

/// The name as an SDK for Python or Rust spells it: `SetRPM` is `set_rpm`, `GetGPIOPin` is `get_gpio_pin`.
pub fn snake_case(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|at| letters[at]);
        let starts_word = letter.is_uppercase()
            && before.is_some_and(|before| {
                // `tR` begins a word, and so does the `P` of `OPi`.
                !before.is_uppercase() || letters.get(index + 1).is_some_and(|after| after.is_lowercase())
            });
        if starts_word && before != Some('_') {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

fn unknown(service: &str, names: &[&str], wanted: &str) -> String {
    let snake: Vec<String> = names.iter().map(|name| snake_case(name)).collect();
    let hint = match nearest(&snake_case(wanted), snake.iter().map(String::as_str)) {
        None => String::new(),
        Some(near) => format!("did you mean `{near}`? "),
    };
    format!("{service} has no method `{wanted}`; {hint}It has: {}", snake.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOTOR: [&str; 6] = [
        "SetPower",
        "SetRPM",
        "GetPosition",
        "IsMoving",
        "GetStatus",
        "DoCommand",
    ];

    #[test]
    fn a_method_is_found_in_every_spelling() {
        let cases = [
            ("set_power", Some("SetPower")),
            ("SetPower", Some("SetPower")),
            ("setPower", Some("SetPower")),
            ("set-power", Some("SetPower")),
            ("set_rpm", Some("SetRPM")),
            ("position", Some("GetPosition")),
            ("get_is_moving", Some("IsMoving")),
            ("power", None),
            ("", None),
        ];
        for (wanted, found) in cases {
            assert_eq!(position(&MOTOR, wanted).map(|index| MOTOR[index]), found, "{wanted}");
        }
    }

    #[test]
    fn an_exact_match_goes_before_one_without_get() {
        let names = ["GetStatus", "Status"];
        assert_eq!(position(&names, "status"), Some(1));
        assert_eq!(position(&names, "get_status"), Some(0));
    }

    #[test]
    fn wire_names_turn_into_sdk_names() {
        let cases = [
            ("SetPower", "set_power"),
            ("SetRPM", "set_rpm"),
            ("GetGPIO", "get_gpio"),
            ("PWMFrequency", "pwm_frequency"),
            ("GetPointCloud", "get_point_cloud"),
            ("DoCommand", "do_command"),
            ("Move_It", "move_it"),
            ("Get3DModels", "get3_d_models"),
        ];
        for (wire, sdk) in cases {
            assert_eq!(snake_case(wire), sdk);
        }
    }

    #[test]
    fn an_unknown_method_names_the_nearest_and_all() {
        let message = unknown("viam.component.motor.v1.MotorService", &MOTOR, "set_powr");
        assert_eq!(
            message,
            "viam.component.motor.v1.MotorService has no method `set_powr`; did you mean `set_power`? \
             It has: set_power, set_rpm, get_position, is_moving, get_status, do_command"
        );
    }
}
