//! The server under test: this test program once more, so that its memory is its own.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use page_service::scram::{Users, Verifier};
use page_service::{Config, ServerTls, Verify};

use crate::common;

/// The environment variable that makes a process the server; its value is the directory of the certificate.
const DIRECTORY: &str = "PAGE_SERVICE_HOSTILE_TEST";
/// The environment variable that says which access there is.
const LOCKED: &str = "PAGE_SERVICE_HOSTILE_TEST_LOCKED";
const LISTENING: &str = "listening on ";

pub const USER: &str = "ali";
pub const PASSWORD: &str = "open sesame";
/// Fewer than a flood brings.
pub const MAX_CONNECTIONS: usize = 300;
/// Long enough for one who means it on a busy machine.
const TO_CONNECT: Duration = Duration::from_secs(3);
/// How long a client may leave answers unread.
const TO_READ: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// With users and TLS.
    Locked,
    /// For everybody.
    Open,
}

pub struct ServerProcess {
    child: Child,
    /// Kept open, so that the process can say its last words.
    _output: BufReader<ChildStdout>,
    pub address: SocketAddr,
    pub access: Access,
    dir: tempfile::TempDir,
}

/// In bytes, resident: now, and the most there has been.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    #[allow(dead_code, reason = "it is printed")]
    pub now: u64,
    pub worst: u64,
}

impl ServerProcess {
    pub fn start(access: Access) -> ServerProcess {
        let dir = tempfile::tempdir().expect("a directory");
        write_certificate(dir.path());
        let mut command = Command::new(env::current_exe().expect("this program"));
        command.args(["--exact", "the_server", "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(DIRECTORY, dir.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        if access == Access::Locked {
            command.env(LOCKED, "1");
        }
        let mut child = command.spawn().expect("the server's process");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let address = (&mut output)
            .lines()
            .find_map(|line| line.expect("a line").split_once(LISTENING)?.1.parse().ok())
            .expect("the server's address");
        ServerProcess { child, _output: output, address, access, dir }
    }

    pub fn verify(&self) -> Verify {
        Verify::Full(certificate(self.dir.path()))
    }

    pub fn memory(&self) -> Memory {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(path).expect("the server runs");
        let field = |name: &str| -> u64 {
            let line =
                status.lines().find_map(|line| line.strip_prefix(name)).expect("a field of the process's status");
            line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
        };
        Memory { now: field("VmRSS:"), worst: field("VmHWM:") }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Its standard input closes, and it ends.
        drop(self.child.stdin.take());
        let status = self.child.wait().expect("the server's end");
        if !std::thread::panicking() {
            assert!(status.success(), "the server ended with {status}");
        }
    }
}

fn certificate(dir: &Path) -> PathBuf {
    dir.join("server.crt")
}

fn write_certificate(dir: &Path) {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    fs::write(certificate(dir), params.self_signed(&key).expect("a certificate").pem()).expect("write");
    let file = dir.join("server.key");
    fs::write(&file, key.serialize_pem()).expect("write");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// Serves until standard input ends, if this process is to be the server.
pub fn run_if_asked() {
    let Some(dir) = env::var_os(DIRECTORY).map(PathBuf::from) else { return };
    let mut config = Config {
        max_connections: MAX_CONNECTIONS,
        authentication_timeout: TO_CONNECT,
        write_timeout: TO_READ,
        ..Config::default()
    };
    if env::var_os(LOCKED).is_some() {
        config.users = Some(Users::new([(USER.to_owned(), Verifier::of_password(PASSWORD))], &[7; 32]));
        config.tls = Some(ServerTls::from_files(&certificate(&dir), &dir.join("server.key")).expect("usable"));
        config.require_tls = true;
    }
    let server = common::serve(config);
    println!("{LISTENING}{}", server.local_addr());
    std::io::stdout().flush().expect("somebody reads");
    std::io::stdin().read_to_end(&mut Vec::new()).expect("the end");
    server.shutdown();
}
