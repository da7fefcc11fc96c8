//! Our `.proto` files against the descriptors that the pinned Python SDK registers.
//!
//! Inside the packages that a machine speaks, and everything that they use, nothing may be missing, different or extra.
//! Of two files a machine needs a part only; there, the part must be whole.
//!
//! Needs a Python that has `viam-sdk`: `MAINSTAY_PYTHON`, else `target/venv/bin/python`, which `cargo xtask test` makes.

mod facts;

use std::{path::PathBuf, process::Command};

use facts::{EnumDescriptor, EnumValue, Facts, FileSet, Message, compare, everything, facts};
use mainstay_proto::descriptors;
use mainstay_proto::google::api::HttpRule;
use mainstay_proto::google::api::http_rule::Pattern;
use prost::Message as _;

/// The release whose descriptors are the reference.
const SDK_VERSION: &str = "0.85.1";

fn ours() -> FileSet {
    let mut set = FileSet::default();
    for file in descriptors::files() {
        set.files
            .push(facts::File::decode(file.bytes).expect("an embedded descriptor decodes"));
    }
    set
}

fn python() -> PathBuf {
    if let Some(python) = std::env::var_os("MAINSTAY_PYTHON") {
        return python.into();
    }
    let python = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/venv/bin/python"));
    assert!(
        python.exists(),
        "no Python with viam-sdk at {}: run `cargo xtask test`, which makes it, or set MAINSTAY_PYTHON to one that has \
         viam-sdk=={SDK_VERSION}",
        python.display(),
    );
    python
}

