//! Tests of names that nothing has, and circles, as far as a config alone shows them; duplicates of the smaller sections.

use super::{check, lines, read};

#[test]
fn dependencies_on_nothing_and_circles_are_named_with_their_places() {
    check(
        "r.yaml",
        &[
            (
                "components:\n- {name: arm-1, type: arm, model: fake, depends_on: [motr]}\n- {name: motor, type: motor, model: fake}\n",
                &["Local r.yaml:2:54: `arm-1` depends on `motr`, but nothing in this config has that name (did you mean `motor`?)"],
            ),
            (
                "components: [{name: a, type: arm, model: fake, depends_on: ['rdk:component:motor/zzzz']}]",
                &["Local r.yaml:1:61: `a` depends on `rdk:component:motor/zzzz`, but nothing in this config has that name (add it, or remove the dependency)"],
            ),
            (
                "components:\n- {name: a, type: arm, model: fake, depends_on: [x]}\n- {name: x, type: motor, model: fake}\n- {name: x, type: base, model: fake}\n",
                &["Local r.yaml:2:50: `a` depends on `x`, which could mean rdk:component:base/x or rdk:component:motor/x (give the full name)"],
            ),
            (
                "components: [{name: a, type: arm, model: fake, depends_on: [a]}]",
                &["Local r.yaml:1:61: node cannot depend on itself: \"rdk:component:arm/a\" (remove it)"],
            ),
            (
                "components:\n- {name: a, type: arm, model: fake, depends_on: [b]}\n- {name: b, type: arm, model: fake, depends_on: [c]}\n- {name: c, type: arm, model: fake, depends_on: [a]}\n",
                &["Local r.yaml:2:50: circular dependency: a → b → c → a (remove one of them; the others are at r.yaml:3:50, r.yaml:4:50)"],
            ),
            // A remote may have it, and the frame system is always there.
            (
                "remotes: [{name: r, address: 'a:1'}]\ncomponents: [{name: a, type: arm, model: fake, depends_on: [far, '$framesystem']}]".replace('$', "$$").leak(),
                &[],
            ),
        ],
    );
    let text = "components: [{name: a, type: arm, model: fake, depends_on: [nothing]}]";
    // The machine says so itself when it comes to it, with what modules add.
    assert_eq!(read("r.yaml", text).expect("usable").config.resources[0].fault, None);
}

