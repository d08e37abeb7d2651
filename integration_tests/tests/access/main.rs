//! Users, passwords and TLS, as a person sets them up: with the binary's own commands, `psql`, and strangers at the door.

mod place;
mod rust_postgres;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;

use anyhow::{Result, bail, ensure};
use integration_tests::{Pageserver, PgInstall, in_scratch, test_version};

use place::{PASSWORD, Place, output_of};

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
