//! `jobs`: what the machine calls by itself, on standard and custom APIs, in Rust, Python and built-in modules.

use mainstay_proto::viam::robot::v1::{GetMachineStatusRequest, GetMachineStatusResponse, JobStatus};
use mainstay_tests::machine::{Machine, Module, Resource};
use mainstay_tests::world::World;
use serde_json::{Value, json};

const STATUS: &str = "/viam.robot.v1.RobotService/GetMachineStatus";

fn job(name: &str, schedule: &str, resource: &str, method: &str) -> Value {
    json!({ "name": name, "schedule": schedule, "resource": resource, "method": method })
}

fn command(name: &str, schedule: &str, resource: &str, command: Value) -> Value {
    let mut job = job(name, schedule, resource, "DoCommand");
    job["command"] = command;
    job
}

async fn jobs(world: &World) -> Vec<JobStatus> {
    let status: Result<GetMachineStatusResponse, _> = world.call(STATUS, &GetMachineStatusRequest {}).await;
    status.expect("answers").job_statuses
}

/// Waits until the history of the jobs is as wanted.
async fn until(world: &World, condition: impl Fn(&[JobStatus]) -> bool) -> Vec<JobStatus> {
    let begun = std::time::Instant::now();
    loop {
        let jobs = jobs(world).await;
        if condition(&jobs) {
            return jobs;
        }
        assert!(begun.elapsed() < mainstay_tests::world::PATIENCE, "{jobs:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn jobs_call_any_api_on_time_and_the_status_shows_how_it_went() {
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .module(Module::python("snake", "thermometer.py"))
        .resource(Resource::echo("echo"))
        .resource(Resource::fake("motor", "motor"))
        .resource(Resource::new(
            "warmth",
            "rdk:component:sensor",
            "tests:python:thermometer",
        ))
        .set(
            "jobs",
            json!([
                job("move", "100ms", "echo", "Move"),
                job("stop", "1h", "echo", "Stop"),
                job("again", "continuous", "motor", "IsMoving"),
                job("count", "150ms", "warmth", "GetReadings"),
                command("print", "* * * * * *", "echo", json!({ "print": "a job says hello" })),
                command("fail", "120ms", "echo", json!({ "fail": 5 })),
                job("typo", "200ms", "motor", "IsMooving"),
                job("nowhere", "200ms", "nothing", "Stop"),
                job("never", "often", "motor", "Stop"),
                job("move", "1ms", "motor", "Stop"),
            ]),
        );
    let world = World::settled(machine).await;
    let succeeds = ["move", "again", "count", "print"];
    let fails = ["fail", "typo", "nowhere"];
    let seen = until(&world, |jobs| {
        jobs.iter().all(|job| match job.job_name.as_str() {
            "stop" => true,
            "print" => job.recent_successful_runs.len() >= 2,
            name if succeeds.contains(&name) => job.recent_successful_runs.len() >= 4,
            _ => job.recent_failed_runs.len() >= 3,
        })
    })
    .await;
    let names: Vec<_> = seen.iter().map(|job| job.job_name.as_str()).collect();
    let order = ["move", "stop", "again", "count", "print", "fail", "typo", "nowhere"];
    assert_eq!(names, order, "in the order of the config, without the bad ones");
    for job in &seen {
        let name = job.job_name.as_str();
        assert!(job.recent_successful_runs.len() <= 10 && job.recent_failed_runs.len() <= 10);
        assert!(job.recent_failed_runs.is_empty() || fails.contains(&name), "{job:?}");
        assert!(
            job.recent_successful_runs.is_empty() || succeeds.contains(&name),
            "{job:?}"
        );
    }
    let report = world.until_report("echo", |report| report.moves >= 4).await;
    assert_eq!(report.stops, 0, "its hour has not come");
    world.until_printed("a job says hello").await;
    world.until_printed("as you wish").await;
    world
        .until_printed("failed: could not find the resource for name nothing")
        .await;
    let output = world.output();
    assert!(output.contains("`often` is no schedule"), "{output}");
    assert!(output.contains("Duplicate job move in robot config"), "{output}");
    let told = output
        .matches("failed: could not find the resource for name nothing")
        .count();
    assert_eq!(told, 1, "once, not each time");
    world.shutdown().await.left_nothing_behind().with_code(0);
}

#[tokio::test]
async fn one_run_at_a_time_and_a_job_outlives_its_module() {
    let slow = json!({ "sleep_ms": 700 });
    let machine = Machine::new()
        .module(Module::fixture("eyes"))
        .resource(Resource::echo("echo"))
        .set(
            "jobs",
            json!([
                command("slow", "100ms", "echo", slow.clone()),
                command("slow-cron", "* * * * * *", "echo", slow),
                command("crash", "3s", "echo", json!({ "exit": 3 })),
            ]),
        );
    let world = World::settled(machine).await;
    let begun = std::time::Instant::now();
    while begun.elapsed() < std::time::Duration::from_secs(2) {
        // Each job has one run at most; this very call is a third.
        let running = world.report("echo").await.running;
        assert!(running <= 2, "{running} calls run");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let before = until(&world, |jobs| !jobs[2].recent_failed_runs.is_empty()).await;
    let last = |jobs: &[JobStatus]| jobs[0].recent_successful_runs.last().map_or(0, |time| time.seconds);
    until(&world, |jobs| last(jobs) > last(&before)).await;
}

#[tokio::test]
async fn jobs_follow_the_file_and_one_that_stays_keeps_its_history() {
    let machine = |jobs: Value| {
        Machine::new()
            .module(Module::fixture("eyes"))
            .resource(Resource::echo("echo"))
            .set("jobs", jobs)
    };
    let stays = job("stays", "2s", "echo", "Move");
    let world = World::settled(machine(json!([stays, job("goes", "100ms", "echo", "Move")]))).await;
    let before = until(&world, |jobs| {
        jobs.len() == 2 && jobs.iter().all(|job| !job.recent_successful_runs.is_empty())
    })
    .await;
    let first = before[0].recent_successful_runs[0];

    world.rewrite(&machine(json!([stays, job("comes", "100ms", "echo", "Move")])));
    let names = |jobs: &[JobStatus]| jobs.iter().map(|job| job.job_name.clone()).collect::<Vec<_>>();
    let now = until(&world, |jobs| {
        names(jobs) == ["stays", "comes"] && !jobs[1].recent_successful_runs.is_empty()
    })
    .await;
    assert_eq!(now[0].recent_successful_runs[0], first, "its history is kept");

    // Another schedule is another job: it begins anew.
    let often = job("stays", "100ms", "echo", "Move");
    world.rewrite(&machine(json!([often])));
    until(&world, |jobs| {
        names(jobs) == ["stays"] && jobs[0].recent_successful_runs.len() >= 4
    })
    .await;
    world.rewrite(&machine(json!([])));
    until(&world, <[JobStatus]>::is_empty).await;
    world.shutdown().await.left_nothing_behind().with_code(0);
}
