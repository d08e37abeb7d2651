//! A server with a user and TLS, and how clients come to it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, ensure};
use integration_tests::{Pageserver, PgInstall, RunAs, test_version};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

pub const PASSWORD: &str = "open sésame ½";

/// A server for whom TLS and passwords are set up, and the authority that vouches for it.
pub struct Place {
    pub server: Pageserver,
    install: PgInstall,
    /// The file with its certificate.
    pub authority: PathBuf,
}

impl Place {
    pub fn new(dir: &Path) -> Result<Place> {
        let install = PgInstall::find(test_version());
        let mut server = Pageserver::new(&dir.join("pageserver"), &install)?;
        let authority = write_certificates(&dir.join("pageserver"), dir)?;
        let user = output_of(server.command().args(["password", "ali"]), PASSWORD)?;
        let tls = "[tls]\ncertificate = 'server.crt'\nkey = 'server.key'";
        server.configure(&format!("[limits]\nauthentication_timeout_seconds = 5\n{tls}\n{user}"))?;
        server.start()?;
        Ok(Place { server, install, authority })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.server.address()?.port())
    }

    /// `psql -c status` with a connection string.
    pub fn psql(&self, conninfo: &str, password: &str) -> Result<Output> {
        let conninfo = format!("port={} dbname=any {conninfo}", self.port()?);
        let mut psql = self.install.command("psql");
        // The home directory may be another user's, where libpq may not look for certificates.
        psql.args(["-X", "-w", "-d", &conninfo, "-c", "status"]).env("PGPASSWORD", password).env("HOME", "/");
        Ok(psql.output()?)
    }

    /// The binary's own `status`.
    pub fn status(&self, conninfo: &str, password: &str) -> Result<Output> {
        let conninfo = format!("host=localhost port={} {conninfo}", self.port()?);
        let mut status = self.server.command();
        status.args(["--server", &conninfo, "status"]).env("PAGESERVER_PASSWORD", password);
        Ok(status.output()?)
    }

    pub fn verify_full(&self) -> String {
        format!("user=ali sslmode=verify-full sslrootcert='{}'", self.authority.display())
    }
}

/// An authority, and a certificate of it for `localhost` in the server's directory. Returns the authority's file.
fn write_certificates(server: &Path, dir: &Path) -> Result<PathBuf> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    // Not the name that certificates have by default: one of its own authority's name is taken for self-signed.
    params.distinguished_name.push(DnType::CommonName, "authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?.signed_by(&key, &issuer)?;
    fs::write(server.join("server.crt"), certificate.pem())?;
    let key_file = server.join("server.key");
    fs::write(&key_file, key.serialize_pem())?;
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600))?;
    RunAs::server_user().own(&key_file)?;
    let file = dir.join("authority.crt");
    fs::write(&file, authority.pem())?;
    Ok(file)
}

/// Runs a command with this standard input; it has to succeed.
pub fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(format!("{input}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
