//! Tests of a module's policy: the own optional keys of its entry.

use std::path::PathBuf;
use std::time::Duration;

use mainstay_model::{
    Build, Health, Limits, ModuleAccess, OnStuckCall, Output, Policy, Restart, RestartWhen, Sandbox, Seccomp, Stop,
    Watch,
};

use super::{check, good, lines, read};

/// The policy of a module with these keys, about which there is nothing to say.
fn policy(keys: &str) -> Policy {
    good(&format!("modules: [{{name: m, executable_path: /opt/m/run, {keys}}}]"))
        .config
        .modules
        .remove(0)
        .policy
}

/// Diagnostics of a module with these keys, without the file and the line. Columns count from the first key.
fn said(keys: &str) -> Vec<String> {
    let text = format!("modules: [{{name: m, executable_path: /opt/m/run,\n{keys}\n}}]");
    let lines = lines("r.yaml", &text);
    lines.into_iter().map(|line| line.replace("r.yaml:2:", "")).collect()
}

const MS: fn(u64) -> Duration = Duration::from_millis;

#[test]
fn a_module_without_any_of_these_keys_gets_the_defaults() {
    assert_eq!(policy("type: local"), Policy::default());
    assert_eq!(
        policy(
            "restart: {}, health: {}, stop: {}, limits: {}, sandbox: {}, watch: false, keep_moving: false, access: everything"
        ),
        Policy::default()
    );
}

#[test]
fn the_short_form_of_restart_is_its_policy() {
    for (word, when) in [
        ("always", RestartWhen::Always),
        ("on-failure", RestartWhen::OnFailure),
        ("never", RestartWhen::Never),
    ] {
        let short = policy(&format!("restart: {word}"));
        assert_eq!(
            short.restart,
            Restart {
                when,
                ..Restart::default()
            }
        );
        assert_eq!(short, policy(&format!("restart: {{policy: {word}}}")));
    }
}

#[test]
fn the_long_forms_take_every_key() {
    let read = policy(
        "restart: {policy: on-failure, first: 100ms, burst: 3, then: 1s, factor: 1.5, jitter: 0, max_delay: 1m30s, limit: 5, quiet: 2m}, \
         health: {interval: 1s, timeout: 500ms, kill_after: 1h, stuck_after: 90s, on_stuck_call: restart, start_timeout: 20s}, \
         stop: {drain: 0s, grace: 3s}, \
         limits: {memory: 200MB, cpu: 0.5, pids: 64, open_files: 256}, \
         sandbox: {no_new_privs: true, writable: [data, /var/tmp], hidden: ['~/.ssh'], seccomp: no-network, user: mod, group: dialout}, \
         output: {file: logs/m.log, max_size: 1MiB, keep: 7}, watch: [src, /lib/m.so], \
         reload: {build: make, directory: src, timeout: 5m}, keep_moving: true, access: {roles: [viewer, operator]}",
    );
    let wanted = Policy {
        restart: Restart {
            when: RestartWhen::OnFailure,
            first: MS(100),
            burst: 3,
            then: MS(1000),
            factor: 1.5,
            jitter: 0.0,
            max_delay: MS(90_000),
            limit: Some(5),
            quiet: MS(120_000),
        },
        health: Health {
            interval: MS(1000),
            timeout: MS(500),
            kill_after: MS(3_600_000),
            stuck_after: MS(90_000),
            on_stuck_call: OnStuckCall::Restart,
            start_timeout: Some(MS(20_000)),
        },
        stop: Stop {
            drain: Duration::ZERO,
            grace: MS(3000),
        },
        limits: Limits {
            memory: Some(200_000_000),
            cpu: Some(0.5),
            pids: Some(64),
            open_files: Some(256),
        },
        sandbox: Sandbox {
            no_new_privs: true,
            writable: Some(vec!["/etc/robot/data".into(), "/var/tmp".into()]),
            hidden: vec!["/home/ada/.ssh".into()],
            seccomp: Some(Seccomp::NoNetwork),
            user: Some("mod".to_owned()),
            group: Some("dialout".to_owned()),
        },
        output: Output {
            file: Some("/etc/robot/logs/m.log".into()),
            max_size: 1 << 20,
            keep: 7,
        },
        watch: Watch::Paths(vec!["/etc/robot/src".into(), "/lib/m.so".into()]),
        build: Some(Build {
            command: "make".to_owned(),
            directory: "/etc/robot/src".into(),
            timeout: MS(300_000),
        }),
        keep_moving: true,
        access: ModuleAccess::Roles(vec!["viewer".to_owned(), "operator".to_owned()]),
    };
    assert_eq!(read, wanted);
}

