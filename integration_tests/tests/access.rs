//! Users, passwords and TLS, as a person sets them up: with the binary's own commands, `psql`, and strangers at the door.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use integration_tests::{Pageserver, PgInstall, RunAs, in_scratch, test_version};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

const PASSWORD: &str = "open sésame ½";

/// A server for whom TLS and passwords are set up, and the authority that vouches for it.
struct Place {
    server: Pageserver,
    install: PgInstall,
    authority: PathBuf,
}

impl Place {
    fn new(dir: &Path) -> Result<Place> {
        let install = PgInstall::find(test_version());
        let mut server = Pageserver::new(&dir.join("pageserver"), &install)?;
        let authority = write_certificates(&dir.join("pageserver"), dir)?;
        let user = output_of(server.command().args(["password", "ali"]), PASSWORD)?;
        let tls = "[tls]\ncertificate = 'server.crt'\nkey = 'server.key'";
        server.configure(&format!("[limits]\nauthentication_timeout_seconds = 5\n{tls}\n{user}"))?;
        server.start()?;
        Ok(Place { server, install, authority })
    }

    fn port(&self) -> Result<u16> {
        Ok(self.server.address()?.port())
    }

    /// `psql -c status` with a connection string.
    fn psql(&self, conninfo: &str, password: &str) -> Result<Output> {
        let conninfo = format!("port={} dbname=any {conninfo}", self.port()?);
        let mut psql = self.install.command("psql");
        // The home directory may be another user's, where libpq may not look for certificates.
        psql.args(["-X", "-w", "-d", &conninfo, "-c", "status"]).env("PGPASSWORD", password).env("HOME", "/");
        Ok(psql.output()?)
    }

    /// The binary's own `status`.
    fn status(&self, conninfo: &str, password: &str) -> Result<Output> {
        let conninfo = format!("host=localhost port={} {conninfo}", self.port()?);
        let mut status = self.server.command();
        status.args(["--server", &conninfo, "status"]).env("PAGESERVER_PASSWORD", password);
        Ok(status.output()?)
    }

    fn verify_full(&self) -> String {
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
fn output_of(command: &mut Command, input: &str) -> Result<String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("a pipe")?.write_all(format!("{input}\n").as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{command:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn succeeds(what: &str, output: &Output) -> Result<()> {
    ensure!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

fn fails(what: &str, output: &Output, part: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{what} succeeds");
    ensure!(text.contains(part), "{what} does not say {part:?}: {text}");
    ensure!(!text.contains(PASSWORD), "{what} shows the password: {text}");
    Ok(())
}

#[test]
fn psql_and_our_own_commands_are_let_in_with_the_password_over_tls() {
    in_scratch("access", |dir| {
        let place = Place::new(dir)?;
        let full = place.verify_full();
        let refused = "password authentication failed for user \"ali\"";

        succeeds("psql", &place.psql(&format!("host=localhost {full}"), PASSWORD)?)?;
        succeeds("psql, bound", &place.psql(&format!("host=localhost channel_binding=require {full}"), PASSWORD)?)?;
        succeeds("psql, unbound", &place.psql(&format!("host=localhost channel_binding=disable {full}"), PASSWORD)?)?;
        fails("psql without TLS", &place.psql("host=localhost user=ali sslmode=disable", PASSWORD)?, "without TLS")?;
        fails("psql to another name", &place.psql(&format!("host=127.0.0.1 {full}"), PASSWORD)?, "127.0.0.1")?;
        fails("psql, wrong password", &place.psql(&format!("host=localhost {full}"), "open barley")?, refused)?;
        let baba = full.replace("user=ali", "user=baba");
        let unknown = "password authentication failed for user \"baba\"";
        fails("psql, unknown user", &place.psql(&format!("host=localhost {baba}"), PASSWORD)?, unknown)?;

        succeeds("status", &place.status(&full, PASSWORD)?)?;
        succeeds("status, direct", &place.status(&format!("{full} sslnegotiation=direct"), PASSWORD)?)?;
        succeeds("status, bound", &place.status(&format!("{full} channel_binding=require"), PASSWORD)?)?;
        succeeds("status, unexamined", &place.status("user=ali", PASSWORD)?)?;
        fails("status without TLS", &place.status("user=ali sslmode=disable", PASSWORD)?, "without TLS")?;
        fails("status, wrong password", &place.status(&full, "open barley")?, refused)?;
        fails("status without password", &place.status(&full, "")?, "PAGESERVER_PASSWORD")?;
        ensure!(!place.server.log_text()?.contains("sésame"), "the log has the password");
        Ok(())
    });
}

#[test]
fn strangers_at_the_door_do_not_keep_others_out() {
    in_scratch("strangers", |dir| {
        let place = Place::new(dir)?;
        let address = place.server.address()?;
        let ssl_request: &[u8] = &[0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f];
        let mut open = Vec::new();
        for round in 0..300_u32 {
            let mut stranger = TcpStream::connect(address)?;
            let bytes: &[u8] = match round % 6 {
                0 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                1 => &[0xFF; 100],
                2 => &[0, 0, 0, 100, 0, 3, 0],
                3 => &[0x16, 3, 1, 0x40, 0, 1, 2, 3],
                4 => ssl_request,
                _ => &[],
            };
            // Whether it is heard at all is the server's affair.
            let _ = stranger.write_all(bytes);
            open.push(stranger);
        }
        succeeds("status amid strangers", &place.status(&place.verify_full(), PASSWORD)?)?;
        for mut stranger in open {
            let mut rest = Vec::new();
            stranger.set_read_timeout(Some(std::time::Duration::from_secs(60)))?;
            if let Err(error) = stranger.read_to_end(&mut rest)
                && error.kind() != std::io::ErrorKind::ConnectionReset
            {
                bail!("a stranger was not sent away: {error}");
            }
        }
        succeeds("status after the strangers", &place.status(&place.verify_full(), PASSWORD)?)
    });
}

#[test]
fn a_server_that_others_could_reach_wants_users_and_tls() {
    in_scratch("exposed", |dir| {
        let server = Pageserver::new(&dir.join("pageserver"), &PgInstall::find(test_version()))?;
        let data = dir.join("pageserver");
        let exposed = || -> Result<Output> {
            Ok(server.command().arg("serve").arg("-D").arg(&data).args(["--listen", "0.0.0.0:0"]).output()?)
        };
        fails("a bare server", &exposed()?, "[[users]] and [tls]")?;
        server.configure("[tls]\ncertificate = 'missing.crt'\nkey = 'missing.key'")?;
        fails("a server without users", &exposed()?, "lacks [[users]]")?;
        server.configure("[[users]]\nname = 'ali'\npassword = 'open sésame ½'")?;
        fails("a server with a password", &exposed()?, "pageserver password ali")?;
        let user = output_of(server.command().args(["password", "ali"]), PASSWORD)?;
        server.configure(&format!("[tls]\ncertificate = 'missing.crt'\nkey = 'missing.key'\n{user}"))?;
        fails("a server without a certificate", &exposed()?, "missing.crt")?;
        fs::write(data.join("missing.crt"), "nothing")?;
        fails("a server without certificates in the file", &exposed()?, "no certificate in it")
    });
}
