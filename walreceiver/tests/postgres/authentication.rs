//! Every supported way of authentication, and its failures.

use walreceiver::{Connection, Error, Primary, StopHandle};

use crate::cluster::Cluster;

/// A server that asks users of each name for their password in the way of that name.
fn cluster() -> Cluster {
    let cluster = Cluster::create("");
    let lines: String = ["scram-sha-256", "md5", "password"]
        .map(|method| format!("host replication,postgres \"{method}\" 127.0.0.1/32 {method}\n"))
        .concat();
    let hba = format!("local all postgres trust\n{lines}host replication nobody 127.0.0.1/32 trust\n");
    cluster.put(&cluster.data().join("pg_hba.conf"), &hba, 0o600);
    cluster.up();
    for (user, encryption) in [("scram-sha-256", "scram-sha-256"), ("md5", "md5"), ("password", "scram-sha-256")] {
        cluster.sql(&format!(
            "SET password_encryption = '{encryption}'; CREATE ROLE \"{user}\" LOGIN REPLICATION PASSWORD 's e''cret'"
        ));
    }
    cluster.sql("CREATE ROLE nobody LOGIN");
    cluster
}

fn connect(cluster: &Cluster, user: &str, more: &str) -> Result<Connection, Error> {
    let conninfo = format!("host=127.0.0.1 port={} sslmode=disable user={user} {more}", cluster.port);
    Connection::connect(&Primary::parse(&conninfo).unwrap(), &StopHandle::new())
}

#[test]
fn passwords() {
    let cluster = cluster();
    for user in ["scram-sha-256", "md5", "password"] {
        let mut connection = connect(&cluster, user, r"password='s e\'cret'").unwrap_or_else(|e| panic!("{user}: {e}"));
        assert_eq!(connection.show("wal_segment_size").unwrap(), "1MB");
        connection.close();
        let error = connect(&cluster, user, "password=wrong").err().unwrap();
        assert!(matches!(&error, Error::AuthenticationFailed(server) if server.code == "28P01"), "{user}: {error:?}");
        let error = connect(&cluster, user, "").err().unwrap();
        assert!(matches!(error, Error::PasswordMissing { .. }), "{user}: {error:?}");
    }
    let error = connect(&cluster, "scram-sha-256", "password=wrong channel_binding=require").err().unwrap();
    assert!(matches!(error, Error::ServerNotAuthenticated(_)), "{error:?}");
    let error = connect(&cluster, "postgres", "").err().unwrap();
    assert!(matches!(&error, Error::AuthenticationFailed(server) if server.code == "28000"), "{error:?}");
    let error = connect(&cluster, "nobody", "").err().unwrap();
    assert!(matches!(error, Error::NoReplicationPermission(_)), "{error:?}");
}

#[test]
fn several_hosts_and_unix_sockets() {
    let cluster = Cluster::start("");
    let (port, directory) = (cluster.port, cluster.root().display().to_string());
    // Nothing listens on port 1.
    for hosts in [
        format!("host=127.0.0.1,127.0.0.1 port=1,{port} sslmode=prefer"),
        format!("host=localhost hostaddr=127.0.0.1 port={port}"),
        format!("host={directory} port={port}"),
        format!("host={directory},127.0.0.1 port=1,{port}"),
    ] {
        let primary = Primary::parse(&format!("{hosts} user=postgres")).unwrap();
        let connection = Connection::connect(&primary, &StopHandle::new()).unwrap_or_else(|e| panic!("{hosts}: {e}"));
        assert_eq!(connection.server_version_num() / 10_000, 15);
    }
    let primary = Primary::parse("host=127.0.0.1 port=1 user=postgres").unwrap();
    let error = Connection::connect(&primary, &StopHandle::new()).err().unwrap();
    assert!(matches!(error, Error::Connect { .. }) && error.is_transient(), "{error:?}");
}
