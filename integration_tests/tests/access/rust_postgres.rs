//! The Rust driver as a client, with rustls: neither libpq's code nor ours.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anyhow::{Result, ensure};
use integration_tests::in_scratch;
use postgres::config::SslMode;
use postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use postgres::{Client, Config, SimpleQueryMessage, Socket};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as RustlsStream;

use crate::place::{PASSWORD, Place};

#[derive(Clone)]
struct Rustls(Arc<ClientConfig>);

struct Connect {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

struct Stream(RustlsStream<Socket>);

impl MakeTlsConnect<Socket> for Rustls {
    type Stream = Stream;
    type TlsConnect = Connect;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, Self::Error> {
        Ok(Connect { config: Arc::clone(&self.0), name: ServerName::try_from(host.to_owned())? })
    }
}

impl TlsConnect<Socket> for Connect {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { Ok(Stream(TlsConnector::from(self.config).connect(self.name, socket).await?)) })
    }
}

impl TlsStream for Stream {
    /// The server offers to bind, and this client has nothing to bind to.
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Trusts the place's authority alone.
fn rustls(place: &Place) -> Result<Rustls> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&place.authority)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Rustls(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

fn config(place: &Place, host: &str, password: &str) -> Result<Config> {
    let mut config = Client::configure();
    config.host(host).port(place.port()?).user("ali").password(password).ssl_mode(SslMode::Require);
    Ok(config)
}

#[test]
fn the_rust_driver_is_let_in_with_the_password_over_tls() {
    in_scratch("access-rust", |dir| {
        let place = Place::new(dir)?;
        let rustls = rustls(&place)?;
        let mut client = config(&place, "localhost", PASSWORD)?.connect(rustls.clone())?;
        for _ in 0..2 {
            let rows = client.simple_query("stats")?;
            let is_row = |message: &&SimpleQueryMessage| matches!(message, SimpleQueryMessage::Row(_));
            ensure!(rows.iter().filter(is_row).count() > 5, "stats has {rows:?}");
        }
        let error = client.simple_query("frobnicate").err().and_then(|error| error.as_db_error().cloned());
        ensure!(error.as_ref().is_some_and(|error| error.code().code() == "42601"), "it is answered with {error:?}");
        ensure!(config(&place, "localhost", "open barley")?.connect(rustls.clone()).is_err(), "any password will do");
        ensure!(config(&place, "127.0.0.1", PASSWORD)?.connect(rustls).is_err(), "any name will do");
        Ok(())
    });
}
