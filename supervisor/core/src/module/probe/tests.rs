//! The probe's rules as tables, and thousands of random lives of a module against what must hold in each of them.

use super::*;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Step of a table; times are in tenths of a second.
#[derive(Debug, Clone, Copy)]
enum Do {
    /// The driver keeps its timers to here, answering what it is asked as set below.
    Run,
    Answer,
    Hear,
    Begin(u64, u64),
    End(u64),
    Tracer(Option<u32>),
    /// The driver does nothing until here: the core stood still.
    Stall,
}

/// Plays a table and gives what was said, each as `tenths:what`.
fn play(table: &[(u64, Do)]) -> String {
    let zero = Instant::now();
    let at = |tenths: u64| zero + Duration::from_millis(tenths * 100);
    let mut prober = Prober::new(Health::default(), zero);
    let mut said = Vec::new();
    let mut tracer = None;
    for (time, what) in table {
        let now = at(*time);
        if !matches!(what, Do::Stall) {
            while let Some(due) = prober.deadline().filter(|due| *due < now) {
                drive(&mut prober, Input::Tick, due, tracer, zero, &mut said);
            }
        }
        let input = match *what {
            Do::Run | Do::Stall => Input::Tick,
            Do::Answer => Input::Answered,
            Do::Hear => Input::Responded,
            Do::Begin(call, until) => Input::Begun { call, until: at(until) },
            Do::End(call) => Input::Ended { call },
            Do::Tracer(pid) => {
                tracer = pid;
                continue;
            }
        };
        drive(&mut prober, input, now, tracer, zero, &mut said);
    }
    said.join(" ")
}

fn drive(prober: &mut Prober, input: Input, now: Instant, tracer: Option<u32>, zero: Instant, said: &mut Vec<String>) {
    let mut next = prober.handle(input, now);
    while let Some(action) = next {
        let time = now.duration_since(zero).as_millis() / 100;
        match action {
            Action::Probe => said.push(format!("{time}:probe")),
            Action::Answering => said.push(format!("{time}:answering")),
            Action::Unresponsive { tracer: None, .. } => said.push(format!("{time}:unresponsive")),
            Action::Unresponsive { .. } => said.push(format!("{time}:traced")),
            Action::Hung { silent } => said.push(format!("{time}:hung({})", silent.as_secs())),
            Action::LookForTracer | Action::Gather => {}
        }
        next = match action {
            Action::LookForTracer => prober.handle(Input::Traced(tracer), now),
            Action::Gather => prober.handle(Input::Gathered, now),
            _ => None,
        };
    }
}

#[test]
fn who_answers_is_asked_again_after_the_interval_and_nothing_is_said() {
    use Do::{Answer, Run};
    assert_eq!(
        play(&[(20, Run), (21, Answer), (41, Run), (42, Answer), (60, Run)]),
        "20:probe 41:probe"
    );
}

#[test]
fn a_missed_probe_is_said_and_half_a_minute_of_silence_is_the_end() {
    use Do::Run;
    // Silent from the beginning: noticed after interval and timeout, replaced every 5 s, ended after 30 s.
    assert_eq!(
        play(&[(600, Run)]),
        "20:probe 40:unresponsive 90:probe 160:probe 230:probe 300:hung(30)"
    );
}

#[test]
fn an_answer_however_late_ends_it_all() {
    use Do::{Answer, Run};
    assert_eq!(
        play(&[(280, Run), (299, Answer), (318, Run)]),
        "20:probe 40:unresponsive 90:probe 160:probe 230:probe 299:answering"
    );
}

#[test]
fn a_frame_or_a_call_of_its_own_keeps_it_alive_but_not_responsive() {
    use Do::{Hear, Run};
    assert_eq!(
        play(&[(250, Hear), (252, Run), (540, Run), (551, Run)]),
        "20:probe 40:unresponsive 90:probe 160:probe 230:probe 300:probe 370:probe 440:probe 510:probe 550:hung(30)"
    );
}