#[test]
fn a_role_of_a_module_that_nobody_defines_is_warned_about() {
    for (roles, wanted) in [
        ("viewer, owner", vec![]),
        ("night", vec![]),
        (
            "nihgt",
            vec!["Warning 18: there is no role `nihgt`, so it allows nothing (did you mean `night`?)"],
        ),
        (
            "veiwer",
            vec!["Warning 18: there is no role `veiwer`, so it allows nothing (did you mean `viewer`?)"],
        ),
        (
            "",
            vec!["Warning 17: `access.roles` names no role, so the module may call its own resources and little else"],
        ),
    ] {
        let text = format!(
            "modules: [{{name: m, executable_path: /opt/m/run,\naccess: {{roles: [{roles}]}}\n}}]\n\
             auth: {{handlers: [{{type: api-key, config: {{keys: [a], a: b}}}}], roles: {{owner: {{entities: [a]}}, night: {{allow: [{{resource: lamp}}]}}}}}}"
        );
        let said: Vec<_> = lines("r.yaml", &text)
            .into_iter()
            .map(|line| line.replace("r.yaml:2:", ""))
            .collect();
        assert_eq!(said, wanted, "{roles}");
    }
}

#[test]
fn roles_count_for_modules_where_nobody_else_is_asked() {
    let text = |access: &str| {
        format!(
            "modules: [{{name: m, executable_path: /opt/m/run, access: {access}}}]\nauth: {{roles: {{night: {{allow: [{{resource: lamp}}]}}}}}}"
        )
    };
    assert_eq!(lines("r.yaml", &text("{roles: [night]}")), [""; 0]);
    assert!(lines("r.yaml", &text("dependencies"))[0].contains("`roles` count for nothing"));
}

#[test]
fn json_means_the_same() {
    let text = r#"{"modules": [{"name": "m", "executable_path": "/opt/m/run", "restart": {"limit": "none", "then": "2s"},
        "health": {"kill_after": "1m"}, "limits": {"memory": 134217728}, "output": "m.log", "sandbox": {"seccomp": "default"}}]}"#;
    let loaded = read("r.json", text).expect("usable");
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(
        loaded.config.modules[0].policy,
        policy(
            "restart: {then: 2s}, health: {kill_after: 60s}, limits: {memory: 128MiB}, output: ./m.log, sandbox: {seccomp: default}"
        )
    );
}

#[test]
fn nothing_gains_rights_in_a_sandbox_unless_the_config_says_so_where_it_can() {
    for (sandbox, on) in [
        ("{}", false),
        ("{no_new_privs: true}", true),
        ("{no_new_privs: false}", false),
        ("{writable: []}", true),
        ("{hidden: [/secret]}", true),
        ("{seccomp: default}", true),
        ("{user: nobody}", true),
        ("{user: nobody, no_new_privs: false}", false),
    ] {
        assert_eq!(
            policy(&format!("sandbox: {sandbox}")).sandbox.no_new_privs,
            on,
            "{sandbox}"
        );
    }
    assert_eq!(
        policy("sandbox: {writable: []}").sandbox.writable,
        Some(Vec::<PathBuf>::new())
    );
}

