//! What the pageserver says of its timelines.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use page_service::{Client, ClientConfig};
use pgdata::Lsn;

use crate::Pageserver;

/// One row of the command `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimelineStatus {
    /// Its name.
    pub name: String,
    /// One word: `streaming`, `retrying`, `failed`, `broken`, …
    pub state: String,
    /// What is to be said about the state.
    pub detail: String,
    /// The end of the last record that readers see; [`Lsn::INVALID`] of a broken one.
    pub last_record_lsn: Lsn,
    /// The first LSN that can be read at; [`Lsn::INVALID`] of a broken one.
    pub readable_from: Lsn,
    /// What images of pages take on disk; 0 of a broken one.
    pub image_bytes: u64,
}

impl Pageserver {
    /// What the running server says of its timelines.
    ///
    /// # Errors
    /// If it does not answer, or not as it should.
    pub fn timelines(&self) -> Result<Vec<TimelineStatus>> {
        let mut client = Client::connect(self.address()?, &ClientConfig::default())?;
        let result = client.query_all("status")?;
        let columns = result.columns.iter().map(|column| column.name.as_str());
        let places: BTreeMap<&str, usize> = columns.zip(0..).collect();
        let place = |name: &str| places.get(name).copied().with_context(|| format!("status has no column {name}"));
        let (name, state, detail) = (place("timeline")?, place("state")?, place("detail")?);
        let (last, first, images) = (place("last_record_lsn")?, place("readable_from")?, place("image_bytes")?);
        let text = |row: &page_service::Row, at| row.text(at).unwrap_or_default().to_owned();
        let rows = result.rows.iter().map(|row| {
            let lsn = |at| row.text(at).map_or(Ok(Lsn::INVALID), str::parse);
            Ok(TimelineStatus {
                name: text(row, name),
                state: text(row, state),
                detail: text(row, detail),
                last_record_lsn: lsn(last)?,
                readable_from: lsn(first)?,
                image_bytes: row.text(images).map_or(Ok(0), str::parse)?,
            })
        });
        rows.collect()
    }

    /// The directory of a timeline, also of one that is not in use.
    ///
    /// # Errors
    /// If there is none of that name.
    pub fn timeline_dir(&self, name: &str) -> Result<PathBuf> {
        for tenant in fs::read_dir(self.dir().join("tenants"))? {
            for timeline in fs::read_dir(tenant?.path().join("timelines"))? {
                let dir = timeline?.path();
                let text = fs::read_to_string(dir.join("branch.json")).unwrap_or_default();
                if text.contains(&format!("\"{name}\"")) {
                    return Ok(dir);
                }
            }
        }
        bail!("the pageserver has no directory of a timeline {name}")
    }

    /// What it says of one of them.
    ///
    /// # Errors
    /// As [`Pageserver::timelines`], and if there is none of that name.
    pub fn timeline(&self, name: &str) -> Result<TimelineStatus> {
        let found = self.timelines()?.into_iter().find(|timeline| timeline.name == name);
        found.with_context(|| format!("the pageserver knows no timeline {name}"))
    }
}