fn sdk() -> FileSet {
    let python = python();
    let output = Command::new(&python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/descriptors.py"))
        .arg(SDK_VERSION)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    FileSet::decode(&output.stdout[..]).expect("the SDK's descriptors decode")
}

#[test]
fn our_descriptors_say_what_those_of_the_sdk_say() {
    let (sdk, ours) = (sdk(), ours());
    let wanted = facts(&sdk);
    // A reference that came out empty would agree with anything.
    for (kind, least) in [
        ("service", 35),
        ("method", 280),
        ("message", 500),
        ("field", 1400),
        ("value", 100),
    ] {
        let count = wanted.keys().filter(|key| key.starts_with(kind)).count();
        assert!(
            count >= least,
            "the SDK registers {count} of kind {kind}, and there were {least}"
        );
    }
    let mut differences = compare(&wanted, &facts(&ours));
    // What lies outside of the closure, if anything, is at least no invention. The health service is gRPC's own, which the SDK
    // does not bring along.
    let known = everything(&sdk);
    let others: Facts = everything(&ours)
        .into_iter()
        .filter(|(name, _)| !wanted.contains_key(name) && !name.contains(" grpc.health.v1."))
        .collect();
    differences.extend(
        compare(&known, &others)
            .into_iter()
            .filter(|line| !line.starts_with("missing")),
    );
    assert!(
        differences.is_empty(),
        "{} differences:\n{}",
        differences.len(),
        differences.join("\n")
    );
}

/// Result of the comparison after one change to a copy of our descriptors.
fn after(change: impl FnOnce(&mut FileSet)) -> Vec<String> {
    let ours = ours();
    let mut changed = ours.clone();
    change(&mut changed);
    compare(&facts(&ours), &facts(&changed))
}

fn motor(set: &mut FileSet) -> &mut facts::File {
    set.files
        .iter_mut()
        .find(|file| file.name == "component/motor/v1/motor.proto")
        .expect("motor.proto is there")
}

fn set_power(set: &mut FileSet) -> &mut Message {
    motor(set)
        .messages
        .iter_mut()
        .find(|message| message.name == "SetPowerRequest")
        .expect("it is there")
}

fn set_power_method(set: &mut FileSet) -> &mut facts::Method {
    let service = &mut motor(set).services[0];
    service
        .methods
        .iter_mut()
        .find(|method| method.name == "SetPower")
        .expect("it is there")
}

fn rule_of(method: &mut facts::Method) -> &mut HttpRule {
    let http = method.options.as_mut().and_then(|options| options.http.as_mut());
    http.expect("it has a path")
}

fn common(set: &mut FileSet) -> &mut facts::File {
    set.files
        .iter_mut()
        .find(|file| file.name == "common/v1/common.proto")
        .expect("common.proto is there")
}

fn geometry(set: &mut FileSet) -> &mut Message {
    common(set)
        .messages
        .iter_mut()
        .find(|message| message.name == "Geometry")
        .expect("it is there")
}

fn joint_type(set: &mut FileSet) -> &mut EnumDescriptor {
    common(set)
        .enums
        .iter_mut()
        .find(|item| item.name == "JointType")
        .expect("it is there")
}

#[test]
fn equal_descriptors_do_not_differ() {
    assert_eq!(after(|_| {}), [""; 0]);
}

#[test]
fn any_single_change_is_reported_by_name() {
    type Change = fn(&mut FileSet);
    let cases: [(&str, Change); 22] = [
        ("field viam.component.motor.v1.SetPowerRequest.power_pct", |set| {
            set_power(set).fields[1].number = 7
        }),
        ("field viam.component.motor.v1.SetPowerRequest.power_pct", |set| {
            set_power(set).fields[1].kind = 2
        }),
        ("field viam.component.motor.v1.SetPowerRequest.power_pct", |set| {
            set_power(set).fields[1].label = 3
        }),
        ("field viam.component.motor.v1.SetPowerRequest.power", |set| {
            set_power(set).fields[1].name = "power".into()
        }),
        ("field viam.component.motor.v1.SetPowerRequest.power_pct", |set| {
            drop(set_power(set).fields.remove(1))
        }),
        ("field viam.component.motor.v1.SetPowerRequest.more", |set| {
            let mut field = set_power(set).fields[0].clone();
            (field.name, field.number) = ("more".into(), 8);
            set_power(set).fields.push(field);
        }),
        ("field viam.component.motor.v1.SetPowerRequest.extra", |set| {
            set_power(set).fields[2].type_name = ".google.protobuf.Value".into();
        }),
        ("field viam.common.v1.Geometry.sphere", |set| {
            geometry(set).fields[1].oneof_index = None
        }),
        ("field viam.common.v1.Geometry.box", |set| {
            geometry(set).oneofs[0].name = "other".into()
        }),
        ("field viam.common.v1.PoseInFrame.goal_cloud", |set| {
            let frame = common(set)
                .messages
                .iter_mut()
                .find(|message| message.name == "PoseInFrame");
            frame.expect("it is there").fields[2].proto3_optional = false;
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            set_power_method(set).server_streaming = true
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            set_power_method(set).client_streaming = true
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            set_power_method(set).options = None
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            rule_of(set_power_method(set)).body = "*".into()
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            rule_of(set_power_method(set)).pattern =
                Some(Pattern::Put("/viam/api/v1/component/motor/{name}/pwr".into()))
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            set_power_method(set).input = ".viam.component.motor.v1.SetRPMRequest".into();
        }),
        ("method viam.component.motor.v1.MotorService.SetPower", |set| {
            drop(motor(set).services[0].methods.remove(0))
        }),
        ("service viam.component.motor.v1.MotorService", |set| {
            motor(set).services.clear()
        }),
        ("value viam.common.v1.JointType.JOINT_TYPE_PRISMATIC", |set| {
            joint_type(set).values[2].number = 9
        }),
        ("value viam.common.v1.JointType.JOINT_TYPE_BALL", |set| {
            joint_type(set).values.push(EnumValue {
                name: "JOINT_TYPE_BALL".into(),
                number: 4,
            });
        }),
        ("message viam.component.motor.v1.GoToRequest", |set| {
            motor(set).messages.retain(|message| message.name != "GoToRequest");
        }),
        ("message viam.component.motor.v1.SetPowerRequest", |set| {
            motor(set).name = "motor.proto".into()
        }),
    ];
    for (name, change) in cases {
        let differences = after(change);
        assert!(
            differences.iter().any(|line| line.contains(name)),
            "nothing about {name} in {differences:?}",
        );
    }
}

#[test]
fn a_file_that_is_missing_is_reported_with_all_it_holds() {
    let differences = after(|set| set.files.retain(|file| file.name != "component/servo/v1/servo.proto"));
    assert!(
        differences.contains(&"missing: service viam.component.servo.v1.ServoService".to_owned()),
        "{differences:?}"
    );
}