#[test]
fn a_value_that_is_not_possible_costs_this_module_alone() {
    for (keys, wanted) in [
        (
            "restart: alwyas",
            "10: `restart` cannot be `alwyas` (did you mean `always`?)",
        ),
        (
            "restart: on_failure",
            "10: `restart` cannot be `on_failure` (did you mean `on-failure`?)",
        ),
        ("restart: no", "10: `restart` cannot be `no` (did you mean `never`?)"),
        (
            "restart: unless-stopped",
            "10: `restart` cannot be `unless-stopped` (did you mean `always`?)",
        ),
        (
            "restart: sometimes",
            "10: `restart` cannot be `sometimes` (it is `always`, `on-failure` or `never`)",
        ),
        (
            "restart: {policy: Never}",
            "19: `restart.policy` cannot be `Never` (did you mean `never`?)",
        ),
        (
            "restart: {first: soon}",
            "18: `restart.first`: invalid duration \"soon\" (write it like \"500ms\", \"2s\" or \"1m30s\")",
        ),
        (
            "restart: {first: '5'}",
            "18: `restart.first`: invalid duration \"5\" (write \"5s\" if seconds are meant)",
        ),
        (
            "restart: {first: -1s}",
            "18: `restart.first` must be between 0s and 24h",
        ),
        ("restart: {burst: 101}", "18: `restart.burst` must be between 0 and 100"),
        ("restart: {burst: 0.5}", "18: `restart.burst` must be a whole number"),
        ("restart: {then: 0s}", "17: `restart.then` must be between 10ms and 24h"),
        (
            "restart: {max_delay: 25h}",
            "22: `restart.max_delay` must be between 10ms and 24h",
        ),
        (
            "restart: {quiet: 0s}",
            "18: `restart.quiet` must be between 10ms and 24h",
        ),
        (
            "restart: {factor: 0.9}",
            "19: `restart.factor` must be between 1 and 100",
        ),
        (
            "restart: {factor: .inf}",
            "19: `restart.factor` must be between 1 and 100",
        ),
        (
            "restart: {factor: .nan}",
            "19: `restart.factor` must be between 1 and 100",
        ),
        (
            "restart: {jitter: 1.01}",
            "19: `restart.jitter` must be between 0 and 1",
        ),
        (
            "restart: {limit: 0}",
            "18: `restart.limit` must be at least 1 (write `restart: never` if it shall never be started again, `limit: none` to never give up)",
        ),
        ("restart: {limit: 2.5}", "18: `restart.limit` must be a whole number"),
        (
            "restart: {limit: -3}",
            "18: `restart.limit` must be between 1 and 1000000",
        ),
        (
            "health: {interval: 0s}",
            "20: `health.interval` must be between 10ms and 1h",
        ),
        (
            "health: {timeout: 2h}",
            "19: `health.timeout` must be between 10ms and 1h",
        ),
        (
            "health: {start_timeout: 0s}",
            "25: `health.start_timeout` must be between 10ms and 24h",
        ),
        (
            "health: {on_stuck_call: restrat}",
            "25: `health.on_stuck_call` cannot be `restrat` (did you mean `restart`?)",
        ),
        (
            "health: {on_stuck_call: kill}",
            "25: `health.on_stuck_call` cannot be `kill` (did you mean `restart`?)",
        ),
        (
            "health: {interval: 1m}",
            "20: `health.kill_after` (30s) is shorter than `interval` (1m) or `timeout` (2s): modules that are well would be killed (make it several times as long as both together)",
        ),
        ("stop: {drain: 61m}", "15: `stop.drain` must be between 0s and 1h"),
        ("stop: {grace: -1s}", "15: `stop.grace` must be between 0s and 1h"),
        (
            "limits: {memory: 200}",
            "18: `limits.memory` must be between 1MiB and 1024TiB",
        ),
        (
            "limits: {memory: 200M}",
            "18: `limits.memory`: \"200M\" does not say whether thousands or 1024s are meant (write 200MB or 200MiB)",
        ),
        (
            "limits: {memory: lots}",
            "18: `limits.memory`: invalid size \"lots\" (write it like 200MB or 128MiB)",
        ),
        (
            "limits: {memory: 1.5}",
            "18: `limits.memory` is no number of bytes (write it like 200MB or 128MiB)",
        ),
        ("limits: {cpu: 0}", "15: `limits.cpu` must be between 0.01 and 4096"),
        ("limits: {pids: 0}", "16: `limits.pids` must be between 1 and 4194304"),
        ("limits: {pids: 1.5}", "16: `limits.pids` must be a whole number"),
        (
            "limits: {open_files: 3}",
            "22: `limits.open_files` must be between 16 and 1048576",
        ),
        (
            "sandbox: {seccomp: no_netwrok}",
            "20: `sandbox.seccomp` cannot be `no_netwrok` (did you mean `no-network`?)",
        ),
        (
            "sandbox: {hidden: [/opt]}",
            "20: hiding `/opt` hides the program of the module itself (hide only what it does not need)",
        ),
        (
            "sandbox: {writable: ['']}",
            "22: an item of `sandbox.writable` is an empty path (relative paths start at the folder of the config: `.` is that folder)",
        ),
        (
            "sandbox: {no_new_privs: false, seccomp: default}",
            "25: `writable` and `seccomp` do not hold a module that can gain rights: `no_new_privs` must be on (leave it out)",
        ),
        (
            "sandbox: {user: 'a b'}",
            "17: `sandbox.user`: `a b` is no name of a user (write its name as `id` shows it, or its number in quotes)",
        ),
        (
            "sandbox: {group: ''}",
            "18: `sandbox.group`: `` is no name of a group (write its name as `id` shows it, or its number in quotes)",
        ),
        (
            "output: logs/",
            "9: `output` must be a file, but names a folder (put the name of a file behind it)",
        ),
        (
            "output: \"a\\0b\"",
            "9: `output`: the path holds a NUL character (remove it)",
        ),
        (
            "output: /opt/m/run",
            "9: `output` would overwrite the program of the module (name another file)",
        ),
        (
            "output: {keep: 2}",
            "9: Error validating, missing required field. Field: \"output.file\" (name the file, or leave `output` out)",
        ),
        (
            "output: {file: x, keep: 0}",
            "25: `output.keep` must be between 1 and 1000",
        ),
        (
            "watch: yes please",
            "8: `watch` must be true or false, or a list of paths, but is a text",
        ),
        (
            "watch: ['']",
            "9: an item of `watch` is an empty path (relative paths start at the folder of the config: `.` is that folder)",
        ),
        (
            "reload: {directory: x}",
            "9: Error validating, missing required field. Field: \"reload.build\" (write a command, like `cargo build`, or leave `reload` out)",
        ),
        (
            "reload: {build: make, timeout: 0s}",
            "32: `reload.timeout` must be between 10ms and 24h",
        ),
        (
            "output: {file: x, max_size: 1kB}",
            "29: `output.max_size` must be between 4KiB and 1024TiB",
        ),
    ] {
        assert_eq!(said(keys), [format!("Local {wanted}")], "{keys}");
    }
}

