//! Documentation of the traits, held against the traits: rustdoc prints their methods as `async_trait` rewrites them, so
//! each trait's example shows all of them as an author writes them.

use std::{fs, path::Path};

/// A trait of a source file: its name, its documentation as one line, and its body.
struct Trait {
    name: String,
    docs: String,
    body: String,
}

fn traits(source: &str) -> Vec<Trait> {
    let lines: Vec<&str> = source.lines().collect();
    let starts = (0..lines.len()).filter(|&n| lines[n].starts_with("pub trait "));
    starts
        .map(|start| {
            let above = lines[..start].iter().rev();
            let mut docs: Vec<&str> = above
                .skip_while(|line| !line.starts_with("///"))
                .map_while(|line| line.strip_prefix("///"))
                .collect();
            docs.reverse();
            let one_line = lines[start].ends_with("{}");
            let body = lines[start + 1..].iter().take_while(|line| !one_line && **line != "}");
            let name = lines[start]["pub trait ".len()..].split([':', ' ', '<']).next();
            Trait {
                name: name.unwrap_or_default().to_owned(),
                docs: plain(&docs.join("\n")),
                body: body.fold(String::new(), |text, line| text + line + "\n"),
            }
        })
        .collect()
}

/// A text without the layout of rustfmt.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace("( ", "(").replace(", )", ")")
}

/// The signatures of all asynchronous methods that a model must have: those without a body, and not `optional`.
fn signatures(body: &str) -> Vec<String> {
    let mut wanted = Vec::new();
    let mut optional = false;
    for (at, _) in body.match_indices('\n') {
        let line = body[at + 1..].lines().next().unwrap_or_default();
        if line.starts_with("    #[rpc(") {
            optional = false;
        }
        optional |= line.contains(", optional");
        if line.starts_with("    async fn ") {
            let method = &body[at + 1..];
            let end = method.find([';', '{']).unwrap_or(method.len());
            if !optional && method[end..].starts_with(';') {
                wanted.push(plain(&method[..end]));
            }
        }
    }
    wanted
}

#[test]
fn the_example_of_each_trait_shows_every_method_that_a_model_needs() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let apis = fs::read_dir(source.join("api")).expect("src/api").flatten();
    let apis = apis.map(|entry| entry.path()).filter(|path| path.is_file());
    let files = apis.chain([source.join("resource.rs")]);
    let (mut seen, mut missing) = (0, Vec::new());
    for file in files {
        for Trait { name, docs, body } in traits(&fs::read_to_string(&file).expect("a source file")) {
            // `Implements` and `ResourceApi` are not for models.
            if matches!(&*name, "Implements" | "ResourceApi") {
                continue;
            }
            assert!(docs.contains("use mainstay_module::"), "{name} has no example");
            for signature in signatures(&body) {
                seen += 1;
                if !docs.contains(&signature) {
                    missing.push(format!("{name}: {signature}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(seen > 30, "{seen} methods were found");
}