#[test]
fn a_call_that_keeps_it_busy_has_its_own_deadline() {
    use Do::{Begin, End, Hear, Run};
    // A constructor of 60 s, allowed 120 s.
    assert_eq!(
        play(&[(10, Begin(1, 1200)), (600, Run), (610, Hear), (610, End(1)), (629, Run)]),
        "20:probe"
    );
    // One that outlasts its deadline: it was given that time instead of `kill_after`.
    assert_eq!(
        play(&[(10, Begin(1, 1200)), (1199, Run), (1200, End(1)), (1300, Run)]),
        "20:probe 1220:unresponsive 1220:hung(122)"
    );
    // A short one leaves it the rest of `kill_after`.
    assert_eq!(
        play(&[(10, Begin(1, 60)), (1300, Run)]),
        "20:probe 60:probe 80:unresponsive 130:probe 200:probe 270:probe 300:hung(30)"
    );
}

#[test]
fn a_call_that_begins_in_the_silence_excuses_nothing() {
    use Do::{Begin, Run};
    assert_eq!(
        play(&[(50, Begin(1, 1200)), (600, Run)]),
        "20:probe 40:unresponsive 90:probe 160:probe 230:probe 300:hung(30)"
    );
    // A chain of calls, each of which begins while the one before hangs, does not make an endless excuse.
    assert_eq!(
        play(&[
            (10, Begin(1, 400)),
            (100, Begin(2, 1200)),
            (390, Begin(3, 1500)),
            (1600, Run)
        ]),
        "20:probe 400:probe 420:unresponsive 420:hung(42)"
    );
}

#[test]
fn all_calls_that_wait_count_again_once_it_has_answered_one() {
    use Do::{Begin, End, Hear, Run};
    assert_eq!(
        play(&[
            (10, Begin(1, 400)),
            (100, Begin(2, 1200)),
            (390, Hear),
            (390, End(1)),
            (1199, Run),
        ]),
        "20:probe"
    );
}

#[test]
fn a_traced_process_is_never_ended_and_has_all_its_time_afterwards() {
    use Do::{Run, Tracer};
    let said = play(&[(0, Tracer(Some(7))), (9000, Run), (9000, Tracer(None)), (9400, Run)]);
    assert!(said.starts_with("20:probe 40:traced 90:probe"), "{said}");
    let (_, end) = said.rsplit_once(' ').unwrap();
    let (time, hung) = end.split_once(':').unwrap();
    assert!(
        hung == "hung(30)" && (9280..=9320).contains(&time.parse().unwrap()),
        "{said}"
    );
}

#[test]
fn a_round_in_which_the_core_itself_was_late_does_not_count() {
    use Do::{Run, Stall};
    // Due at 40, and 1.1 s late; the next round counts.
    assert_eq!(
        play(&[(20, Run), (51, Stall), (71, Run)]),
        "20:probe 51:probe 71:unresponsive"
    );
    assert_eq!(play(&[(20, Run), (49, Stall)]), "20:probe 49:unresponsive");
    // A core that slept for an hour, whatever it was doing before, kills nobody when it wakes.
    for asleep in [5, 20, 30, 40, 60, 100, 290] {
        let said = play(&[(asleep, Run), (36_000, Stall), (36_000, Run), (36_009, Run)]);
        assert!(!said.contains("hung"), "asleep at {asleep}: {said}");
    }
}

#[test]
fn a_look_that_took_too_long_begins_a_new_round() {
    let zero = Instant::now();
    let mut prober = Prober::new(Health::default(), zero);
    assert_eq!(prober.handle(Input::Tick, zero + seconds(2)), Some(Action::Probe));
    assert_eq!(
        prober.handle(Input::Tick, zero + seconds(4)),
        Some(Action::LookForTracer)
    );
    assert_eq!(
        prober.handle(Input::Traced(None), zero + seconds(50)),
        Some(Action::Probe)
    );
    assert!(!prober.unresponsive);
}

