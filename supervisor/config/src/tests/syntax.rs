//! Tests of the diagnostics about texts that are no JSON or no YAML, to the letter.

use super::{check, lines};

#[test]
fn what_is_no_json_is_refused_with_the_place_and_the_cure() {
    check(
        "r.json",
        &[
            (
                "",
                &["Refused r.json: the config is empty (an empty machine is written {})"],
            ),
            (
                " \n",
                &["Refused r.json: the config is empty (an empty machine is written {})"],
            ),
            (
                "null",
                &["Refused r.json: the config is empty (an empty machine is written {})"],
            ),
            (
                "[]",
                &["Refused r.json:1:1: the config must be a map of keys and values, but is a list"],
            ),
            (
                "{",
                &["Refused r.json:1:2: the file ends where a key in double quotes is expected (is it complete?)"],
            ),
            (
                "{\"a\"",
                &["Refused r.json:1:5: the file ends where `:` after the key is expected (is it complete?)"],
            ),
            (
                "{\"a\": ",
                &["Refused r.json:1:7: the file ends where a value is expected (is it complete?)"],
            ),
            (
                "{\"modules\": [1,]}",
                &["Refused r.json:1:16: expected a value, found `]` (is there a comma too many before it?)"],
            ),
            (
                "{\"a\": 1 \"b\": 2}",
                &[
                    "Refused r.json:1:9: expected `,` or `}` after the value, found `\"` (is a comma missing before it?)",
                ],
            ),
            (
                "{\n  // x\n}",
                &[
                    "Refused r.json:2:3: expected a key in double quotes, found `/` (JSON has no comments; remove it, or write the config in YAML)",
                ],
            ),
            (
                "{'a': 1}",
                &["Refused r.json:1:2: expected a key in double quotes, found `'` (JSON puts texts in double quotes)"],
            ),
            ("{\"a\": True}", &["Refused r.json:1:7: expected a value, found `True`"]),
            ("{\"a\": nul}", &["Refused r.json:1:7: expected a value, found `nul`"]),
            (
                "{\"a\": 01}",
                &[
                    "Refused r.json:1:7: this is no JSON number (numbers look like 0, -1, 2.5 or 1e3, without leading zeros)",
                ],
            ),
            (
                "{\"a\": -}",
                &[
                    "Refused r.json:1:7: this is no JSON number (numbers look like 0, -1, 2.5 or 1e3, without leading zeros)",
                ],
            ),
            ("{\"a\": 1e999}", &["Refused r.json:1:7: this number is too large"]),
            (
                "{\"a\": \"x\n\"}",
                &[
                    "Refused r.json:1:7: this text is never closed (texts end with a double quote on the same line; write \\n for a line break, \\t for a tab)",
                ],
            ),
            (
                "{\"a\": \"\\x\"}",
                &[
                    "Refused r.json:1:8: this escape is unknown (JSON knows \\\" \\\\ \\/ \\b \\f \\n \\r \\t and \\u0000; a backslash itself is written \\\\)",
                ],
            ),
            (
                "{\"a\": \"\\u12\"}",
                &["Refused r.json:1:8: `\\u` needs four hexadecimal digits"],
            ),
            ("{\"é\": ü}", &["Refused r.json:1:7: expected a value, found `ü`"]),
        ],
    );
    assert_eq!(
        lines("r.json", &"[".repeat(200)),
        ["Refused r.json:1:101: more than 100 lists and maps inside each other"]
    );
}

#[test]
fn what_is_no_yaml_is_refused_with_the_place_and_the_cure() {
    check(
        "r.yaml",
        &[
            (
                "",
                &["Refused r.yaml: the config is empty (an empty machine is written {})"],
            ),
            (
                "# only a comment\n---\n",
                &["Refused r.yaml: the config is empty (an empty machine is written {})"],
            ),
            (
                "- a",
                &["Refused r.yaml:1:1: the config must be a map of keys and values, but is a list"],
            ),
            (
                "a: &x [*x]",
                &["Refused r.yaml:1:8: this alias lies inside what it stands for"],
            ),
            (
                "[a]: 1",
                &["Refused r.yaml:1:1: a key must be a text, not a list or map"],
            ),
            (
                "debug: !robot true",
                &["Refused r.yaml:1:15: the tag `!robot` does not fit here (remove it)"],
            ),
            (
                "<<: 1",
                &["Refused r.yaml:1:5: `<<` takes a map or a list of maps (for example `<<: *defaults`)"],
            ),
            (
                "debug: true\n---\ndebug: false",
                &["Warning r.yaml:2:1: a second YAML document begins here and counts for nothing (remove the `---`)"],
            ),
        ],
    );
    let tab = lines("r.yaml", "modules:\n\t- name: x\n");
    assert!(
        tab[0].starts_with("Refused r.yaml:2:") && tab[0].ends_with("(YAML indents with blanks, not with tabs)"),
        "{tab:?}"
    );
    let colon = lines("r.yaml", "revision: a: b\n");
    assert!(
        colon[0].ends_with("(put texts that contain `: ` in quotes)"),
        "{colon:?}"
    );
    for (text, help) in [
        (
            "components:\n- {name: a, api: rdk:component:motor\n",
            "(close it with `}`)",
        ),
        ("components: [\n", "(close it with `]`)"),
        ("a: [1, 2\nb: 3\n", "(is a bracket before it not closed?)"),
        (
            "components: [\n  {name: m},\nnetwork:\n  bind_address: ':1'\n",
            "(is a bracket before it not closed?)",
        ),
    ] {
        let said = lines("r.yaml", text);
        assert!(said[0].ends_with(help), "{said:?}");
    }
    let deep = lines("r.yaml", &"[".repeat(200));
    assert!(deep.len() == 1 && deep[0].starts_with("Refused r.yaml:1:"), "{deep:?}");
}
