//! Somebody typed half a command line into bash and pressed Tab.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use mainstay_tests::bins;
use mainstay_tests::machine::{Machine, Resource};
use mainstay_tests::place::{Finished, Place, finish};
use mainstay_tests::world::World;

/// Presses Tab behind `line`, in a bash that has `mainstay` in its path and has read the script of completions.
async fn tab(place: &Place, line: &str) -> Finished {
    let folder = place.file("bin");
    if fs::create_dir(&folder).is_ok() {
        symlink(bins::mainstay(), folder.join("mainstay")).expect("a folder of ours");
    }
    let script = format!(
        r#"
PATH="{}:$PATH"
source <(mainstay completions bash)
words='{line}'
COMP_WORDS=($words); [[ "$words" == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_TYPE=9
function=$(complete -p mainstay); function=${{function#*-F }}; function=${{function%% *}}
"$function" mainstay "${{COMP_WORDS[COMP_CWORD]}}" "${{COMP_WORDS[COMP_CWORD-1]}}"
printf '%s\n' "${{COMPREPLY[@]}}"
"#,
        folder.display()
    );
    let mut command = place.command("/bin/bash".as_ref());
    command.args(["--norc", "-c", &script]);
    finish(command).await
}

fn candidates(finished: &Finished) -> Vec<&str> {
    assert_eq!((finished.code, &*finished.stderr), (0, ""), "{finished:?}");
    finished.stdout.lines().filter(|line| !line.is_empty()).collect()
}

#[tokio::test]
async fn names_of_the_running_machine_complete() {
    let machine = Machine::new()
        .resource(Resource::fake("left", "motor"))
        .resource(Resource::fake("right", "motor"))
        .resource(Resource::fake("left-eye", "camera"));
    let world = World::settled(machine).await;
    for (line, wanted) in [
        ("mainstay call le", &["left", "left-eye"][..]),
        ("mainstay status ri", &["right"]),
        ("mainstay restart ", &["builtin:fake"]),
        ("mainstay events buil", &["builtin:fake"]),
        ("mainstay expl", &["explain"]),
    ] {
        let shown = tab(&world.place, line).await;
        let shown = candidates(&shown).into_iter().filter(|word| !word.starts_with('-'));
        assert_eq!(shown.collect::<Vec<_>>(), wanted, "{line}");
    }
    let elsewhere = tab(&world.place, "mainstay call --machine other.yaml le").await;
    assert_eq!(candidates(&elsewhere), [] as [&str; 0]);
    world.shutdown().await.with_code(0).left_nothing_behind();
}

#[tokio::test]
async fn without_a_machine_nothing_is_said_and_nobody_waits() {
    let place = Place::new();
    let begun = Instant::now();
    let shown = tab(&place, "mainstay call le").await;
    assert_eq!(candidates(&shown), [] as [&str; 0]);
    let deaf = tab(&place, "mainstay call --address 127.0.0.1:1 le").await;
    assert_eq!(candidates(&deaf), [] as [&str; 0]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}