#[test]
fn who_speaks_while_the_evidence_is_gathered_is_spared() {
    let zero = Instant::now();
    let health = Health {
        kill_after: seconds(3),
        ..Health::default()
    };
    for spared in [Input::Responded, Input::Answered] {
        let mut prober = Prober::new(health.clone(), zero);
        for (at, input) in [
            (2, Input::Tick),
            (4, Input::Tick),
            (4, Input::Traced(None)),
            (4, Input::Tick),
        ] {
            prober.handle(input, zero + seconds(at));
        }
        assert_eq!(
            prober.handle(Input::Traced(None), zero + seconds(4)),
            Some(Action::Gather)
        );
        prober.handle(spared, zero + seconds(5));
        assert_eq!(prober.handle(Input::Gathered, zero + seconds(5)), None, "{spared:?}");
    }
}

/// A generator that gives the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Life of one module that now and then stands still, is busy, is traced, or lives in a core that stands still; stepped
/// in tenths of a second. Panics when a rule is broken.
fn live(seed: u64) -> (bool, bool) {
    let mut random = Random(seed);
    let health = Health {
        interval: Duration::from_millis(100 + random.below(3000)),
        timeout: Duration::from_millis(100 + random.below(3000)),
        kill_after: Duration::from_millis(random.below(40_000)),
        ..Health::default()
    };
    let noticed = health.interval + health.timeout;
    let zero = Instant::now();
    let step = Duration::from_millis(100);
    let mut prober = Prober::new(health.clone(), zero);
    let (mut now, mut stuck_until, mut traced_until, mut asleep_until) = (zero, zero, zero, zero);
    // Since when it is silent for no good reason, as the rules have it; and since when at all.
    let (mut guilty, mut silent) = (zero, zero);
    // When there was something to excuse it last.
    let mut free = zero;
    // What a sleep of the core may add at most, of which only the round that was a second late is forgiven.
    let mut credit = Duration::ZERO;
    // A debugger is seen only when it is looked for, once in a cycle.
    let cycle = RENEW + LATE + noticed;
    let mut untraced = zero;
    let nap = RENEW.max(health.interval).max(health.timeout) + LATE;
    let (mut asked, mut probed) = (false, zero);
    let mut calls: Vec<(u64, Instant)> = Vec::new();
    let (mut ever_unresponsive, mut hung) = (false, false);
    for number in 0..3000 {
        now += step;
        if random.below(200) == 0 {
            stuck_until = now + Duration::from_millis(random.below(60_000));
        }
        if random.below(600) == 0 {
            traced_until = now + Duration::from_millis(random.below(60_000));
        }
        if random.below(300) == 0 {
            asleep_until = now + Duration::from_millis(1200 + random.below(50_000));
            credit += nap;
        }
        let (stuck, traced, asleep) = (now < stuck_until, now < traced_until, now < asleep_until);
        if asleep {
            // Nothing that happens meanwhile is seen, and it is no silence of the module's; where a call's deadline counts, it
            // counts through that, too.
            free = now;
            if calls.is_empty() {
                (guilty, silent) = (guilty + step, silent + step);
            }
            continue;
        }
        let mut inputs = Vec::new();
        if !stuck {
            if random.below(20) == 0 {
                inputs.push(Input::Responded);
            }
            if asked && random.below(3) > 0 {
                inputs.push(Input::Answered);
            }
            if let Some(place) = calls.len().checked_sub(1).filter(|_| random.below(10) == 0) {
                inputs.push(Input::Responded);
                inputs.push(Input::Ended {
                    call: calls.remove(place).0,
                });
            }
        }
        for (call, _) in calls.extract_if(.., |(_, until)| *until <= now) {
            inputs.push(Input::Ended { call });
        }
        if random.below(100) == 0 {
            let until = now + Duration::from_millis(random.below(50_000));
            calls.push((number, until));
            inputs.push(Input::Begun { call: number, until });
        }
        inputs.push(Input::Tick);
        untraced = if traced && calls.is_empty() { untraced } else { now };
        if now - untraced > cycle {
            guilty = now - cycle;
        }
        for input in inputs {
            if let Input::Responded | Input::Answered = input {
                (guilty, silent) = (now, now);
                credit = Duration::ZERO;
            }
            asked &= input != Input::Answered;
            let was = prober.unresponsive;
            let mut next = prober.handle(input, now);
            for _ in 0..4 {
                next = match next {
                    Some(Action::LookForTracer) => prober.handle(Input::Traced(traced.then_some(1)), now),
                    Some(Action::Gather) => prober.handle(Input::Gathered, now),
                    other => other,
                };
            }
            match next {
                Some(Action::Probe) => (asked, probed) = (true, now),
                Some(Action::Unresponsive { .. }) => {
                    assert!(!was, "seed {seed}: said twice");
                    assert!(asked && now - probed >= health.timeout, "seed {seed}: too early");
                    ever_unresponsive = true;
                }
                Some(Action::Answering) => assert!(was && input == Input::Answered, "seed {seed}: no news"),
                Some(Action::Hung { .. }) => {
                    assert!(was, "seed {seed}: hung without a word before");
                    assert!(!traced, "seed {seed}: ended under a debugger");
                    assert!(
                        now - guilty + credit >= health.kill_after,
                        "seed {seed}: ended too early"
                    );
                    hung = true;
                }
                Some(Action::LookForTracer | Action::Gather) => panic!("seed {seed}: looks for ever"),
                None => {}
            }
        }
        if hung {
            assert!(prober.deadline().is_none(), "seed {seed}: goes on after the end");
            assert_eq!(prober.handle(Input::Tick, now), None);
            break;
        }
        // Nobody hangs unnoticed: silence that nothing excuses is told in time, and ends the module in time.
        if traced || !calls.is_empty() {
            free = now;
        }
        let quiet = (now - silent).min(now - free);
        let late = step * 3 + LATE;
        assert!(
            quiet <= noticed + late || prober.unresponsive,
            "seed {seed}: silent for {quiet:?} and unnoticed",
        );
        assert!(
            quiet <= health.kill_after.max(noticed) + 2 * noticed + RENEW + late,
            "seed {seed}: silent for {quiet:?} and not ended",
        );
    }
    (ever_unresponsive, hung)
}

