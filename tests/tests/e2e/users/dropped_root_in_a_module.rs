//! A module that changes its user by itself is pointed to the key that does it for it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::world::Place;

#[tokio::test]
async fn a_module_that_changes_its_user_by_itself_is_pointed_to_the_sandbox() {
    if !nix::unistd::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return;
    }
    let place = Place::new();
    let program = place.write(
        "drops.sh",
        "#!/bin/sh\nexec /usr/bin/setpriv --reuid 65534 --clear-groups /bin/sh -c 'exit 3'\n",
    );
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("ours");
    let mut world = place.start(Machine::new().module(Module::new("drops", &program))).await;
    let now = world
        .until(|now| now.module_error("drops").contains("sandbox.user"))
        .await;
    let error = now.module_error("drops");
    assert!(error.contains("changed its user to 65534"), "{error}");
    world.shutdown().await.with_code(0).left_nothing_behind();
}
