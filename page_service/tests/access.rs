//! Who is let in, and over what: passwords, TLS, channel binding.

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use common::{Raw, client_config, connect, serve};
use page_service::messages::{frontend, write_ssl_request, write_startup};
use page_service::scram::{Users, Verifier};
use page_service::{
    ChannelBinding, Client, ClientConfig, ClientError, ClientTls, Config, ServerHandle, ServerTls, ServerTlsError,
    Verify,
};
use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};
use tempfile::TempDir;

const PASSWORD: &str = "open sesame";

fn users() -> Users {
    Users::new([("ali".to_owned(), Verifier::of_password(PASSWORD))], &[7; 32])
}

/// A self-signed certificate for `localhost`, its key, and where they lie.
struct Files {
    _dir: TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn of(algorithm: &'static SignatureAlgorithm) -> Files {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files { certificate: dir.path().join("server.crt"), key: dir.path().join("server.key"), _dir: dir };
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(&files.certificate, certificate.pem()).expect("write");
        fs::write(&files.key, key.serialize_pem()).expect("write");
        files.protect(0o600);
        files
    }

    fn new() -> Files {
        Files::of(&rcgen::PKCS_ECDSA_P256_SHA256)
    }

    fn protect(&self, mode: u32) {
        fs::set_permissions(&self.key, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    fn load(&self) -> Result<ServerTls, ServerTlsError> {
        ServerTls::from_files(&self.certificate, &self.key)
    }

    fn serve(&self, require_tls: bool) -> ServerHandle {
        let tls = Some(self.load().expect("usable"));
        serve(Config { users: Some(users()), tls, require_tls, ..Config::default() })
    }

    fn verify_full(&self) -> ClientTls {
        ClientTls::required("localhost", Verify::Full(self.certificate.clone()))
    }
}

fn ali() -> ClientConfig {
    ClientConfig { user: "ali".to_owned(), password: Some(PASSWORD.to_owned().into()), ..client_config() }
}

fn greet(server: &ServerHandle, config: &ClientConfig) -> Result<(), ClientError> {
    let mut client = Client::connect(server.local_addr(), config)?;
    // More than one TLS record each way.
    let text = "x".repeat(100_000);
    assert_eq!(client.query_all(&format!("echo {text}"))?.tag, text);
    Ok(())
}

fn refusal(result: Result<(), ClientError>) -> String {
    match result {
        Err(ClientError::Server(error)) => format!("{} {}", error.code, error.message),
        other => panic!("expected a refusal of the server, got {other:?}"),
    }
}

#[test]
fn the_right_password_is_let_in_and_no_other() {
    let server = serve(Config { users: Some(users()), ..Config::default() });
    greet(&server, &ali()).expect("let in");
    let wrong = ClientConfig { password: Some("open barley".to_owned().into()), ..ali() };
    assert_eq!(refusal(greet(&server, &wrong)), "28P01 password authentication failed for user \"ali\"");
    let unknown = ClientConfig { user: "baba\n".to_owned(), ..ali() };
    assert_eq!(refusal(greet(&server, &unknown)), "28P01 password authentication failed for user \"baba\\n\"");
    let none = ClientConfig { password: None, ..ali() };
    assert!(matches!(greet(&server, &none), Err(ClientError::PasswordNeeded)));
    let nobody = ClientConfig { user: String::new(), ..ali() };
    assert_eq!(refusal(greet(&server, &nobody)), "28000 the startup packet names no user");
}

#[test]
fn the_library_of_others_logs_in() {
    let server = serve(Config { users: Some(users()), ..Config::default() });
    let login = |user: &str, password: &str| {
        let mut config = postgres::Config::new();
        config.host("127.0.0.1").port(server.local_addr().port()).user(user).password(password);
        config.connect(postgres::NoTls)
    };
    let mut client = login("ali", PASSWORD).expect("let in");
    let answer = client.simple_query("rows 2").expect("rows");
    let rows = answer.iter().filter(|message| matches!(message, postgres::SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 2);
    for (user, password) in [("ali", "open barley"), ("baba", PASSWORD)] {
        let error = login(user, password).map(drop).expect_err("refused");
        assert_eq!(error.code(), Some(&postgres::error::SqlState::INVALID_PASSWORD), "{error:?}");
    }
}

#[test]
fn nothing_is_answered_before_the_password() {
    let server = serve(Config { users: Some(users()), ..Config::default() });
    let mut raw = Raw::connect(server.local_addr());
    let mut bytes = Vec::new();
    write_startup(&mut bytes, &[("user", "ali")]);
    frontend::query(&mut bytes, "echo on");
    raw.send(&bytes);
    assert_eq!(raw.message(), b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_eq!(raw.error().code, "08P01");
    assert_eq!(raw.rest(), b"");
}

#[test]
fn an_unknown_user_gets_the_same_salt_each_time_and_looks_like_a_known_one() {
    let server = serve(Config { users: Some(users()), ..Config::default() });
    let salt = |user: &str| {
        let mut raw = Raw::connect(server.local_addr());
        let mut bytes = Vec::new();
        write_startup(&mut bytes, &[("user", user)]);
        frontend::sasl_initial(&mut bytes, "SCRAM-SHA-256", b"n,,n=,r=abc");
        raw.send(&bytes);
        raw.message();
        let message = String::from_utf8(raw.message()[9..].to_vec()).expect("text");
        message.split_once(",s=").expect("a salt").1.to_owned()
    };
    let (known, unknown) = (salt("ali"), salt("baba"));
    assert_eq!(known.len(), unknown.len());
    assert_eq!((salt("ali"), salt("baba")), (known.clone(), unknown.clone()));
    assert_ne!(known, unknown);
}

#[test]
fn tls_is_served_and_examined() {
    let files = Files::new();
    let server = files.serve(true);
    for direct in [false, true] {
        for channel_binding in [ChannelBinding::Disable, ChannelBinding::Prefer, ChannelBinding::Require] {
            let tls = Some(ClientTls { direct, ..files.verify_full() });
            greet(&server, &ClientConfig { tls, channel_binding, ..ali() }).expect("let in");
        }
    }
    let wrong = ClientConfig { tls: Some(files.verify_full()), password: Some("no".to_owned().into()), ..ali() };
    assert!(refusal(greet(&server, &wrong)).starts_with("28P01"));

    let stranger = Files::new();
    let distrusted = ClientConfig { tls: Some(stranger.verify_full()), ..ali() };
    assert!(matches!(greet(&server, &distrusted), Err(ClientError::Handshake(_))));
    let other_name = ClientTls { server_name: "db.example".to_owned(), ..files.verify_full() };
    let misled = ClientConfig { tls: Some(other_name), ..ali() };
    assert!(matches!(greet(&server, &misled), Err(ClientError::Handshake(_))));
}

#[test]
fn a_page_stream_runs_over_tls() {
    let files = Files::new();
    let server = files.serve(true);
    let config = ClientConfig { tls: Some(files.verify_full()), ..ali() };
    let client = Client::connect(server.local_addr(), &config).expect("connect");
    let mut pages = client.page_stream("t", "main", page_service::Version::V3).expect("page stream");
    let requests: Vec<_> = (0..500)
        .map(|block| {
            let operation = page_service::Operation::Page { rel: common::rel(1), block };
            let request = pages.request(operation, common::at(8));
            pages.send(&request).expect("send");
            request
        })
        .collect();
    for request in requests {
        let response = pages.recv().expect("an answer");
        assert_eq!(response.header, Some(request.header));
    }
}

#[test]
fn without_tls_nobody_is_let_in_where_it_is_required() {
    let files = Files::new();
    let server = files.serve(true);
    assert_eq!(refusal(greet(&server, &ali())), "28000 connections without TLS are not taken here");
    let server = files.serve(false);
    greet(&server, &ali()).expect("let in");
    let bound = ClientConfig { channel_binding: ChannelBinding::Require, ..ali() };
    assert!(matches!(greet(&server, &bound), Err(ClientError::NoBinding)));
}

#[test]
fn a_client_that_wants_tls_does_not_go_without() {
    let server = serve(Config::default());
    let files = Files::new();
    let config = ClientConfig { tls: Some(files.verify_full()), ..ali() };
    assert!(matches!(greet(&server, &config), Err(ClientError::NoTls)));
    let optional = ClientTls { optional: true, ..ClientTls::required("localhost", Verify::None) };
    greet(&server, &ClientConfig { tls: Some(optional), ..ali() }).expect("without TLS");
}

#[test]
fn a_certificate_without_binding_data_does_without() {
    let files = Files::of(&rcgen::PKCS_ED25519);
    let server = files.serve(true);
    let config = ClientConfig { tls: Some(files.verify_full()), ..ali() };
    greet(&server, &config).expect("let in");
    let bound = ClientConfig { channel_binding: ChannelBinding::Require, ..config };
    assert!(matches!(greet(&server, &bound), Err(ClientError::NoBinding)));
}

#[test]
fn bytes_smuggled_in_before_the_handshake_are_refused() {
    let files = Files::new();
    let server = files.serve(false);
    let mut raw = Raw::connect(server.local_addr());
    let mut bytes = Vec::new();
    write_ssl_request(&mut bytes);
    write_startup(&mut bytes, &[("user", "mallory")]);
    raw.send(&bytes);
    let error = raw.error();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("08P01", "bytes came unencrypted after the request for TLS")
    );
    assert_eq!(raw.rest(), b"");
}

#[test]
fn direct_tls_names_the_protocol() {
    let files = Files::new();
    let server = files.serve(true);
    let mut config = (*pgtls::client_config(&Verify::None).expect("a configuration")).clone();
    let mut attempt = |protocols: &[&[u8]]| {
        config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        let name = "localhost".try_into().expect("a name");
        let session = rustls::ClientConnection::new(config.clone().into(), name).expect("a session");
        let mut stream = rustls::StreamOwned::new(session, Raw::connect(server.local_addr()).0);
        let mut packet = Vec::new();
        write_startup(&mut packet, &[("user", "ali")]);
        stream.write_all(&packet)?;
        let mut tag = [0];
        stream.read_exact(&mut tag).map(|()| tag[0])
    };
    assert_eq!(attempt(&[b"postgresql"]).ok(), Some(b'R'));
    assert_eq!(attempt(&[]).ok(), Some(b'E'));
    assert!(attempt(&[b"h2"]).is_err());
}

#[test]
fn what_is_no_handshake_ends_the_connection() {
    let files = Files::new();
    let server = files.serve(true);
    for garbage in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16garbage that is long enough for a header", &[0x16; 5000]] {
        let mut raw = Raw::connect(server.local_addr());
        raw.send(garbage);
        // At most an alert.
        assert!(raw.rest().len() <= 7, "{garbage:?}");
        let mut raw = Raw::connect(server.local_addr());
        let mut request = Vec::new();
        write_ssl_request(&mut request);
        raw.send(&request);
        assert_eq!(raw.receive(1), b"S");
        raw.send(garbage);
        assert!(raw.rest().len() <= 7, "{garbage:?}");
    }
    greet(&server, &ClientConfig { tls: Some(files.verify_full()), ..ali() }).expect("let in");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (one, other) = (Files::new(), Files::new());
    let wrong = |result: Result<ServerTls, ServerTlsError>| result.expect_err("refused").to_string();
    let missing = one.certificate.with_file_name("missing");
    let error = wrong(ServerTls::from_files(&missing, &one.key));
    assert!(error.contains("certificate") && error.contains("missing"), "{error}");
    let error = wrong(ServerTls::from_files(&one.certificate, &missing));
    assert!(error.contains("private key") && error.contains("missing"), "{error}");
    let error = wrong(ServerTls::from_files(&one.certificate, &other.key));
    assert!(
        error.contains("server.crt") && error.contains("server.key") && error.contains("not the key of"),
        "{error}"
    );
    let error = wrong(ServerTls::from_files(&one.key, &one.key));
    assert!(error.contains("no certificate"), "{error}");
    fs::write(&other.key, fs::read(&other.certificate).expect("read")).expect("write");
    assert!(wrong(other.load()).contains("no private key"));
    one.protect(0o644);
    assert!(wrong(one.load()).contains("chmod 600"));
}

#[test]
fn without_users_everything_is_as_before() {
    let server = serve(Config::default());
    assert_eq!(connect(&server).query_all("echo on").expect("echo").tag, "on");
}