#[test]
fn a_fault_is_shown_at_the_module_and_its_neighbours_run() {
    let text = "modules:\n- {name: a, executable_path: /a, restart: nver, health: {interval: 0s}}\n- {name: b, executable_path: /b}\n";
    let loaded = read("r.yaml", text).expect("usable");
    assert_eq!(loaded.diagnostics.len(), 2, "{:?}", loaded.diagnostics);
    let [a, b] = &loaded.config.modules[..] else {
        panic!("two modules")
    };
    let wanted = "`restart` cannot be `nver`; did you mean `never`? (r.yaml:2:43)";
    assert_eq!((a.fault.as_deref(), b.fault.as_ref()), (Some(wanted), None));
}

#[test]
fn a_wrong_type_costs_its_module_alone() {
    for (keys, wanted) in [
        (
            "restart: false",
            "10: `restart` must be a word or a map of keys and values, but is true or false (write `never`)",
        ),
        (
            "restart: 3",
            "10: `restart` must be a word or a map of keys and values, but is a number (it is `always`, `on-failure` or `never`)",
        ),
        (
            "restart: {first: 5}",
            "18: `restart.first` must be a duration, but is a number (write \"5s\" if seconds are meant)",
        ),
        (
            "restart: {first: -5}",
            "18: `restart.first` must be a duration, but is a number (write it like \"500ms\", \"2s\" or \"1m30s\")",
        ),
        (
            "restart: {factor: '2'}",
            "19: `restart.factor` must be a number, but is a text (write it without quotes)",
        ),
        (
            "restart: {limit: some}",
            "18: `restart.limit` must be a number, but is a text (or `none`)",
        ),
        (
            "restart: {limit: '3'}",
            "18: `restart.limit` must be a number, but is a text (write it without quotes)",
        ),
        (
            "health: on",
            "9: `health` must be a map of keys and values, but is a text",
        ),
        ("stop: 3s", "7: `stop` must be a map of keys and values, but is a text"),
        (
            "limits: {memory: [1]}",
            "18: `limits.memory` must be a size, but is a list (write it like 200MB or 128MiB)",
        ),
        ("limits: {cpu: 50%}", "15: `limits.cpu` must be a number, but is a text"),
        (
            "sandbox: {hidden: /x}",
            "19: `sandbox.hidden` must be a list, but is a text (put it between [ and ])",
        ),
        (
            "sandbox: {user: 1000}",
            "17: `sandbox.user` must be a text, but is a number (write \"1000\" in quotes)",
        ),
        (
            "output: 3",
            "9: `output` must be a path or a map of keys and values, but is a number",
        ),
        (
            "output: {file: 3}",
            "16: `output.file` must be a text, but is a number (write \"3\" in quotes)",
        ),
        (
            "watch: yes",
            "8: `watch` must be true or false, or a list of paths, but is a text (write true)",
        ),
        (
            "keep_moving: 1",
            "14: `keep_moving` must be true or false, but is a number",
        ),
        (
            "access: [viewer]",
            "9: `access` must be a word or a map of keys and values, but is a list (it is `everything` or `dependencies`, or {roles: [viewer]})",
        ),
        (
            "access: {}",
            "9: `access` as a map must have `roles` (write {roles: [viewer]})",
        ),
        (
            "access: dependancies",
            "9: `access` cannot be `dependancies` (did you mean `dependencies`?)",
        ),
    ] {
        assert_eq!(said(keys), [format!("Local {wanted}")], "{keys}");
    }
}

