//! README and the pages for users, executed: configs are checked, commands are run and their output compared, programs
//! are built and run, page by page and in the order of the page.
//!
//! How a block is treated is told by the words behind its fence:
//!
//! | Block | Is |
//! |---|---|
//! | `yaml`, `json` | a whole config: `mainstay check` finds it good |
//! | `yaml fragment` | part of a config: good together with the config before it on the page; programs that it names are made |
//! | `yaml faulty` | a config that `mainstay check` complains about |
//! | `console` | commands (`$ …`), each with what it prints by the rules of `transcript`; `mainstay run` starts the machine that the following commands talk to |
//! | `console fails` | the same; the last one ends with another exit code than 0 |
//! | `console not-run` | commands that change this host or take too long |
//! | `rust`, `toml`, `proto`, `python`, `sh`, and `json` with a name | a file, by the name in its first comment or behind the fence |

mod page;

use std::collections::BTreeSet;
use std::fs;

use page::{Counts, Page, repository};

/// Every page, with the least that must have been run of it: configs, commands, files.
const PAGES: [(&str, Counts); 14] = [
    ("README.md", Counts::new(2, 6, 3)),
    ("docs/access.md", Counts::new(2, 5, 1)),
    ("docs/changing.md", Counts::new(4, 13, 0)),
    ("docs/cli.md", Counts::new(1, 16, 0)),
    ("docs/config-files.md", Counts::new(7, 3, 0)),
    ("docs/config.md", Counts::new(0, 0, 0)),
    ("docs/custom-api.md", Counts::new(1, 3, 4)),
    ("docs/differences.md", Counts::new(0, 0, 0)),
    ("docs/network.md", Counts::new(1, 8, 1)),
    ("docs/modules.md", Counts::new(5, 14, 4)),
    ("docs/parts.md", Counts::new(0, 0, 0)),
    ("docs/remotes.md", Counts::new(2, 0, 0)),
    ("docs/rest.md", Counts::new(1, 9, 0)),
    ("docs/service.md", Counts::new(0, 0, 0)),
];

/// Pages for engineers, whose links are followed, too.
const INTERNAL: [&str; 6] = [
    "ARCHITECTURE.md",
    "tests/README.md",
    "docs/internals/calls.md",
    "docs/internals/decisions.md",
    "docs/internals/limits.md",
    "docs/internals/processes.md",
];

async fn does_what_it_says(name: &str) {
    let least = PAGES.iter().find(|(page, _)| *page == name).map(|(_, least)| least);
    let ran = Page::read(name).run().await;
    let least = least.expect("a page of the list");
    assert!(ran.at_least(least), "{name}: {ran:?} were run, of at least {least:?}");
}

#[tokio::test]
async fn readme_does_what_it_says() {
    does_what_it_says("README.md").await;
}

#[tokio::test]
async fn the_page_about_other_machines_does_what_it_says() {
    does_what_it_says("docs/remotes.md").await;
}

#[tokio::test]
async fn the_page_about_access_does_what_it_says() {
    does_what_it_says("docs/access.md").await;
}

#[tokio::test]
async fn the_page_about_the_network_does_what_it_says() {
    does_what_it_says("docs/network.md").await;
}

#[tokio::test]
async fn the_page_about_rest_does_what_it_says() {
    does_what_it_says("docs/rest.md").await;
}

#[tokio::test]
async fn the_page_about_changing_a_machine_does_what_it_says() {
    does_what_it_says("docs/changing.md").await;
}

#[tokio::test]
async fn the_page_about_the_command_line_does_what_it_says() {
    does_what_it_says("docs/cli.md").await;
}

#[tokio::test]
async fn the_page_about_config_files_does_what_it_says() {
    does_what_it_says("docs/config-files.md").await;
}

#[tokio::test]
async fn the_page_about_custom_apis_does_what_it_says() {
    does_what_it_says("docs/custom-api.md").await;
}

#[tokio::test]
async fn the_page_about_modules_does_what_it_says() {
    does_what_it_says("docs/modules.md").await;
}

#[tokio::test]
async fn the_pages_without_a_machine_have_no_block_that_is_not_known() {
    for name in [
        "docs/config.md",
        "docs/differences.md",
        "docs/parts.md",
        "docs/service.md",
    ] {
        does_what_it_says(name).await;
    }
}

#[test]
fn every_page_is_in_the_list_is_reached_from_readme_and_leads_nowhere_wrong() {
    let listed: BTreeSet<String> = PAGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let there = fs::read_dir(repository().join("docs")).expect("docs/").flatten();
    let mut there: BTreeSet<String> = there
        .filter_map(|entry| Some(format!("docs/{}", entry.file_name().to_str()?)))
        .filter(|name| name.ends_with(".md"))
        .collect();
    there.insert("README.md".to_owned());
    assert_eq!(listed, there);
    let read = |name: &str| fs::read_to_string(repository().join(name)).expect("the page is there");
    for (name, most) in [("README.md", 150), ("ARCHITECTURE.md", 200)] {
        let lines = read(name).lines().count();
        assert!(lines <= most, "{name} has {lines} lines, of {most} at most");
    }
    let readme = read("README.md");
    for name in listed.iter().filter(|name| *name != "README.md") {
        assert!(readme.contains(&format!("({name}")), "README does not lead to {name}");
    }
    let all = listed.iter().map(String::as_str).chain(INTERNAL);
    let wrong: Vec<String> = all.flat_map(page::broken_links).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
