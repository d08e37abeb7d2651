//! A standby's beginning: the last checkpoint before the backup's LSN, and what tells a server to replay from there.
//!
//! The pages are as of the backup's LSN, newer than what a server replays from the checkpoint's redo pointer up to there. That is how
//! a standby finds its own pages whenever it is started again: replay passes over what a page has already, lets images go back and
//! come forward again, makes dropped files anew and drops them again. What is consistent only behind the LSN is not shown before:
//! `pg_control` says that recovery has been there (`minRecoveryPoint`), as that of a standby does from which a base backup was taken.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use pgdata::wal::SegmentSize;
use pgdata::{CheckPoint, ClusterState, ControlFile, DbState, Lsn, Timelines};
use wal_decoder::{Record, WalIdentity, WalStream, rmgr};

use crate::checkpoint::FIRST_UNLOGGED_LSN;
use crate::wal::{CHECKPOINT_ONLINE, CHECKPOINT_SHUTDOWN, Place};
use crate::{BackupError, DataSource, twophase};

/// WAL is looked through in pieces of this many bytes.
const PIECE: u64 = 256 << 10;
/// `XLOG_XACT_PREPARE` and `XLOG_XACT_OPMASK` of `access/xact.h`.
const PREPARE: u8 = 0x10;
const XACT_OPERATION: u8 = 0x70;

/// Where a standby begins to replay.
#[derive(Debug)]
pub(crate) struct Replay {
    /// Where the checkpoint's record starts.
    pub record: Lsn,
    /// What it says; its redo pointer is where replay begins.
    pub check_point: CheckPoint,
    /// The timelines that lead from there to the LSN.
    timelines: Timelines,
    /// Transactions that were prepared since: replay makes their state itself, and takes a file of it for another one.
    prepared: BTreeSet<u32>,
}

impl Replay {
    /// Goes through the WAL from the redo pointer of the last checkpoint to the end.
    ///
    /// # Errors
    /// If the source does not have this WAL, or it does not have the checkpoint and a record's end where the backup ends.
    pub fn find(
        source: &dyn DataSource,
        state: &ClusterState,
        identity: WalIdentity,
        place: Place,
    ) -> Result<Replay, BackupError> {
        let (redo, lsn) = (state.counters.redo, place.end);
        let wal_error = |source| BackupError::Wal { lsn, source };
        let mut stream = WalStream::new(redo, identity.segment_size.bytes(), identity.version)
            .map_err(wal_error)?
            .expect_system_id(identity.system_id);
        let mut search = Search { identity, lsn, last: None, prepared: BTreeSet::new() };
        let mut buffer = vec![0; PIECE.min(lsn.bytes_since(redo)) as usize];
        let mut at = redo;
        while at < lsn {
            let piece = &mut buffer[..PIECE.min(lsn.bytes_since(at)) as usize];
            read_kept(source, lsn, redo, at, piece)?;
            let mut whole = stream.feed(piece);
            while let Some(raw) = whole.next_record().map_err(wal_error)? {
                search.look_at(raw.start, raw.lsn, raw.bytes)?;
            }
            at = Lsn(at.0 + piece.len() as u64);
        }
        let ends_at = stream.decoded_to();
        if Place::at(ends_at, identity.segment_size).map(|place| place.end) != Some(lsn) {
            return Err(BackupError::NoRecordEnd { lsn, last: ends_at });
        }
        let timelines = timelines_to(source, lsn, identity.timeline)?;
        match search.last {
            // Replay goes over to another timeline, and its way there is not known. A promoted server makes a checkpoint soon.
            Some((_, CheckPoint { timeline: before, .. })) if !timelines.contains(before) => {
                Err(BackupError::Switched { lsn, before, timeline: identity.timeline })
            }
            Some((record, check_point)) if check_point.redo == redo => {
                Ok(Replay { record, check_point, timelines, prepared: search.prepared })
            }
            _ => Err(BackupError::NoCheckpoint { lsn, redo }),
        }
    }

