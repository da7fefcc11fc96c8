//! Somebody installed, upgraded and removed the Debian package: its scripts, run with a root of their own and with commands that
//! only write down how they were called.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use mainstay_tests::place::{Finished, Place, finish};

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging")
}

/// Host without our package, on which systemd runs.
struct Host {
    place: Place,
}

impl Host {
    fn new() -> Self {
        let host = Self { place: Place::new() };
        for folder in ["root/etc", "root/run/systemd/system", "commands"] {
            fs::create_dir_all(host.place.file(folder)).expect("a folder of ours");
        }
        for command in [
            "adduser",
            "systemctl",
            "deb-systemd-helper",
            "deb-systemd-invoke",
            "runuser",
        ] {
            host.command(command, "exit 0");
        }
        // No user `mainstay` yet, and of the groups those of a Raspberry Pi without SPI.
        host.command(
            "getent",
            "case \"$2\" in gpio | i2c | dialout | video) exit 0 ;; esac\nexit 2",
        );
        host.command("chgrp", "exit 0");
        host.command("install", "mkdir -p \"${!#}\"");
        host
    }

    /// Replaces a command by one that writes down its call and does `body`.
    fn command(&self, name: &str, body: &str) {
        let path = self.place.file("commands").join(name);
        let calls = self.place.file("calls");
        let text = format!("#!/bin/bash\necho \"{name} $*\" >>'{}'\n{body}\n", calls.display());
        fs::write(&path, text).expect("a folder of ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
    }

    fn config(&self) -> PathBuf {
        self.place.file("root/etc/mainstay/machine.yaml")
    }

    fn write_config(&self) {
        fs::create_dir_all(self.place.file("root/etc/mainstay")).expect("a folder of ours");
        fs::write(self.config(), "components: []\n").expect("a folder of ours");
    }

    /// Runs a script of the package as dpkg does, and returns its output and the calls that it made.
    async fn script(&self, name: &str, arguments: &[&str]) -> (Finished, String) {
        let calls = self.place.file("calls");
        let _none = fs::remove_file(&calls);
        let path = format!("{}:/usr/bin:/bin", self.place.file("commands").display());
        let mut command = self.place.command(&packaging().join("deb").join(name));
        command
            .args(arguments)
            .env("PATH", path)
            .env("DPKG_ROOT", self.place.file("root"));
        let finished = finish(command).await;
        assert_eq!((finished.code, &*finished.stderr), (0, ""), "{name}: {finished:?}");
        (finished, fs::read_to_string(calls).unwrap_or_default())
    }
}

#[tokio::test]
async fn a_first_install_makes_the_user_with_the_groups_that_exist_and_starts_nothing_without_a_config() {
    let host = Host::new();
    let (said, calls) = host.script("postinst", &["configure", ""]).await;
    assert!(calls.contains("adduser --system --group "), "{calls}");
    for (group, there) in [
        ("gpio", true),
        ("i2c", true),
        ("dialout", true),
        ("video", true),
        ("spi", false),
    ] {
        let added = calls.contains(&format!("adduser --quiet mainstay {group}\n"));
        assert_eq!(added, there, "{group}: {calls}");
    }
    assert!(calls.contains("deb-systemd-helper enable mainstay.service"), "{calls}");
    assert!(!calls.contains("deb-systemd-invoke"), "{calls}");
    assert!(said.stdout.contains("write /etc/mainstay/machine.yaml"), "{said:?}");
}

#[tokio::test]
async fn with_a_config_it_is_started_and_the_config_is_closed_to_others() {
    let host = Host::new();
    host.write_config();
    let (_, calls) = host.script("postinst", &["configure", ""]).await;
    assert!(calls.contains("deb-systemd-invoke start mainstay.service"), "{calls}");
    assert!(calls.contains("chgrp mainstay "), "{calls}");
    let mode = fs::metadata(host.config()).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn an_upgrade_lets_the_machine_run_until_the_new_version_can_take_over_and_says_how_long_it_was_away() {
    let host = Host::new();
    host.write_config();
    let (said, calls) = host.script("prerm", &["upgrade", "0.2.0"]).await;
    assert_eq!((&*said.stdout, &*calls), ("", ""), "nothing is stopped");
    host.command("deb-systemd-invoke", "sleep 0.3");
    let (said, calls) = host.script("postinst", &["configure", "0.1.0"]).await;
    assert!(calls.contains("deb-systemd-invoke restart mainstay.service"), "{calls}");
    let away = said
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("mainstay: the machine was away for "));
    let away = away.and_then(|away| away.strip_suffix(" ms")?.parse::<u32>().ok());
    assert!(away.is_some_and(|away| away >= 300), "{said:?}");
}

#[tokio::test]
async fn an_upgrade_that_refuses_the_config_or_is_asked_to_keep_the_machine_running_restarts_nothing() {
    let host = Host::new();
    host.write_config();
    host.command("runuser", "echo 'error: no such key'\nexit 1");
    let (said, calls) = host.script("postinst", &["configure", "0.1.0"]).await;
    assert!(!calls.contains("deb-systemd-invoke"), "{calls}");
    for needed in [
        "error: no such key",
        "the machine runs on as it is",
        "systemctl restart mainstay",
    ] {
        assert!(said.stdout.contains(needed), "{said:?}");
    }

    host.command("runuser", "exit 0");
    fs::write(host.place.file("root/etc/mainstay/keep-running"), "").expect("a folder of ours");
    let (said, calls) = host.script("postinst", &["configure", "0.1.0"]).await;
    assert!(!calls.contains("deb-systemd-invoke"), "{calls}");
    assert!(said.stdout.contains("the machine runs on as it is"), "{said:?}");

    // One that its owner stopped stays stopped.
    fs::remove_file(host.place.file("root/etc/mainstay/keep-running")).expect("it is there");
    host.command("systemctl", "case \"$*\" in *is-active*) exit 3 ;; esac");
    let (_, calls) = host.script("postinst", &["configure", "0.1.0"]).await;
    assert!(!calls.contains("deb-systemd-invoke"), "{calls}");
}

#[tokio::test]
async fn a_removal_stops_the_machine_and_a_purge_keeps_what_is_its_owners() {
    let host = Host::new();
    host.write_config();
    let empty = host.place.file("root/var/lib/mainstay");
    fs::create_dir_all(&empty).expect("a folder of ours");
    let (_, calls) = host.script("prerm", &["remove"]).await;
    assert_eq!(calls, "deb-systemd-invoke stop mainstay.service\n");
    let (_, calls) = host.script("postrm", &["remove"]).await;
    assert!(calls.contains("deb-systemd-helper mask mainstay.service"), "{calls}");
    let (said, _) = host.script("postrm", &["purge"]).await;
    assert_eq!(
        said.stdout,
        "mainstay: /etc/mainstay is kept, because it is not empty\n"
    );
    assert!(host.config().exists() && !empty.exists());
}

#[test]
fn the_unit_is_exposed_as_little_as_the_page_about_it_says() {
    let unit = packaging().join("mainstay.service");
    let analyzed = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=40"])
        .arg(&unit)
        .output();
    match analyzed {
        Err(error) => eprintln!("SKIPPED: there is no systemd-analyze: {error}"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "above 4:\n{said}");
        }
    }
    let page = packaging().with_file_name("docs/service.md");
    let page = fs::read_to_string(page).expect("the page is there");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    // What hardens a service and is not in the unit has its reason on the page.
    for open in [
        "PrivateNetwork",
        "IPAddressDeny",
        "PrivateDevices",
        "DeviceAllow",
        "ProtectClock",
        "PrivateUsers",
        "ProtectControlGroups",
        "ProtectKernelTunables",
        "MemoryDenyWriteExecute",
        "RestrictRealtime",
        "ProcSubset",
    ] {
        assert!(
            !unit.contains(&format!("\n{open}=")),
            "{open} is in the unit, so it is no exception"
        );
        assert!(
            page.contains(&format!("`{open}")),
            "docs/service.md gives no reason for {open}"
        );
    }
}
