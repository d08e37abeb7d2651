//! The pageserver's page stream as a source of pages.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use page_service::{Answer, Client, ClientConfig, ClientError, Operation, PageStream, ReadLsn, Version};
use pgdata::{Lsn, PAGE_SIZE, Page, RelTag, SlruSegment};

use crate::PageSource;

/// A page stream of one timeline. Every question waits until the server has the LSN.
#[derive(Debug)]
pub struct StreamSource {
    stream: PageStream,
}

impl StreamSource {
    /// Opens a page stream of the default tenant's `timeline`.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn connect(address: SocketAddr, timeline: &str) -> Result<StreamSource> {
        let client = Client::connect(address, &ClientConfig::default())?;
        Ok(StreamSource { stream: client.page_stream("default", timeline, Version::V3)? })
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut PageStream {
        &mut self.stream
    }
}

impl PageSource for StreamSource {
    fn relation_blocks(&mut self, rel: RelTag, lsn: Lsn) -> Result<Option<u32>> {
        if !self.stream.exists(rel, ReadLsn::at(lsn))? {
            return Ok(None);
        }
        Ok(Some(self.stream.size(rel, ReadLsn::at(lsn))?))
    }

    /// All requests are in flight at once.
    fn relation_pages(&mut self, rel: RelTag, first: u32, count: u32, lsn: Lsn) -> Result<Vec<Page>> {
        for block in first..first + count {
            let request = self.stream.request(Operation::Page { rel, block }, ReadLsn::at(lsn));
            self.stream.send(&request)?;
        }
        let mut pages = Vec::with_capacity(count as usize);
        let mut failed = None;
        for block in first..first + count {
            match self.stream.recv()?.answer {
                Answer::Page(page) => pages.push(*page),
                Answer::Error(text) => drop(failed.get_or_insert(format!("{rel} block {block} at {lsn}: {text}"))),
                other => bail!("{rel} block {block} at {lsn}: answered with {other:?}"),
            }
        }
        match failed {
            Some(error) => bail!(error),
            None => Ok(pages),
        }
    }

    fn slru_pages(&mut self, segment: SlruSegment, lsn: Lsn) -> Result<Option<Vec<Page>>> {
        let bytes = match self.stream.slru_segment(segment, ReadLsn::at(lsn)) {
            // There is no question whether a segment exists; the answer that it does not is an error that says so.
            Err(ClientError::Request { text, .. }) if text.contains("does not exist at") => return Ok(None),
            bytes => bytes?,
        };
        ensure!(bytes.len() % PAGE_SIZE == 0, "{segment} at {lsn}: {} bytes are not whole pages", bytes.len());
        let page = |bytes: &[u8]| bytes.try_into().context("a page");
        Ok(Some(bytes.chunks(PAGE_SIZE).map(page).collect::<Result<_>>()?))
    }
}
