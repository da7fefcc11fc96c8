//! Programs of other hosts are named as what they are, instead of being read by a shell.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use mainstay_tests::machine::{Machine, Module};
use mainstay_tests::world::Place;

#[tokio::test]
async fn a_program_that_cannot_run_here_says_what_it_is() {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(18, 0);
    elf[16] = 2;
    // No machine has this number, so nobody has registered an emulator for it.
    let mut foreign = elf.clone();
    foreign.extend([0xBA, 0xFE]);
    foreign.resize(128, 0);
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("mainframe", foreign, "built for ELF machine 65210, this is "),
        ("windows", b"MZ\x90\0".to_vec(), "built for Windows"),
        ("line-ends", b"#!/bin/sh\r\necho hello\r\n".to_vec(), "carriage return"),
        (
            "env",
            b"#!/usr/bin/env python3\r\nimport os\r\n".to_vec(),
            "carriage return",
        ),
        ("mark", b"\xef\xbb\xbf#!/bin/sh\nexit 3\n".to_vec(), "byte order mark"),
    ];
    let place = Place::new();
    let mut machine = Machine::new();
    for (name, bytes, _) in &cases {
        let path = place.file(name);
        fs::write(&path, bytes).expect("writable");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("ours");
        machine = machine.module(Module::new(name, &path));
    }
    let mut world = place.start(machine).await;
    for (name, _, expected) in &cases {
        let now = world.until(|now| !now.module_error(name).is_empty()).await;
        let error = now.module_error(name);
        assert!(
            error.contains("cannot run") && error.contains(expected),
            "{name}: {error}"
        );
    }
    world.shutdown().await.with_code(0).left_nothing_behind();
}
