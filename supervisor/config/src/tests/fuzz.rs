//! Any bytes: the files of `corpus/`, changed at random for some seconds. Nothing panics, hangs or grows without bound.
//!
//! `FUZZ_SECONDS` says for how long (`cargo xtask test` takes 30), `FUZZ_SEED` where to start; a finding is shown with its
//! bytes, to be put into the corpus.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use mainstay_wire::entry::component_config;

use super::PIECES;
use crate::bundle::ConfigFiles;
use crate::load::parse;
use crate::load_context::LoadContext;

/// Far more than one config needs on the busiest machine.
const LIMIT: Duration = Duration::from_secs(20);
/// Configs do not grow beyond this by being changed, in bytes.
const LONGEST: usize = 1 << 14;

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`, or 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }
}

/// Changes some bytes.
fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], chance: &mut Chance) {
    let at = chance.below(bytes.len() + 1);
    let end = (at + 1 + chance.below(20)).min(bytes.len());
    match chance.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 => drop(bytes.drain(at..end)),
        2 => {
            let piece = bytes[at..end].to_vec();
            let to = chance.below(bytes.len() + 1);
            bytes.splice(to..to, piece);
        }
        3 => bytes.truncate(at),
        4 => {
            let other = &others[chance.below(others.len())];
            let from = chance.below(other.len());
            let until = (from + chance.below(200)).min(other.len());
            bytes.splice(at..end, other[from..until].iter().copied());
        }
        _ => {
            let piece = PIECES[chance.below(PIECES.len())];
            let end = if chance.below(2) == 0 { at } else { end };
            bytes.splice(at..end, piece.bytes());
        }
    }
    bytes.truncate(LONGEST);
}

fn context() -> LoadContext {
    let environment = [
        ("A", "a"),
        ("PORT", "8081"),
        ("LONG", &"long ".repeat(500)),
        ("STRUCTURE", "{name: a, type: arm, model: fake}, [}"),
        ("QUOTE", "a\"b'c"),
        ("LINES", "one\ntwo: [\n\t- x"),
    ];
    super::context(&environment)
}

/// Reads the bytes as a config of each format and shows what is said about it.
fn survive(bytes: &[u8], context: &LoadContext) {
    for name in ["r.json", "r.yaml", "robot"] {
        let bundle = ConfigFiles::gather_with(Path::new(name), &context.environment, &mut |path| {
            // What it includes is itself under another name, or not there.
            match path.to_str() {
                Some(path) if path == name || path == "other.yaml" => Ok(bytes.to_vec()),
                _ => Err(std::io::ErrorKind::NotFound.into()),
            }
        });
        let diagnostics = match bundle.and_then(|bundle| parse(&bundle, context)) {
            Ok(loaded) => {
                for resource in &loaded.config.resources {
                    assert_eq!(component_config(resource).is_err(), resource.fault.is_some());
                }
                loaded.diagnostics
            }
            Err(refused) => {
                assert!(!refused.diagnostics.is_empty(), "refused without a reason");
                refused.diagnostics
            }
        };
        for diagnostic in diagnostics.iter().take(10) {
            let _ = diagnostic.render(true);
        }
    }
}

#[test]
fn any_bytes_are_read_or_refused_in_good_time() {
    let number = |name: &str, default: u64| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let (seconds, seed) = (number("FUZZ_SECONDS", 2), number("FUZZ_SEED", 5));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/corpus");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a file")).collect();
    assert!(corpus.len() >= 6, "{paths:?}");
    let context = context();
    let mut chance = Chance(seed);
    let end = Instant::now() + Duration::from_secs(seconds);
    // The corpus itself first, then what becomes of it; what is changed is changed further for a while.
    let mut inputs: Vec<Vec<u8>> = corpus.clone();
    inputs.reverse();
    let mut now = Vec::new();
    for round in 0_u64.. {
        match inputs.pop() {
            Some(input) => now = input,
            None if Instant::now() > end => break,
            None => {
                if round % 16 == 0 {
                    now.clone_from(&corpus[chance.below(corpus.len())]);
                }
                for _ in 0..=chance.below(3) {
                    change(&mut now, &corpus, &mut chance);
                }
            }
        }
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| survive(&now, &context)));
        assert!(
            outcome.is_ok() && start.elapsed() < LIMIT,
            "round {round} of seed {seed}, {:?}: {}",
            start.elapsed(),
            now.escape_ascii()
        );
    }
}
