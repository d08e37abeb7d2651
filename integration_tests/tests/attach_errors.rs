//! What is wrong with an attach is said at once, in words, and leaves nothing behind.

use anyhow::{Result, ensure};
use integration_tests::{Cluster, ClusterOptions, Lab, Pageserver, in_scratch};

/// Attaches, expects failure, and expects `word` in what is said about it.
fn refused(pageserver: &Pageserver, name: &str, primary: &str, word: &str) -> Result<()> {
    let output = pageserver.try_cli(&["attach", name, "--primary", primary])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(!output.status.success(), "attaching {primary:?} succeeds");
    ensure!(text.to_lowercase().contains(word), "attaching {primary:?} fails without a word of {word:?}: {text}");
    Ok(())
}

#[test]
fn wrong_passwords_and_hosts_are_told_and_a_name_is_taken_once() {
    in_scratch("attach", |dir| {
        let mut lab = Lab::start(dir, &ClusterOptions::default())?;
        lab.primary
            .psql("postgres", "CREATE ROLE guarded REPLICATION LOGIN PASSWORD 'right'; CREATE ROLE plain LOGIN")?;
        lab.primary.prepend_hba("host replication guarded 127.0.0.1/32 scram-sha-256")?;
        lab.primary.restart()?;
        let port = lab.primary.port();
        let to = |rest: &str| format!("host=127.0.0.1 port={port} {rest}");
        refused(&lab.pageserver, "main", &to("user=guarded password=wrong"), "password")?;
        refused(&lab.pageserver, "main", &to("user=plain"), "replication")?;
        refused(&lab.pageserver, "main", "host=no-such-host.invalid port=5432 user=postgres", "no-such-host")?;
        refused(&lab.pageserver, "main", "host=127.0.0.1 port=1 user=postgres", "connect")?;
        refused(&lab.pageserver, "main", "what=ever", "what")?;

        lab.pageserver.attach("main", &to("user=guarded password=right"))?;
        refused(&lab.pageserver, "main", &lab.primary.conninfo(), "main")
    });
}

#[test]
fn a_primary_without_enough_wal_is_refused() {
    in_scratch("minimal", |dir| {
        let options = ClusterOptions::default().with("wal_level", "minimal").with("max_wal_senders", "0");
        let minimal = Cluster::start_new(&dir.join("primary"), &options)?;
        let pageserver = Pageserver::start_new(&dir.join("pageserver"), minimal.install())?;
        refused(&pageserver, "main", &minimal.conninfo(), "wal")
    });
}