#[test]
fn unknown_keys_inside_are_named_with_the_one_that_was_meant() {
    for (keys, wanted) in [
        (
            "restart: {max_dealy: 3s}",
            "11: `restart` has no key `max_dealy`; it has no effect (did you mean `max_delay`?)",
        ),
        (
            "health: {killAfter: 3m}",
            "10: `health` has no key `killAfter`; it has no effect (did you mean `kill_after`?)",
        ),
        (
            "stop: {gracee: 3s}",
            "8: `stop` has no key `gracee`; it has no effect (did you mean `grace`?)",
        ),
        (
            "limits: {openfiles: 64}",
            "10: `limits` has no key `openfiles`; it has no effect (did you mean `open_files`?)",
        ),
        (
            "sandbox: {sekcomp: default}",
            "11: `sandbox` has no key `sekcomp`; it has no effect (did you mean `seccomp`?)",
        ),
        (
            "output: {file: x, keeep: 3}",
            "19: `output` has no key `keeep`; it has no effect (did you mean `keep`?)",
        ),
        (
            "restrat: never",
            "1: a module has no key `restrat`; it has no effect (did you mean `restart`?)",
        ),
        (
            "keepmoving: true",
            "1: a module has no key `keepmoving`; it has no effect (did you mean `keep_moving`?)",
        ),
        (
            "restart: {then: 2s, max_delay: 1s}",
            "17: `restart.then` is longer than `restart.max_delay`, which counts",
        ),
        (
            "restart: {burst: 4, limit: 4}",
            "18: `restart.burst` is never used up, because `restart.limit` ends the tries before",
        ),
    ] {
        assert_eq!(said(keys), [format!("Warning {wanted}")], "{keys}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let text = "modules: [{name: m, executable_path: /m, restart: {policy: x, factor: 0}, health: {interval: 1}, limits: {cpu: -1, memory: 2}}]";
    check(
        "r.yaml",
        &[(
            text,
            &[
                "Local r.yaml:1:60: `restart.policy` cannot be `x` (it is `always`, `on-failure` or `never`)",
                "Local r.yaml:1:71: `restart.factor` must be between 1 and 100",
                "Local r.yaml:1:94: `health.interval` must be a duration, but is a number (write \"1s\" if seconds are meant)",
                "Local r.yaml:1:112: `limits.cpu` must be between 0.01 and 4096",
                "Local r.yaml:1:124: `limits.memory` must be between 1MiB and 1024TiB",
            ],
        )],
    );
}

#[test]
fn two_modules_never_write_one_file() {
    check(
        "r.yaml",
        &[(
            "modules:\n- {name: a, executable_path: /a, output: x.log}\n- {name: b, executable_path: /b, output: {file: ./x.log}}\n",
            &["Local r.yaml:3:10: module `b` writes its output to the file of `a` (give each its own file)"],
        )],
    );
}
