//! The method rights table: one row per service and kind of effect of the wire.

use std::collections::HashMap;
use std::sync::LazyLock;

use mainstay_proto::methods;

/// Effect of a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Effect {
    /// Tells what is here and keeps a client alive: what SDKs ask to connect and to stay connected.
    Basic,
    /// Ends a motion.
    Stop,
    /// Reads, and changes nothing that others would notice.
    Read,
    /// Uses a resource: moves it, sets it, or commands it.
    Use,
    /// Concerns the machine itself, its processes and its host.
    Admin,
    /// Concerns configs, logs and the host's files: for the role `owner` alone, whatever a rule says.
    Owner,
}

use Effect::{Admin, Basic, Owner, Read, Stop, Use};

/// Effects by service: names of methods, with spaces between them.
const TABLE: &[(&str, &[(Effect, &str)])] = &[
    ("grpc.health.v1.Health", &[(Basic, "Check Watch")]),
    (
        "proto.rpc.v1.AuthService",
        // It needs no rights: whoever calls it is about to ask for some.
        &[(Basic, "Authenticate")],
    ),
    ("proto.rpc.v1.ExternalAuthService", &[(Admin, "AuthenticateTo")]),
    (
        "proto.rpc.webrtc.v1.SignalingService",
        // A way to connect, for whoever may connect; to answer is the machine's own part.
        &[
            (Basic, "Call CallUpdate OptionalWebRTCConfig ReportConnectionMetadata"),
            (Admin, "Answer"),
        ],
    ),
    (
        "proto.stream.v1.StreamService",
        &[
            (Read, "AddStream GetStreamOptions ListStreams RemoveStream"),
            (Use, "SetStreamOptions"),
        ],
    ),
    (
        "viam.app.datasync.v1.DataSyncService",
        &[(Admin, "DataCaptureUpload FileUpload StreamingDataCaptureUpload")],
    ),
    (
        "viam.app.packages.v1.PackageService",
        &[(Admin, "CreatePackage DeletePackage GetPackage ListPackages")],
    ),
    (
        "viam.component.arm.v1.ArmService",
        &[
            (Stop, "Stop"),
            (
                Read,
                "Get3DModels GetEndPosition GetGeometries GetJointPositions GetKinematics GetManualMode GetProperties \
                 GetStatus IsMoving",
            ),
            (
                Use,
                "DoCommand MoveThroughJointPositions MoveThroughJointPositionsStreamed MoveToJointPositions \
                 MoveToPosition SetManualMode",
            ),
        ],
    ),
    (
        "viam.component.audioin.v1.AudioInService",
        &[
            (Read, "GetAudio GetGeometries GetProperties GetStatus"),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.component.audioout.v1.AudioOutService",
        &[
            (Read, "GetGeometries GetProperties GetStatus"),
            (Use, "DoCommand Play PlayStream"),
        ],
    ),
    (
        "viam.component.base.v1.BaseService",
        &[
            (Stop, "Stop"),
            (Read, "GetGeometries GetProperties GetStatus IsMoving"),
            (Use, "DoCommand MoveStraight SetPower SetVelocity Spin"),
        ],
    ),
    (
        "viam.component.board.v1.BoardService",
        &[
            (
                Read,
                "GetDigitalInterruptValue GetGPIO GetGeometries GetStatus PWM PWMFrequency ReadAnalogReader StreamTicks",
            ),
            (Use, "DoCommand SetGPIO SetPWM SetPWMFrequency SetPowerMode WriteAnalog"),
        ],
    ),
    (
        "viam.component.button.v1.ButtonService",
        &[(Read, "GetStatus"), (Use, "DoCommand Push")],
    ),
    (
        "viam.component.camera.v1.CameraService",
        &[
            (Read, "GetGeometries GetImages GetPointCloud GetProperties GetStatus"),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.component.encoder.v1.EncoderService",
        &[
            (Read, "GetGeometries GetPosition GetProperties GetStatus"),
            (Use, "DoCommand ResetPosition"),
        ],
    ),
    (
        "viam.component.gantry.v1.GantryService",
        &[
            (Stop, "Stop"),
            (
                Read,
                "GetGeometries GetKinematics GetLengths GetPosition GetStatus IsMoving",
            ),
            (Use, "DoCommand Home MoveToPosition"),
        ],
    ),
    (
        "viam.component.generic.v1.GenericService",
        &[(Read, "GetGeometries GetStatus"), (Use, "DoCommand")],
    ),
    (
        "viam.component.gripper.v1.GripperService",
        &[
            (Stop, "Stop"),
            (
                Read,
                "GetCurrentInputs GetGeometries GetKinematics GetStatus IsHoldingSomething IsMoving",
            ),
            (Use, "DoCommand GoToInputs Grab Open"),
        ],
    ),
    (
        "viam.component.inputcontroller.v1.InputControllerService",
        &[
            (Read, "GetControls GetEvents GetGeometries GetStatus StreamEvents"),
            (Use, "DoCommand TriggerEvent"),
        ],
    ),
    (
        "viam.component.motor.v1.MotorService",
        &[
            (Stop, "Stop"),
            (
                Read,
                "GetGeometries GetPosition GetProperties GetStatus IsMoving IsPowered",
            ),
            (Use, "DoCommand GoFor GoTo ResetZeroPosition SetPower SetRPM"),
        ],
    ),
    (
        "viam.component.movementsensor.v1.MovementSensorService",
        &[
            (
                Read,
                "GetAccuracy GetAngularVelocity GetCompassHeading GetGeometries GetLinearAcceleration GetLinearVelocity \
                 GetOrientation GetPosition GetProperties GetReadings GetStatus",
            ),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.component.posetracker.v1.PoseTrackerService",
        &[(Read, "GetGeometries GetPoses GetStatus"), (Use, "DoCommand")],
    ),
    (
        "viam.component.powersensor.v1.PowerSensorService",
        &[
            (Read, "GetCurrent GetPower GetReadings GetStatus GetVoltage"),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.component.sensor.v1.SensorService",
        &[(Read, "GetGeometries GetReadings GetStatus"), (Use, "DoCommand")],
    ),
    (
        "viam.component.servo.v1.ServoService",
        &[
            (Stop, "Stop"),
            (Read, "GetGeometries GetPosition GetStatus IsMoving"),
            (Use, "DoCommand Move"),
        ],
    ),
    (
        "viam.component.switch.v1.SwitchService",
        &[
            (Read, "GetNumberOfPositions GetPosition GetStatus"),
            (Use, "DoCommand SetPosition"),
        ],
    ),
    (
        "viam.component.testecho.v1.TestEchoService",
        &[(Stop, "Stop"), (Use, "Echo EchoBiDi EchoMultiple")],
    ),
    (
        "viam.module.v1.ModuleService",
        &[(
            Admin,
            "AddResource Ready ReconfigureResource RemoveResource ValidateConfig",
        )],
    ),
    (
        "viam.robot.v1.RobotService",
        &[
            (
                // TypeScript asks for operations to connect, Go for subtypes.
                Basic,
                "GetOperations GetVersion ResourceNames ResourceRPCSubtypes SendSessionHeartbeat StartSession",
            ),
            (Stop, "StopAll"),
            (
                Read,
                "BlockForOperation FrameSystemConfig GetCloudMetadata GetMachineStatus GetModelsFromModules GetPose \
                 GetSessions GetStatus StreamStatus TransformPCD TransformPose",
            ),
            // It may end what somebody else is doing.
            (Use, "CancelOperation"),
            (
                Admin,
                "ListTunnels Log RestartModule SendTraces Shutdown Tunnel UploadDataFromPath",
            ),
        ],
    ),
    (
        "viam.service.datamanager.v1.DataManagerService",
        &[(Read, "GetStatus"), (Use, "DoCommand Sync UploadBinaryDataToDatasets")],
    ),
    (
        "viam.service.discovery.v1.DiscoveryService",
        // What it finds may come with passwords.
        &[(Read, "GetStatus"), (Use, "DiscoverResources DoCommand")],
    ),
    (
        "viam.service.generic.v1.GenericService",
        &[(Read, "GetStatus"), (Use, "DoCommand")],
    ),
    (
        "viam.service.mlmodel.v1.MLModelService",
        &[(Read, "GetStatus Infer Metadata")],
    ),
    (
        "viam.service.motion.v1.MotionService",
        &[
            (Stop, "StopPlan"),
            (Read, "GetPlan GetPose GetStatus ListPlanStatuses"),
            (Use, "DoCommand Move MoveOnGlobe MoveOnMap TempStreamArmJointPositions"),
        ],
    ),
    (
        "viam.service.navigation.v1.NavigationService",
        &[
            (Stop, "Cancel Suspend"),
            (
                Read,
                "GetCostmap GetLocation GetNavigationStatus GetPosition GetProperties GetRoute GetStatus GetZone \
                 ListLocations ListRoutes ListZones",
            ),
            (
                Use,
                "AddLocation AddRoute AddZone DeleteLocation DeleteRoute DeleteZone DoCommand ExecutePlan GoToLocation \
                 GoToPoint NavigateRoute NavigateToLocation NavigateToPoint PlanToLocation PlanToPoint Resume \
                 UpdateLocation UpdateRoute UpdateZone",
            ),
        ],
    ),
    (
        "viam.service.sensors.v1.SensorsService",
        &[(Read, "GetReadings GetSensors GetStatus"), (Use, "DoCommand")],
    ),
    (
        "viam.service.shell.v1.ShellService",
        // It is the host's, not the robot's.
        &[
            (Read, "GetStatus"),
            (Admin, "CopyFilesFromMachine CopyFilesToMachine DoCommand Shell"),
        ],
    ),
    (
        "viam.service.slam.v1.SLAMService",
        &[
            (
                Read,
                "GetInternalState GetPointCloudMap GetPosition GetProperties GetStatus",
            ),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.service.video.v1.VideoService",
        &[(Read, "GetStatus GetVideo"), (Use, "DoCommand")],
    ),
    (
        "viam.service.vision.v1.VisionService",
        &[
            (
                Read,
                "CaptureAllFromCamera GetClassifications GetClassificationsFromCamera GetDetections GetDetections3D \
                 GetDetectionsFromCamera GetObjectPointClouds GetProperties GetStatus",
            ),
            (Use, "DoCommand"),
        ],
    ),
    (
        "viam.service.worldstatestore.v1.WorldStateStoreService",
        &[
            (Read, "GetStatus GetTransform ListUUIDs StreamTransformChanges"),
            (Use, "DoCommand"),
        ],
    ),
];

/// Services that are not in the tables of the wire: all their methods have one effect.
const WHOLE: [(&str, Effect); 8] = [
    // Whoever comes in may ask what it may do.
    ("mainstay.access.v1.AccessService", Basic),
    // What ResourceNames tells, told to machines.
    ("mainstay.remote.v1.RemoteService", Basic),
    // TypeScript learns from it which methods a session answers for, Go which messages there are.
    ("grpc.reflection.v1.ServerReflection", Basic),
    ("grpc.reflection.v1alpha.ServerReflection", Basic),
    ("mainstay.control.v1.ControlService", Owner),
    // There while somebody is invited, and then it asks for the code.
    ("mainstay.parts.v1.JoinService", Basic),
    ("mainstay.parts.v1.PartService", Owner),
    ("mainstay.parts.v1.PartsService", Owner),
];

static EFFECTS: LazyLock<HashMap<(&'static str, &'static str), Effect>> = LazyLock::new(|| {
    let rows = TABLE.iter().flat_map(|(service, effects)| {
        let named = |(effect, names): &(Effect, &'static str)| {
            let (effect, names) = (*effect, names.split_whitespace());
            names.map(move |name| ((*service, name), effect)).collect::<Vec<_>>()
        };
        effects.iter().flat_map(named).collect::<Vec<_>>()
    });
    rows.collect()
});

/// Effect of a method. What is not known may do what a resource can do: custom APIs, and standard methods that are newer than
/// we are; of a service of the machine itself it may do anything.
pub fn effect(service: &str, method: &str) -> Effect {
    if let Some(effect) = EFFECTS.get(&(service, method)) {
        return *effect;
    }
    if let Some((_, effect)) = WHOLE.iter().find(|(whole, _)| *whole == service) {
        return *effect;
    }
    // Pages for browsers, `/debug/graph` and the like.
    if service == "debug" || service.starts_with("debug/") {
        return Read;
    }
    match methods::service(service) {
        Some(known) if known.api.is_none() || service == "viam.service.shell.v1.ShellService" => Admin,
        _ => Use,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_method_of_the_wire_stands_in_one_row_and_no_other_does() {
        let mut listed = BTreeSet::new();
        for (service, effects) in TABLE {
            for name in effects.iter().flat_map(|(_, names)| names.split_whitespace()) {
                assert!(listed.insert((*service, name)), "{service}/{name} stands there twice");
            }
        }
        let wire = methods::services().iter().flat_map(|service| service.methods);
        let wire: BTreeSet<_> = wire.map(|method| (method.service, method.name)).collect();
        let missing: Vec<_> = wire.difference(&listed).collect();
        let unknown: Vec<_> = listed.difference(&wire).collect();
        assert!(missing.is_empty() && unknown.is_empty(), "{missing:?} {unknown:?}");
        assert_eq!(wire.len(), EFFECTS.len());
    }

    /// What the tables of the wire say of a method, independent of ours.
    #[test]
    fn what_moves_or_commands_is_never_harmless_and_what_stops_always_is() {
        for method in methods::services().iter().flat_map(|service| service.methods) {
            let (found, name) = (effect(method.service, method.name), method.name);
            if method.actuates || name == "DoCommand" {
                assert!(found >= Use, "{}/{name} is {found:?}", method.service);
            }
            if method.stops || name == "StopAll" {
                assert_eq!(found, Stop, "{}/{name}", method.service);
            }
            let changes = [
                "Set", "Write", "Move", "Go", "Reset", "Add", "Delete", "Update", "Push", "Play",
            ];
            let changes =
                changes.iter().any(|verb| name.starts_with(verb)) && method.service != "proto.stream.v1.StreamService";
            if changes {
                assert!(found >= Use, "{}/{name} is {found:?}", method.service);
            }
            let reads = ["Get", "List", "Is"].iter().any(|verb| name.starts_with(verb));
            if reads && method.api.is_some() {
                assert_eq!(found, Read, "{}/{name}", method.service);
            }
        }
    }

    #[test]
    fn what_nobody_knows_may_do_all_that_its_service_can() {
        for (service, method, wanted) in [
            ("viam.component.motor.v1.MotorService", "Explode", Use),
            ("viam.service.shell.v1.ShellService", "Explode", Admin),
            ("viam.robot.v1.RobotService", "Explode", Admin),
            ("acme.v1.Gizmo", "GetReadings", Use),
            ("mainstay.control.v1.ControlService", "GetStatus", Owner),
            ("mainstay.control.v1.ControlService", "Explode", Owner),
            ("mainstay.access.v1.AccessService", "WhoAmI", Basic),
            ("grpc.reflection.v1.ServerReflection", "ServerReflectionInfo", Basic),
            ("grpc.health.v1.Health", "Watch", Basic),
            ("debug", "graph", Read),
            ("debug/pprof", "cmdline", Read),
        ] {
            assert_eq!(effect(service, method), wanted, "{service}/{method}");
        }
    }
}
