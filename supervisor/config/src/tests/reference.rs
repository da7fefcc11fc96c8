//! The page of all keys against the tables that it is made of, and against the one in the repository.

use std::fs;
use std::path::Path;

use crate::keys::{self, ValueType};
use crate::reference::reference;

/// A page of the repository.
pub(super) fn page(name: &str) -> String {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut paths = folders.map(|folder| folder.join(name)).filter(|path| path.exists());
    fs::read_to_string(paths.next().expect("a file of the repository")).expect("a text")
}

#[test]
fn the_page_in_the_repository_is_the_one_that_is_generated() {
    let (committed, generated) = (page("docs/config.md"), reference());
    let (old, new) = (committed.lines(), generated.lines());
    let same = old.zip(new).take_while(|(old, new)| old == new).count();
    assert!(
        committed == generated,
        "docs/config.md:{}: not what the tables of keys say; renew it with\n  \
         cargo run -p mainstay -- schema --markdown > docs/config.md",
        same + 1
    );
}

#[test]
fn every_key_stands_in_the_page_with_its_meaning_and_every_link_leads_to_a_heading() {
    let page = reference();
    for section in keys::all().values() {
        let keys = section
            .keys
            .iter()
            .filter(|key| !matches!(key.takes, ValueType::Ignored));
        for key in keys {
            let name = format!("| `{}` |", key.name);
            let told = |line: &str| line.starts_with(&name) && line.contains(key.about);
            assert!(page.lines().any(told), "{}.{}", section.id, key.name);
        }
    }
    let headings = page.lines().filter_map(|line| line.strip_prefix("## "));
    let anchors: Vec<String> = headings
        .map(|heading| heading.to_lowercase().replace(['.', '(', ')'], "").replace(' ', "-"))
        .collect();
    let links = page.split("](#").skip(1).filter_map(|rest| rest.split(')').next());
    let broken: Vec<&str> = links
        .filter(|link| !anchors.iter().any(|anchor| anchor == link))
        .collect();
    assert!(broken.is_empty(), "{broken:?}");
}
