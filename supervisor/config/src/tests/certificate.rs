//! Tests of the messages about a configured certificate.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use mainstay_model::Tls;
use mainstay_pki::authority::Authority;

use super::{all_lines, read};
use crate::{certificate, load};

#[test]
fn files_that_cannot_be_served_refuse_the_config_at_their_place_and_no_other_runs_in_its_stead() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::at(folder.path().join("keys"));
    let hosts = ["rover".to_owned()];
    authority.init("rover", &hosts, SystemTime::now()).expect("made");
    fs::copy(authority.machine_file(), folder.path().join("rover.pem")).expect("copied");
    let file = folder.path().join("r.yaml");
    let load = |network: &str| {
        fs::write(&file, format!("network: {network}\n")).expect("written");
        load(&file)
    };
    let good = "{tls_cert_file: rover.pem, tls_key_file: ./rover.pem}";
    let loaded = load(good).unwrap_or_else(|refused| panic!("{refused}"));
    let found = folder.path().join("rover.pem");
    assert_eq!(
        loaded.config.network.tls,
        Tls::Files {
            certificate: found.clone(),
            key: found
        },
        "relative paths begin at the config"
    );
    assert!(loaded.diagnostics.is_empty(), "{:?}", loaded.diagnostics);
    for (network, place, text) in [
        (
            "{tls_cert_file: none.pem, tls_key_file: rover.pem}",
            "1:26",
            "none.pem`: No such file",
        ),
        (
            "{tls_cert_file: rover.pem, tls_key_file: none.key}",
            "1:51",
            "none.key`: No such file",
        ),
        (
            "{tls_cert_file: rover.pem, tls_key_file: r.yaml}",
            "1:51",
            "r.yaml` holds no private key",
        ),
    ] {
        let refused = load(network).expect_err(network);
        let line = refused.diagnostics[0].line();
        assert!(
            line.contains(&format!("r.yaml:{place}:")) && line.contains(text),
            "{line}"
        );
        assert!(refused.asks_for_protection());
        let cleartext = network.replace('}', ", no_tls: true}");
        assert!(load(&cleartext).is_ok(), "nobody is shown it");
    }
}

#[test]
fn a_certificate_that_does_not_count_today_is_a_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::at(folder.path().join("keys"));
    let now = SystemTime::now();
    authority.init("rover", &["rover".to_owned()], now).expect("made");
    let file = authority.machine_file();
    let text = format!("network: {{tls_cert_file: {0}, tls_key_file: {0}}}", file.display());
    let config = read("r.yaml", &text)
        .unwrap_or_else(|refused| panic!("{refused}"))
        .config;
    let year = Duration::from_secs(400 * 86_400);
    for (at, text) in [
        (now, ""),
        (now + year, "machine.pem` has expired on "),
        (now - year, "machine.pem` is not valid before "),
    ] {
        let line = certificate::check(&config, at)
            .map(|warning| warning.line())
            .unwrap_or_default();
        assert!(line.contains(text) && line.is_empty() == text.is_empty(), "{line}");
    }
}

#[test]
fn there_is_one_answer_to_where_the_certificate_comes_from() {
    let cases: [(&str, &[&str]); 4] = [
        ("network: {tls: own, fqdn: rover.example}", &[]),
        (
            "network: {tls: own, tls_cert_file: a, tls_key_file: b}",
            &[
                "Refused r.yaml:1:16: `tls: own` and a certificate in files are two answers to one question (remove one of them)",
            ],
        ),
        (
            "network: {tls: auto}",
            &["Refused r.yaml:1:16: `tls` cannot be `auto` (it is `own`)"],
        ),
        (
            "network: {tls_key_file: a}",
            &["Refused r.yaml:1:10: must provide both tls_cert_file and tls_key_file"],
        ),
    ];
    for (text, wanted) in cases {
        assert_eq!(all_lines("r.yaml", text), wanted, "{text}");
    }
    let own = read("r.yaml", "network: {tls: own}").expect("a config").config.network;
    assert_eq!(
        (own.tls_in_force(), Path::new(&*own.tls_places[0].file)),
        (&Tls::Own, Path::new("r.yaml"))
    );
    let off = read("r.yaml", "network: {tls: own, no_tls: true}")
        .expect("a config")
        .config
        .network;
    assert_eq!(off.tls_in_force(), &Tls::None);
}