#[test]
fn whatever_happens_nobody_is_ended_without_cause_and_nobody_hangs_unnoticed() {
    let lives: Vec<_> = (0..3000).map(live).collect();
    let unresponsive = lives.iter().filter(|(unresponsive, _)| *unresponsive).count();
    let hung = lives.iter().filter(|(_, hung)| *hung).count();
    // A simulation in which nothing ever happens would show nothing.
    assert!(
        unresponsive > 1000 && hung > 300 && hung < 3000,
        "{unresponsive} {hung}"
    );
}

#[test]
fn other_limits_count_for_the_silence_that_is_under_way() {
    let zero = Instant::now();
    let at = |seconds: u64| zero + Duration::from_secs(seconds);
    let mut prober = Prober::new(Health::default(), zero);
    let (mut said, mut now) = (Vec::new(), zero);
    while !prober.unresponsive {
        now = prober.deadline().expect("it goes on");
        drive(&mut prober, Input::Tick, now, None, zero, &mut said);
    }
    assert!(now < at(10), "{said:?}");
    let health = Health {
        kill_after: Duration::from_secs(10),
        ..Health::default()
    };
    prober.treat(health, now);
    assert!(prober.deadline() <= Some(at(10)), "{:?}", prober.deadline());
    said.clear();
    for _ in 0..10 {
        let Some(due) = prober.deadline().filter(|due| *due <= at(12)) else {
            break;
        };
        drive(&mut prober, Input::Tick, due, None, zero, &mut said);
    }
    // The probe that was out when the time was over is waited for.
    assert_eq!(said, ["90:probe", "110:hung(11)"]);
}
