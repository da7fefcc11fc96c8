//! Name by which others find a machine on the local network, where its config has none.

use std::path::Path;

/// Longest name, in bytes: a label of DNS.
const MAX: usize = 63;
/// Word that no name has: clients on Viam's Rust core read a name up to it, and would take any machine for the one that is meant.
const READ_UP_TO: &str = "viam";

/// Name of a machine on its network: its `fqdn`, else the name of its config file and that of its host, `rover-pi`. Empty if
/// there is nothing to make one of.
#[must_use]
pub fn network_name(fqdn: &str, config: &Path, host: &str) -> String {
    if !fqdn.is_empty() {
        return fqdn.trim_end_matches('.').to_owned();
    }
    let stem = label(&config.file_stem().unwrap_or_default().to_string_lossy());
    let host = label(host.split('.').next().unwrap_or_default());
    let parts = match stem == host {
        true => vec![stem],
        false => vec![stem, host],
    };
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    let mut name = parts.join("-");
    name.truncate(MAX);
    name.trim_end_matches('-').to_owned()
}

/// What of a text can stand in a label: letters, digits and single dashes, in lower case.
fn label(text: &str) -> String {
    let plain: String = text
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let plain = plain.replace(READ_UP_TO, "-");
    let words: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).collect();
    words.join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_config_and_the_host() {
        let long = "x".repeat(80);
        for (fqdn, config, host, name) in [
            ("", "/etc/rover.yaml", "pi", "rover-pi"),
            ("", "rover.yaml", "pi.lan", "rover-pi"),
            ("", "rover.yaml", "rover", "rover"),
            ("", "My Rover_2.json", "PI", "my-rover-2-pi"),
            ("", "/etc/viam.json", "pi", "pi"),
            ("", "my-viam-rover.yaml", "viam-pi", "my-rover-pi"),
            ("", "-", "pi", "pi"),
            ("", "größe.yaml", "pi", "gr-e-pi"),
            ("", "viam.json", "", ""),
            ("", &long, "pi", &long[..63]),
            ("rover.example.com", "a.yaml", "pi", "rover.example.com"),
            ("rover.local.", "a.yaml", "pi", "rover.local"),
        ] {
            assert_eq!(
                network_name(fqdn, Path::new(config), host),
                name,
                "{fqdn} {config} {host}"
            );
        }
    }
}
