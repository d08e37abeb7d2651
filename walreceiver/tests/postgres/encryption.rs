//! TLS, with and without an examined certificate, and SCRAM bound to it.

use walreceiver::{Connection, Error, Primary, StopHandle};

use crate::cluster::Cluster;

/// A server with a self-signed certificate for `localhost`, and the certificate's file.
fn cluster() -> (Cluster, String) {
    let cluster = Cluster::create("ssl = on");
    let (certificate, key) = self_signed("localhost");
    let file = cluster.data().join("server.crt");
    cluster.put(&file, &certificate, 0o600);
    cluster.put(&cluster.data().join("server.key"), &key, 0o600);
    let hba = "local all postgres trust\nhostssl replication postgres 127.0.0.1/32 scram-sha-256\n";
    cluster.put(&cluster.data().join("pg_hba.conf"), hba, 0o600);
    cluster.up();
    cluster.sql("ALTER ROLE postgres PASSWORD 'secret'");
    (cluster, file.display().to_string())
}

fn self_signed(name: &str) -> (String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn connect(cluster: &Cluster, host: &str, more: &str) -> Result<Connection, Error> {
    let conninfo = format!("{host} port={} user=postgres password=secret {more}", cluster.port);
    Connection::connect(&Primary::parse(&conninfo).unwrap(), &StopHandle::new())
}

const BY_NAME: &str = "host=localhost hostaddr=127.0.0.1";
const BY_ADDRESS: &str = "host=127.0.0.1";

#[test]
fn encrypts_and_binds_the_channel() {
    let (cluster, root) = cluster();
    for (host, more) in [
        (BY_ADDRESS, "".to_owned()),
        (BY_ADDRESS, "sslmode=require channel_binding=disable".to_owned()),
        (BY_ADDRESS, "sslmode=require channel_binding=require".to_owned()),
        (BY_ADDRESS, format!("sslmode=require sslrootcert={root}")),
        (BY_ADDRESS, format!("sslmode=verify-ca sslrootcert={root}")),
        (BY_NAME, format!("sslmode=verify-full sslrootcert={root} channel_binding=require")),
    ] {
        let mut connection = connect(&cluster, host, &more).unwrap_or_else(|error| panic!("{host} {more}: {error}"));
        assert!(connection.is_tls(), "{host} {more}");
        assert_eq!(connection.identify_system().unwrap().timeline, 1);
    }
}

#[test]
fn refuses_a_certificate_that_is_not_trusted() {
    let (cluster, root) = cluster();
    let other = cluster.root().join("other.crt");
    cluster.put(&other, &self_signed("localhost").0, 0o644);
    for (host, more) in [
        (BY_NAME, format!("sslmode=verify-full sslrootcert={}", other.display())),
        (BY_NAME, format!("sslmode=require sslrootcert={}", other.display())),
        (BY_ADDRESS, format!("sslmode=verify-full sslrootcert={root}")),
    ] {
        let error = connect(&cluster, host, &more).err().unwrap_or_else(|| panic!("{host} {more}: accepted"));
        assert!(matches!(error, Error::CertificateRejected { .. }), "{host} {more}: {error:?}");
    }
    let error = connect(&cluster, BY_NAME, "sslmode=require sslrootcert=/nonexistent").err().unwrap();
    assert!(matches!(error, Error::Tls(_)), "{error:?}");
}

#[test]
fn streams_encrypted() {
    let (cluster, _) = cluster();
    let start = cluster.lsn();
    let primary = cluster.primary_with("password=secret sslmode=require");
    let receiver = crate::recorder::Receiver::start(primary, crate::recorder::options(1), start);
    cluster.sql("CREATE TABLE t AS SELECT i, repeat('x', 100) FROM generate_series(1, 30000) i");
    let end = cluster.lsn();
    receiver.await_flushed(end);
    assert!(receiver.wal()[..end.bytes_since(start) as usize] == cluster.wal(start, end), "received WAL differs");
    receiver.stop();
}

#[test]
fn a_server_without_tls_is_refused_where_it_is_required() {
    let cluster = Cluster::start("");
    let error = connect(&cluster, BY_ADDRESS, "sslmode=require").err().unwrap();
    assert!(matches!(error, Error::TlsRefused { .. }), "{error:?}");
}