    /// The name of the file that all WAL of a segment is in.
    pub fn segment_file(&self, size: SegmentSize, segno: u64) -> String {
        size.file_name(self.timelines.of_segment(size, segno), segno)
    }

    /// Whether a file belongs into the data directory: not the state of a transaction that was prepared since.
    pub fn keeps(&self, path: &str) -> bool {
        twophase::xid(path).is_none_or(|xid| !self.prepared.contains(&xid))
    }

    /// `backup_label`: where to begin, and that the control file tells where the data is consistent.
    pub fn backup_label(&self, size: SegmentSize) -> String {
        let CheckPoint { redo, timeline, .. } = self.check_point;
        // A server takes the timeline from the name, and the file from any that the segment can be in.
        let file = size.file_name(timeline, size.segment_of(redo));
        let mut text = String::new();
        let _ = write!(
            text,
            "START WAL LOCATION: {redo} (file {file})\n\
             CHECKPOINT LOCATION: {}\n\
             BACKUP METHOD: streamed\n\
             BACKUP FROM: standby\n\
             LABEL: pageserver basebackup --standby\n\
             START TIMELINE: {timeline}\n",
            self.record
        );
        text
    }

    /// The control file of a standby that has replayed and written everything up to `end`, and made its last restartpoint at this
    /// checkpoint.
    pub fn control_file(&self, state: &ClusterState, identity: WalIdentity, end: Lsn) -> ControlFile {
        ControlFile {
            state: DbState::InArchiveRecovery,
            time: self.check_point.time,
            check_point: self.record,
            check_point_copy: self.check_point.clone(),
            unlogged_lsn: FIRST_UNLOGGED_LSN,
            min_recovery_point: end,
            min_recovery_point_timeline: identity.timeline,
            backup_start_point: Lsn::INVALID,
            backup_end_point: Lsn::INVALID,
            backup_end_required: false,
            ..state.control.clone()
        }
    }
}

/// The timeline at an LSN with those that it came from, as far as the source knows them.
fn timelines_to(source: &dyn DataSource, lsn: Lsn, timeline: u32) -> Result<Timelines, BackupError> {
    let file = source.history_file(timeline);
    let file = file.map_err(|source| BackupError::Source { lsn, what: Timelines::file_name(timeline), source })?;
    let known = file.map(|file| Timelines::parse(timeline, &file));
    known.unwrap_or(Ok(Timelines::single(timeline))).map_err(|source| BackupError::History { lsn, source })
}

/// Reads WAL that has to be there.
pub(crate) fn read_kept(
    source: &dyn DataSource,
    lsn: Lsn,
    from: Lsn,
    at: Lsn,
    piece: &mut [u8],
) -> Result<(), BackupError> {
    let kept = source.wal(at, piece);
    let kept = kept.map_err(|source| BackupError::Source { lsn, what: format!("the WAL from {at} on"), source })?;
    if kept { Ok(()) } else { Err(BackupError::WalNotKept { lsn, from, at }) }
}

struct Search {
    identity: WalIdentity,
    lsn: Lsn,
    last: Option<(Lsn, CheckPoint)>,
    prepared: BTreeSet<u32>,
}

impl Search {
    fn look_at(&mut self, start: Lsn, lsn: Lsn, bytes: &[u8]) -> Result<(), BackupError> {
        let record = Record::parse(self.identity.version, lsn, bytes)
            .map_err(|source| BackupError::Record { lsn: self.lsn, source })?;
        match (record.rmid, record.info & rmgr::XLR_RMGR_INFO_MASK) {
            (rmgr::RM_XLOG_ID, CHECKPOINT_SHUTDOWN | CHECKPOINT_ONLINE) => {
                let check_point = CheckPoint::parse(self.identity.version, record.main_data);
                self.last = check_point.map(|check_point| (start, check_point));
            }
            (rmgr::RM_XACT_ID, info) if info & XACT_OPERATION == PREPARE => {
                self.prepared.insert(record.xid);
            }
            _ => {}
        }
        Ok(())
    }
}
