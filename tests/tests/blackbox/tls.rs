//! HTTPS: with an authority of the test's own, certificates that change while the server runs, and files that can not be used.

mod behind;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use florin_tests::server::{Ended, TestServer, florin, run, run_command};
use tempfile::TempDir;

/// An authority and the certificates that it signs.
struct Authority {
    directory: TempDir,
}

impl Authority {
    fn new() -> Authority {
        let directory = TempDir::with_prefix("florin-test-").expect("a temporary directory");
        let authority = Authority { directory };
        authority.openssl(
            "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=Test \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem",
        );
        authority
    }

    fn openssl(&self, words: &str) -> Ended {
        let mut openssl = Command::new("openssl");
        openssl.args(words.split_whitespace()).current_dir(self.directory.path());
        let ended = run_command(openssl);
        assert_eq!(ended.code, Some(0), "openssl {words}: {ended:?}");
        ended
    }

    /// Signs a certificate for 127.0.0.1 with this serial number: `NAME.pem` and `NAME.key`.
    fn sign(&self, name: &str, serial: u32) {
        fs::write(self.path("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            .expect("the directory is ours");
        self.openssl(&format!(
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=florin -keyout {name}.key -out {name}.csr"
        ));
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -days 1 -set_serial {serial} -extfile names -out {name}.pem"
        ));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).to_str().expect("temporary names are plain").to_owned()
    }

    fn serve(&self, name: &str) -> TestServer {
        let (cert, key) = (self.word(&format!("{name}.pem")), self.word(&format!("{name}.key")));
        TestServer::start_with(&["--tls-cert", &cert, "--tls-key", &key])
    }

    /// What a client that knows this authority is told on a new connection.
    fn handshake(&self, server: &TestServer, words: &str) -> Ended {
        let mut client = Command::new("openssl");
        let address = server.address().to_string();
        client
            .args(["s_client", "-connect", &address, "-verify_return_error", "-CAfile"])
            .arg(self.path("ca.pem"))
            .args(words.split_whitespace())
            .stdin(std::process::Stdio::null());
        run_command(client)
    }

    /// The serial number of the certificate that a new connection is shown.
    fn serial(&self, server: &TestServer) -> String {
        let script = format!(
            "openssl s_client -connect {} -CAfile ca.pem </dev/null 2>/dev/null | openssl x509 -noout -serial",
            server.address()
        );
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]).current_dir(self.directory.path());
        run_command(shell).stdout.trim().replace("serial=", "")
    }
}

fn curl(server: &TestServer, ca: &Path, words: &[&str]) -> Ended {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--noproxy", "*", "--cacert"]).arg(ca).args(words);
    curl.arg(format!("https://{}/v1/ledgers", server.address()));
    run_command(curl)
}

#[test]
fn https_is_spoken_with_those_who_trust_the_certificate() {
    let authority = Authority::new();
    authority.sign("one", 1);
    let server = authority.serve("one");
    for words in [&["--tlsv1.3"][..], &["--tlsv1.2", "--tls-max", "1.2"]] {
        let told = curl(&server, &authority.path("ca.pem"), words);
        assert_eq!(told.code, Some(0), "{told:?}");
        assert!(told.stdout.contains("USD"), "{told:?}");
    }
    let told = curl(&server, &Authority::new().path("ca.pem"), &[]);
    assert_eq!(told.code, Some(60), "another authority is not trusted: {told:?}");
    let old = authority.handshake(&server, "-tls1_1 -cipher ALL:@SECLEVEL=0");
    assert_ne!(old.code, Some(0), "{old:?}");
    let agreed = authority.handshake(&server, "-alpn h2,http/1.1");
    assert!(agreed.stdout.contains("ALPN protocol: http/1.1"), "{agreed:?}");
    // Plain HTTP gets nothing there.
    let plain = server.client().request("GET /v1/ledgers").try_send(());
    assert!(plain.is_err(), "{plain:?}");
}

#[test]
fn the_verbs_speak_https() {
    let authority = Authority::new();
    authority.sign("one", 1);
    let server = authority.serve("one");
    let url = format!("https://{}", server.address());
    let ca = authority.word("ca.pem");
    for words in [
        &["health"][..],
        &["account", "create", "--id", "5"],
        &["balance", "5"],
        &["transfer", "list"],
    ] {
        let done = run(&[words, &["--url", &url, "--ca-cert", &ca]].concat());
        assert_eq!(done.code, Some(0), "{words:?}: {done:?}");
    }
    let mut health = florin(&["health", "--url", &url]);
    health.env("FLORIN_CA_CERT", &ca);
    assert_eq!(run_command(health).code, Some(0));
    // By the system's authorities, or another one, it is not trusted.
    let stranger = Authority::new();
    let other = stranger.word("ca.pem");
    for words in [&["health"][..], &["health", "--ca-cert", &other]] {
        let refused = run(&[words, &["--url", &url]].concat());
        assert_eq!(refused.code, Some(1), "{words:?}: {refused:?}");
        assert!(refused.stderr.contains("--ca-cert"), "{refused:?}");
    }
    let missing = run(&["health", "--url", &url, "--ca-cert", "/nonexistent/ca.pem"]);
    assert!(missing.stderr.contains("/nonexistent/ca.pem"), "{missing:?}");
}

#[test]
fn a_hangup_brings_the_new_certificate() {
    let authority = Authority::new();
    authority.sign("one", 1);
    authority.sign("two", 2);
    let server = authority.serve("one");
    assert_eq!(authority.serial(&server), "01");
    for end in ["pem", "key"] {
        let from = authority.path(&format!("two.{end}"));
        fs::copy(from, authority.path(&format!("one.{end}"))).unwrap();
    }
    server.reread("the certificate was reread");
    assert_eq!(authority.serial(&server), "02");
    // What can not be used changes nothing, and is said.
    fs::write(authority.path("one.pem"), "").unwrap();
    server.reread("the certificate stays as it was");
    assert_eq!(authority.serial(&server), "02");
    assert_eq!(curl(&server, &authority.path("ca.pem"), &[]).code, Some(0));
}

#[test]
fn files_that_can_not_be_used_stop_the_start() {
    let authority = Authority::new();
    authority.sign("one", 1);
    authority.sign("two", 2);
    fs::write(authority.path("empty"), "").unwrap();
    let torn = fs::read_to_string(authority.path("one.pem")).unwrap().replace("MI", "QQ");
    fs::write(authority.path("torn"), torn).unwrap();
    let data = authority.word("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", &data];
    for (cert, key, expected) in [
        ("nothing", "one.key", "cannot read the certificate"),
        ("one.pem", "nothing", "cannot read the private key"),
        ("one.pem", "two.key", "does not belong to"),
        ("empty", "one.key", "has no certificate"),
        ("one.key", "one.key", "has no certificate"),
        ("torn", "one.key", "can not be read"),
        ("one.pem", "empty", "has no private key"),
        ("one.pem", "one.pem", "has no private key"),
    ] {
        let (cert, key) = (authority.word(cert), authority.word(key));
        let ended = run(&[&serve[..], &["--tls-cert", &cert, "--tls-key", &key]].concat());
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.contains(expected), "no {expected}: {ended:?}");
        assert!(!ended.stderr.contains("PRIVATE"), "{ended:?}");
        assert!(!Path::new(&data).exists(), "nothing was touched");
    }
    let half = run(&[&serve[..], &["--tls-cert", &authority.word("one.pem")]].concat());
    assert_eq!(half.code, Some(2), "{half:?}");
    assert!(half.stderr.contains("--tls-key"), "{half:?}");
}
