//! The tasks of the jobs, on a clock of the test's own. Their resource does not exist, so each run is a failure that is
//! noted.

use http::{Method, Request, Uri};
use mainstay_proxy::body::RequestBody;
use mainstay_proxy::identity::Identity;
use mainstay_proxy::ingress::Routes;
use mainstay_proxy::local_services::{LocalAnswer, LocalServices, MakeCall, Treatment};
use mainstay_proxy::operations::Operations;
use mainstay_proxy::sessions::Sessions;
use mainstay_proxy::status::CallError;
use mainstay_runtime::machine::view::View;
use mainstay_trace::Traces;

use super::*;

/// A machine without services of its own.
#[derive(Debug)]
struct NoServices;

impl LocalServices for NoServices {
    fn serves(&self, _: &str, _: &Identity) -> Option<Treatment> {
        None
    }

    fn call(&self, _: &str, _: Request<RequestBody>) -> LocalAnswer {
        unreachable!("no service was offered")
    }

    fn page(&self, _: &Identity, _: &Method, _: &Uri) -> Option<LocalAnswer> {
        None
    }

    fn rest(&self, _: Request<RequestBody>, _: Result<MakeCall, CallError>) -> LocalAnswer {
        unreachable!("no job asks in JSON")
    }
}

struct Bench {
    handle: JobsHandle,
    published: ViewCell,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Bench {
    fn new() -> Self {
        let (handle, published, stop) = (JobsHandle::default(), ViewCell::default(), CancellationToken::new());
        let routes = Arc::new(Routes {
            table: Arc::default(),
            gate: Arc::new(Sessions::new(Duration::from_secs(2))),
            local: Arc::new(NoServices),
            operations: Operations::default(),
            traces: Traces::new().0,
        });
        let caller = JobContext::new(published.clone(), routes);
        let mut tasks = JoinSet::new();
        tasks.spawn(Jobs::new(handle.clone(), caller).run(stop.clone()));
        Self {
            handle,
            published,
            stop,
            tasks,
        }
    }

    fn start(&self) {
        self.published.publish(View {
            running: true,
            ..View::default()
        });
    }

    /// Lets time pass, and gives the runs of each job since its beginning.
    async fn after(&self, time: Duration) -> String {
        sleep(time).await;
        let runs = self.handle.runs().into_iter();
        let runs = runs.map(|runs| format!("{} {}", runs.name, runs.failed.len()));
        runs.collect::<Vec<_>>().join(", ")
    }
}

fn job(name: &str, schedule: &str) -> Job {
    Job {
        name: name.to_owned(),
        schedule: schedule.to_owned(),
        resource: "none".to_owned(),
        method: "Stop".to_owned(),
        command: None,
        log_level: None,
        fault: None,
    }
}

const S: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn only_what_changed_is_begun_anew() {
    let bench = Bench::new();
    bench
        .handle
        .set(vec![job("a", "10s"), job("b", "10s"), job("gone", "10s")]);
    assert_eq!(
        bench.after(S * 60).await,
        "a 0, b 0, gone 0",
        "the machine has not started"
    );
    bench.start();
    assert_eq!(bench.after(S * 15).await, "a 1, b 1, gone 1");
    bench
        .handle
        .set(vec![job("new", "10s"), job("b", "20s"), job("a", "10s")]);
    // `a` goes on in its own beat; `b` counts anew from second 15.
    assert_eq!(bench.after(S * 6).await, "new 0, b 1, a 2");
    assert_eq!(bench.after(S * 5).await, "new 1, b 1, a 2");
    assert_eq!(bench.after(S * 10).await, "new 2, b 2, a 3");
    bench.handle.set(vec![]);
    assert_eq!(bench.after(S * 30).await, "");
    bench.handle.set(vec![job("a", "10s")]);
    assert_eq!(bench.after(S * 5).await, "a 0", "what was gone begins without history");
}

#[tokio::test(start_paused = true)]
async fn bad_jobs_are_left_out_and_the_others_run() {
    let bench = Bench::new();
    bench.start();
    let faulty = Job {
        fault: Some("no schedule".to_owned()),
        ..job("faulty", "often")
    };
    bench
        .handle
        .set(vec![faulty, job("a", "10s"), job("a", "1s"), job("b", "continuous")]);
    // One that fails again and again is not called more often than once a second.
    assert_eq!(bench.after(Duration::from_millis(5500)).await, "a 0, b 6");
    assert_eq!(bench.after(S * 6).await, "a 1, b 10");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_machine_ends_them() {
    let mut bench = Bench::new();
    bench.start();
    bench.handle.set(vec![job("a", "continuous"), job("b", "* * * * *")]);
    bench.after(S * 2).await;
    bench.stop.cancel();
    let ended = tokio::time::timeout(S, bench.tasks.join_next()).await;
    assert!(matches!(ended, Ok(Some(Ok(())))), "{ended:?}");
}