#[test]
fn duplicates_of_jobs_packages_and_remotes_name_both_places() {
    let text = "jobs:\n- {name: j, schedule: 1s, resource: a, method: m}\n- {name: j, schedule: 2s, resource: a, method: m}\n\
                packages:\n- {name: p, package: o/p, type: module}\n- {name: p, package: o/q, type: module}\n\
                remotes:\n- {name: r, address: 'a:1'}\n- {name: r, address: 'b:1'}\n";
    check(
        "r.yaml",
        &[(
            text,
            &[
                "Local r.yaml:3:10: Duplicate job j in robot config (the first is at r.yaml:2:10 and counts; rename or remove one)",
                "Local r.yaml:6:10: Duplicate package p in robot config (the first is at r.yaml:5:10 and counts; rename or remove one)",
                "Local r.yaml:9:10: Duplicate remote r in robot config (the first is at r.yaml:8:10 and counts; rename or remove one)",
            ],
        )],
    );
    let config = read("r.yaml", text).expect("usable").config;
    assert_eq!(
        config.jobs.iter().map(|job| job.fault.is_some()).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(
        config
            .remotes
            .iter()
            .map(|remote| remote.fault.is_some())
            .collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn a_machine_has_one_data_manager_and_the_second_names_both_places() {
    let text = "services:\n- {name: '', type: data_manager}\n- {name: a, type: data_manager}\n\
                - {name: b, api: 'rdk:service:data_manager', model: 'x:y:z'}\n- {name: c, type: generic, model: fake}\n";
    let lines = lines("r.yaml", text);
    assert_eq!(
        lines[1..],
        [
            "Local r.yaml:4:10: max instance number reached for resource type: rdk:service:data_manager (the first is at r.yaml:3:10 and counts; remove one)"
        ],
        "a broken one does not count: {lines:#?}"
    );
    let config = read("r.yaml", text).expect("usable").config;
    let faults: Vec<_> = config
        .resources
        .iter()
        .map(|resource| resource.fault.as_deref())
        .collect();
    assert_eq!((faults[1], faults[3]), (None, None));
    assert_eq!(
        faults[2],
        Some(
            "resource build error: max instance number reached for resource type: rdk:service:data_manager; the first is at \
             r.yaml:3:10, this one at r.yaml:4:10: remove one"
        )
    );
}

#[test]
fn what_a_job_calls_is_looked_for_among_the_entries() {
    let with = |job: &str, more: &str| {
        format!(
            "components:\n- {{name: left, type: motor, model: fake}}\n- {{name: eye, type: camera, model: fake}}\n\
             - {{name: eye, type: sensor, model: fake}}\n- {{name: odd, api: 'a:component:c', model: 'a:b:c'}}\n\
             jobs:\n- {{name: j, schedule: 1s, {job}}}\n{more}"
        )
    };
    let remote = "remotes: [{name: r, address: 'r:1'}]";
    for (job, more, said) in [
        ("resource: left, method: Stop", "", &[][..]),
        ("resource: left, method: DoCommand", "", &[]),
        ("resource: odd, method: Anything", "", &[]),
        (
            "resource: lfet, method: Stop",
            "",
            &["Local r.yaml:7:37: could not find the resource for name lfet (did you mean `left`?)"],
        ),
        (
            "resource: 'rdk:component:motor/left', method: Stop",
            "",
            &[
                "Local r.yaml:7:37: could not find the resource for name rdk:component:motor/left (did you mean `left`?)",
            ],
        ),
        (
            "resource: gripper, method: Open",
            "",
            &[
                "Local r.yaml:7:37: could not find the resource for name gripper (nothing in this config has that name: add it, or remove the job)",
            ],
        ),
        ("resource: gripper, method: Open", remote, &[]),
        (
            "resource: eye, method: GetReadings",
            remote,
            &[
                "Local r.yaml:7:37: found duplicate entries for name eye: rdk:component:camera/eye and rdk:component:sensor/eye (a job takes a simple name: rename one of them)",
            ],
        ),
        (
            "resource: left, method: set_power",
            "",
            &[
                "Warning r.yaml:7:51: `set_power` is no method of rdk:component:motor as it is known here; it works only if its module has it (did you mean `SetPower`?)",
            ],
        ),
    ] {
        let text = with(job, more);
        assert_eq!(lines("r.yaml", &text), *said, "{job}");
        // It is looked for again each time that it runs.
        assert_eq!(
            read("r.yaml", &text).expect("usable").config.jobs[0].fault,
            None,
            "{job}"
        );
    }
}

#[test]
fn a_sensor_that_decides_nothing_or_everything_is_pointed_at() {
    let sensor = "components: [{name: idle, type: sensor, model: fake}]\nmaintenance: ";
    for (text, said) in [
        (
            "{sensor_name: 'rdk:component:sensor/idle', maintenance_allowed_key: ok}",
            &[][..],
        ),
        (
            "{sensor_name: 'rdk:component:sensor/idl', maintenance_allowed_key: ok}",
            &[
                "Warning r.yaml:2:28: nothing in this config has that name, so every change is allowed (did you mean `rdk:component:sensor/idle`?)",
            ],
        ),
        (
            "{sensor_name: idle, maintenance_allowed_key: ok}",
            &[
                "Warning r.yaml:2:28: this is no full name of a sensor, so every change is allowed (for example `rdk:component:sensor/idle`)",
            ],
        ),
        (
            "{maintenance_allowed_key: ok}",
            &[
                "Warning r.yaml:2:14: without `sensor_name` every change is allowed (for example `rdk:component:sensor/idle`)",
            ],
        ),
        (
            "{sensor_name: 'rdk:component:sensor/idle'}",
            &[
                "Warning r.yaml:2:14: without `maintenance_allowed_key` the sensor allows no change (name the key of its readings that is true when changes are welcome)",
            ],
        ),
        (
            "{sensor_name: 'rdk:component:sensor/far', maintenance_allowed_key: ok}\nremotes: [{name: r, address: 'r:1'}]",
            &[],
        ),
    ] {
        assert_eq!(lines("r.yaml", &format!("{sensor}{text}")), *said, "{text}");
    }
}

#[test]
fn a_log_pattern_that_is_none_counts_for_nothing() {
    let said = lines(
        "r.yaml",
        "log: [{pattern: 'rdk.(', level: debug}, {pattern: 'rdk.*', level: info}]",
    );
    assert_eq!(said.len(), 1, "{said:#?}");
    assert!(
        said[0].starts_with("Warning r.yaml:1:17: `rdk.(` is no pattern of logger names: "),
        "{said:#?}"
    );
}

#[test]
fn the_smaller_sections_are_checked() {
    check(
        "r.yaml",
        &[
            (
                "packages: [{name: p, package: sorter, type: module}]",
                &["Local r.yaml:1:31: `sorter` is no package id (write <org>/<name>)"],
            ),
            (
                "tracing: {enabled: true}",
                &[
                    "Warning r.yaml:1:20: traces go nowhere, so nothing is traced (set `disk`, `console` or `otlpendpoint`)",
                ],
            ),
            (
                "auth: {external_auth_config: {}}",
                &["Refused r.yaml:1:30: must contain at least 1 key (write jwks: {keys: [...]})"],
            ),
            (
                "processes: [{id: x, stop_signal: SIGFOO, stop_timeout: 5}]",
                &[
                    "Warning r.yaml:1:12: `processes` are not run; they were abolished (make it a module, or a unit of the system's service manager)",
                    "Local r.yaml:1:34: `SIGFOO` is no signal (for example SIGTERM)",
                    "Local r.yaml:1:56: `stop_timeout` must be a duration, but is a number (write \"5s\" if seconds are meant)",
                ],
            ),
            (
                "apply: {on_failure: revrt, window: 2h, preflight: full}",
                &[
                    "Local r.yaml:1:21: `apply.on_failure` cannot be `revrt` (did you mean `revert`?)",
                    "Local r.yaml:1:36: `apply.window` must be between 0s and 1h",
                    "Local r.yaml:1:51: `apply.preflight` cannot be `full` (it is `running` or `spare`)",
                ],
            ),
        ],
    );
    let apply = read("r.yaml", "apply: {on_failure: revert, window: 3s, preflight: spare}")
        .expect("usable")
        .config
        .apply;
    use mainstay_model::{ApplyPolicy, OnFailure, Preflight};
    let wanted = ApplyPolicy {
        on_failure: OnFailure::Revert,
        window: std::time::Duration::from_secs(3),
        preflight: Preflight::Spare,
    };
    assert_eq!(apply, wanted);
    assert_eq!(
        read("r.yaml", "{}").expect("usable").config.apply,
        ApplyPolicy::default()
    );
}
