//! The state folder does not grow with what was tried once.

use std::fs;

use mainstay_tests::machine::Machine;
use mainstay_tests::world::Place;

#[tokio::test]
async fn check_and_refused_starts_leave_nothing_in_the_state_folder() {
    let place = Place::new();
    let config = place.write("machine.json", &Machine::new().json().to_string());
    let config = config.to_str().expect("UTF-8");
    let checked = place.mainstay(&["check", config]).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    let refused = place.run_to_the_end("broken.json", "{").await;
    assert_eq!(refused.code, 1, "{refused:?}");
    let left: Vec<_> = fs::read_dir(place.file("state"))
        .into_iter()
        .flatten()
        .flatten()
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
