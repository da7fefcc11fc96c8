//! Somebody asks why something stopped, or what became of a change.

use mainstay_proto::mainstay::control::v1::ConfigState;
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::world::World;

#[tokio::test]
async fn events_know_changes_refusals_and_who_stopped_everything() {
    let machine = || Machine::new().resource(Resource::fake("left", "motor"));
    let mut world = World::settled(machine()).await;
    world.rewrite(&machine().resource(Resource::fake("right", "motor")));
    world.until(|now| now.ready("right")).await;
    world.rewrite_text("components: [");
    world.until(|now| now.config_is(ConfigState::Refused)).await;
    let stopped = world.cli(&["call", "viam.robot.v1.RobotService", "stop_all"]).await;
    assert_eq!(stopped.code, 0, "{stopped:?}");
    let events = world.cli(&["events"]).await;
    for expected in [
        "config: applying ",
        "config: applied: ",
        "config: refused: ",
        "stop: StopAll asked for by the command line: stopped everything",
    ] {
        assert!(events.stdout.contains(expected), "no {expected:?} in {events:?}");
    }
    let left = world.cli(&["explain", "left"]).await;
    assert!(
        left.code == 0 && left.stdout.contains("StopAll asked for by"),
        "{left:?}"
    );
    assert!(left.stdout.contains("now ready"), "{left:?}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
