//! The pageserver's HTTP port, as its clients see it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{Exposition, ExpositionFormat, Pageserver};

/// What the server prints before the address of its HTTP port, and after it.
const ANNOUNCED: (&str, &str) = ("metrics on http://", "/metrics");

/// An answer.
#[derive(Clone, Debug)]
pub struct HttpAnswer {
    /// The status code, as 200.
    pub status: u16,
    /// Everything before the body.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Pageserver {
    /// Where the running server's HTTP port is.
    ///
    /// # Errors
    /// If the server does not run, or has none.
    pub fn metrics_address(&self) -> Result<SocketAddr> {
        let log = self.log_text()?;
        let (_, rest) = log.split_once(ANNOUNCED.0).context("the pageserver has no HTTP port")?;
        let (address, _) = rest.split_once(ANNOUNCED.1).context("the address is not whole")?;
        Ok(address.parse()?)
    }

    /// Asks for a path on the HTTP port.
    ///
    /// # Errors
    /// If there is no whole answer.
    pub fn http(&self, path: &str, accept: &str) -> Result<HttpAnswer> {
        let mut stream = TcpStream::connect(self.metrics_address()?)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        HttpAnswer::parse(&answer).with_context(|| format!("{path} is answered with {answer:?}"))
    }

    /// What the server says of itself: `/metrics`, read strictly.
    ///
    /// # Errors
    /// If there is anything wrong with it.
    pub fn scrape_as(&self, format: ExpositionFormat) -> Result<Exposition> {
        let answer = self.http("/metrics", format.media_type())?;
        ensure!(answer.status == 200, "/metrics is answered with {}", answer.status);
        let (wanted, _) = format.media_type().split_once(';').context("a media type")?;
        let is_it = answer.head.to_ascii_lowercase().contains(&format!("content-type: {wanted}; version="));
        ensure!(is_it, "asked for {wanted}: {}", answer.head);
        Exposition::parse(&answer.body, format)
    }

    /// [`Pageserver::scrape_as`] in Prometheus's own format.
    ///
    /// # Errors
    /// As there.
    pub fn scrape(&self) -> Result<Exposition> {
        self.scrape_as(ExpositionFormat::Prometheus)
    }
}

impl HttpAnswer {
    fn parse(text: &str) -> Result<HttpAnswer> {
        let (head, body) = text.split_once("\r\n\r\n").context("no end of the head")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.context("no length")?.parse()?;
        ensure!(length == body.len(), "{} bytes of {length} came", body.len());
        Ok(HttpAnswer { status, head: head.to_owned(), body: body.to_owned() })
    }
}
