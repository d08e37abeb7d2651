//! What is in the archives.

use std::collections::BTreeMap;

use pgdata::wal::{PageHeader, SegmentSize};
use pgdata::{
    CheckPoint, ControlFile, DbState, Fork, Lsn, PAGE_SIZE, PageKey, PgVersion, RelTag, SlruKind, SlruSegment,
    set_page_checksum, tablespace_directory,
};
use wal_decoder::{NewRecord, Record, WalIdentity, WalStream, WalWriter, rmgr};

use crate::testing::{Memory, members, page_of};
use crate::{Backup, BackupError, Options, StandbyOptions};

const MIB: u64 = 1 << 20;
const LSN: Lsn = Lsn(3 * MIB + 5000 * 8);
const SEGMENT: &str = "pg_wal/000000010000000000000003";

fn relation(spc: u32, db: u32, rel: u32, fork: Fork) -> RelTag {
    RelTag { spc, db, rel, fork }
}

fn content<'a>(members: &'a [(String, Vec<u8>)], path: &str) -> &'a [u8] {
    let found: Vec<_> = members.iter().filter(|(name, _)| name == path).collect();
    assert_eq!(found.len(), 1, "{path}");
    &found[0].1
}

fn has(members: &[(String, Vec<u8>)], path: &str) -> bool {
    members.iter().any(|(name, _)| name == path)
}

/// The identity of the WAL of [`Memory`].
fn identity(version: PgVersion) -> WalIdentity {
    WalIdentity { version, timeline: 1, system_id: 42, segment_size: SegmentSize::new(1 << 20).unwrap() }
}

/// WAL from the start of segment 3 with records on the way, and where the last one starts and ends.
fn some_wal(version: PgVersion) -> (Vec<u8>, Lsn, Lsn) {
    let mut writer = WalWriter::new(identity(version), Lsn(3 * MIB), Lsn(2 * MIB + 64)).unwrap();
    let mut last = (Lsn::INVALID, Lsn::INVALID);
    for length in [100, 300_000, 20] {
        let data = vec![1; length];
        let record = NewRecord { xid: 0, info: 0, rmid: rmgr::RM_LOGICALMSG_ID, main_data: &data };
        let written = writer.append(&record).unwrap();
        last = (written.start, written.lsn);
    }
    (writer.bytes().to_vec(), last.0, last.1)
}

/// The last record of WAL that begins at the start of segment 3.
fn checkpoint_in(version: PgVersion, wal: &[u8], from: Lsn) -> (Lsn, Lsn, CheckPoint) {
    let mut stream = WalStream::new(from, 1 << 20, version).unwrap();
    let mut whole = stream.feed(&wal[from.bytes_since(Lsn(3 * MIB)) as usize..]);
    let mut last = None;
    while let Ok(Some(record)) = whole.next_record() {
        let parsed = Record::parse(version, record.lsn, record.bytes).unwrap();
        let check_point = CheckPoint::parse(version, parsed.main_data);
        last = check_point.map(|check_point| (record.start, parsed.prev, check_point));
    }
    last.expect("a checkpoint")
}

#[test]
fn a_directory_has_everything_that_a_server_wants() {
    for version in PgVersion::ALL {
        let mut source = Memory::new(version, LSN).with_blob("backup_label").with_blob("standby.signal");
        source.objects = vec![
            (SlruSegment { kind: SlruKind::Clog, segno: 0x1F }.into(), 2),
            (relation(1663, 5, 16384, Fork::Main).into(), 40),
            (relation(1663, 5, 16384, Fork::Vm).into(), 1),
            (relation(1663, 5, 16390, Fork::Main).into(), 0),
            (relation(1664, 0, 1262, Fork::Main).into(), 1),
        ];
        let members = source.members(&Options::default()).unwrap();
        for path in ["pg_wal/archive_status/", "pg_notify/", "pg_replslot/", "pg_stat/", "pg_tblspc/", "base/5/"] {
            assert!(has(&members, path), "{path}");
        }
        assert_eq!(content(&members, "PG_VERSION"), b"PG_VERSION");
        assert_eq!(content(&members, "postgresql.conf"), b"postgresql.conf");
        assert_eq!(content(&members, "base/5/16384").len(), 40 * PAGE_SIZE);
        let last = PageKey::relation(relation(1663, 5, 16384, Fork::Main), 39);
        assert_eq!(content(&members, "base/5/16384")[39 * PAGE_SIZE..], page_of(last));
        assert_eq!(content(&members, "base/5/16384_vm").len(), PAGE_SIZE);
        assert_eq!(content(&members, "base/5/16390"), b"");
        assert_eq!(content(&members, "global/1262").len(), PAGE_SIZE);
        assert_eq!(content(&members, "pg_xact/001F").len(), 2 * PAGE_SIZE);
        assert!(!has(&members, "backup_label") && !has(&members, "standby.signal"));
        assert_eq!(members.last().unwrap().0, "global/pg_control");
        let control = ControlFile::parse(content(&members, "global/pg_control")).unwrap();
        assert_eq!((control.check_point, control.check_point_copy.redo), (LSN, LSN));
        let (start, prev, check_point) = checkpoint_in(version, content(&members, SEGMENT), LSN);
        assert_eq!((start, prev, check_point), (LSN, Lsn::INVALID, control.check_point_copy));
    }
}

#[test]
fn directories_come_before_what_is_in_them() {
    let members = Memory::new(PgVersion::V17, LSN).members(&Options::default()).unwrap();
    for (at, (path, _)) in members.iter().enumerate() {
        if let Some((parent, _)) = path.trim_end_matches('/').rsplit_once('/') {
            let parent = format!("{parent}/");
            assert!(members[..at].iter().any(|(earlier, _)| *earlier == parent), "{parent} of {path}");
        }
    }
}

#[test]
fn an_unlogged_relation_is_a_copy_of_its_init_fork() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    let rel = relation(1663, 5, 16384, Fork::Main);
    source.objects = [(Fork::Main, 9), (Fork::Fsm, 3), (Fork::Vm, 1), (Fork::Init, 2)]
        .map(|(fork, blocks)| (rel.with_fork(fork).into(), blocks))
        .to_vec();
    source.objects.push((relation(1663, 5, 16385, Fork::Fsm).into(), 3));
    let members = source.members(&Options::default()).unwrap();
    let main = content(&members, "base/5/16384");
    assert_eq!(main, content(&members, "base/5/16384_init"));
    assert_eq!(main[..PAGE_SIZE], page_of(PageKey::relation(rel.with_fork(Fork::Init), 0)));
    assert!(!has(&members, "base/5/16384_fsm") && !has(&members, "base/5/16384_vm"));
    assert!(has(&members, "base/5/16385_fsm"));
}

#[test]
fn pages_have_checksums_where_the_cluster_has_them() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.state.control.data_checksum_version = 1;
    let rel = relation(1663, 5, 16384, Fork::Main);
    let segment = SlruSegment { kind: SlruKind::Clog, segno: 0 };
    source.objects = vec![(rel.into(), 40), (segment.into(), 1)];
    let members = source.members(&Options::default()).unwrap();
    let mut expected = page_of(PageKey::relation(rel, 39));
    set_page_checksum(&mut expected, 39);
    assert_eq!(content(&members, "base/5/16384")[39 * PAGE_SIZE..], expected);
    assert_eq!(content(&members, "pg_xact/0000"), page_of(PageKey { object: segment.into(), block: 0 }));
}

#[test]
fn pages_are_asked_for_in_runs() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    let rel = relation(1663, 5, 16384, Fork::Main).into();
    let other = relation(1663, 5, 16385, Fork::Main).into();
    source.objects = vec![(rel, 70), (other, 3)];
    source.members(&Options::default()).unwrap();
    let mut runs = source.runs.lock().unwrap().clone();
    runs.sort_unstable();
    assert_eq!(runs, [(rel, 0, 32), (rel, 32, 32), (rel, 64, 6), (other, 0, 3)]);
}

#[test]
fn commit_timestamps_are_there_only_while_they_are_kept() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.objects = vec![(SlruSegment { kind: SlruKind::CommitTs, segno: 0 }.into(), 1)];
    assert!(!has(&source.members(&Options::default()).unwrap(), "pg_commit_ts/0000"));
    source.state.control.track_commit_timestamp = true;
    assert!(has(&source.members(&Options::default()).unwrap(), "pg_commit_ts/0000"));
}

#[test]
fn the_segment_carries_the_wal_that_leads_to_the_lsn() {
    for version in PgVersion::ALL {
        let (wal, last, end) = some_wal(version);
        let mut source = Memory::new(version, end);
        source.wal = Some((Lsn(3 * MIB), wal.clone()));
        let members = source.members(&Options::default()).unwrap();
        let segment = content(&members, SEGMENT);
        assert_eq!(segment.len(), 1 << 20);
        assert_eq!(segment[..wal.len()], wal);
        let (start, prev, _) = checkpoint_in(version, segment, Lsn(3 * MIB));
        assert_eq!((start, prev), (end, last));
    }
}

#[test]
fn without_the_wal_there_are_pages_with_headers() {
    let mut source = Memory::new(PgVersion::V16, LSN);
    // The WAL kept begins behind the segment's start: it is no use.
    source.wal = Some((Lsn(3 * MIB + 8192), vec![1; 1 << 20]));
    source.last_record = Some(Lsn(LSN.0 - 80));
    let members = source.members(&Options::default()).unwrap();
    let segment = content(&members, SEGMENT);
    let size = SegmentSize::new(1 << 20).unwrap();
    let end = LSN.bytes_since(Lsn(3 * MIB)) as usize;
    for (page, at) in segment[..end].chunks(8192).zip((3 * MIB..).step_by(8192)) {
        let header = PageHeader::parse(page, Lsn(at), size).unwrap();
        assert!(page[header.len()..].iter().all(|&byte| byte == 0));
    }
    assert_eq!(checkpoint_in(PgVersion::V16, segment, LSN).1, Lsn(LSN.0 - 80));
}

#[test]
fn a_checkpoint_record_goes_on_in_the_next_segment() {
    let source = Memory::new(PgVersion::V15, Lsn(4 * MIB - 16));
    let members = source.members(&Options::default()).unwrap();
    let mut wal = content(&members, SEGMENT).to_vec();
    wal.extend_from_slice(content(&members, "pg_wal/000000010000000000000004"));
    assert_eq!(wal.len(), 2 << 20);
    assert_eq!(checkpoint_in(PgVersion::V15, &wal, source.lsn).0, source.lsn);
}

#[test]
fn at_a_segments_start_the_record_is_the_first_in_it() {
    for lsn in [Lsn(3 * MIB), Lsn(3 * MIB + 16), Lsn(3 * MIB + 40)] {
        let mut source = Memory::new(PgVersion::V15, lsn);
        source.last_record = Some(Lsn(3 * MIB - 64));
        let backup = Backup::new(&source, &Options::default()).unwrap();
        assert_eq!((backup.lsn(), backup.check_point().redo), (Lsn(3 * MIB), Lsn(3 * MIB + 40)));
        let members = members(&backup.write(Vec::new()).unwrap());
        let (start, prev, _) = checkpoint_in(PgVersion::V15, content(&members, SEGMENT), Lsn(3 * MIB));
        assert_eq!((start, prev), (Lsn(3 * MIB + 40), Lsn(3 * MIB - 64)));
    }
}

#[test]
fn wal_that_breaks_off_is_an_error() {
    let (wal, _, end) = some_wal(PgVersion::V15);
    let mut source = Memory::new(PgVersion::V15, end);
    source.wal = Some((Lsn(3 * MIB), wal[..wal.len() - 8].to_vec()));
    let error = source.members(&Options::default()).unwrap_err();
    assert!(matches!(error, BackupError::WalGap { at, .. } if at == Lsn(3 * MIB + (256 << 10))), "{error}");
}

#[test]
fn tablespaces_are_directories_unless_they_are_linked_elsewhere() {
    let version = PgVersion::V15;
    let directory = tablespace_directory(version);
    let mut source = Memory::new(version, LSN).with_blob("pg_tblspc/16400").with_blob("pg_tblspc/16401");
    source = source.with_blob(&format!("pg_tblspc/16401/{directory}/5/PG_VERSION"));
    source.objects = vec![(relation(16400, 5, 1, Fork::Main).into(), 1), (relation(16401, 5, 2, Fork::Main).into(), 1)];
    let plain = source.members(&Options::default()).unwrap();
    for path in [format!("pg_tblspc/16400/{directory}/5/1"), format!("pg_tblspc/16401/{directory}/5/2")] {
        assert!(has(&plain, &path), "{path}");
    }

    let links = BTreeMap::from([(16401, "/some/where".to_owned())]);
    let backup = Backup::new(&source, &Options { links, ..Options::default() }).unwrap();
    assert_eq!(Vec::from_iter(backup.tablespaces()), [(16400, None), (16401, Some("/some/where"))]);
    let main = members(&backup.write(Vec::new()).unwrap());
    assert_eq!(content(&main, "pg_tblspc/16401"), b"/some/where");
    assert!(has(&main, &format!("pg_tblspc/16400/{directory}/5/1")));
    assert!(!main.iter().any(|(path, _)| path.starts_with("pg_tblspc/16401/")));
    let own = members(&backup.write_tablespace(16401, Vec::new()).unwrap());
    let paths: Vec<&str> = own.iter().map(|(path, _)| path.as_str()).collect();
    let files = ["PG_VERSION", "2"].map(|file| format!("{directory}/5/{file}"));
    assert_eq!(paths[1..], [&format!("{directory}/"), &format!("{directory}/5/"), &files[0], &files[1]]);
    let error = backup.write_tablespace(16400, Vec::new()).unwrap_err();
    assert!(matches!(error, BackupError::NotLinked { oid: 16400 }), "{error}");
}

#[test]
fn links_must_fit_the_cluster() {
    let source = Memory::new(PgVersion::V15, LSN).with_blob("pg_tblspc/16400");
    let refused = |oid, target: &str| {
        let links = BTreeMap::from([(oid, target.to_owned())]);
        Backup::new(&source, &Options { links, ..Options::default() }).err().expect("an error")
    };
    assert!(matches!(refused(16400, "relative"), BackupError::LinkTarget { oid: 16400, .. }));
    assert!(matches!(refused(16401, "/path"), BackupError::NoTablespace { oid: 16401, .. }));
}

#[test]
fn a_cluster_without_configuration_gets_one_that_starts() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.blobs.remove("postgresql.conf");
    source.state.control.max_prepared_xacts = 33;
    let members = source.members(&Options::default()).unwrap();
    let text = String::from_utf8(content(&members, "postgresql.conf").to_vec()).unwrap();
    assert!(text.contains("max_prepared_transactions = 33\n"), "{text}");
    assert_eq!(content(&members, "pg_hba.conf"), b"pg_hba.conf");
}

#[test]
fn what_could_not_start_is_refused() {
    let refused = |source: Memory| Backup::new(&source, &Options::default()).err().expect("an error");
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.blobs.remove("global/pg_filenode.map");
    assert!(matches!(refused(source), BackupError::Missing { path: "global/pg_filenode.map", .. }));
    let source = Memory::new(PgVersion::V15, LSN).with_blob("pg_twophase/000003E8");
    assert!(matches!(refused(source), BackupError::PreparedTransaction { next_xid: 1000, .. }));
    assert!(matches!(refused(Memory::new(PgVersion::V15, Lsn::INVALID)), BackupError::Lsn { .. }));
    let source = Memory::new(PgVersion::V15, LSN).with_blob("../postgresql.conf");
    assert!(matches!(refused(source), BackupError::Path(_)));
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.state.control.wal_segment_size = 3;
    assert!(matches!(refused(source), BackupError::SegmentSize(_)));
}

#[test]
fn an_slru_segment_has_32_pages_at_most() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.objects = vec![(SlruSegment { kind: SlruKind::Clog, segno: 0 }.into(), 33)];
    let error = source.members(&Options::default()).unwrap_err();
    assert!(matches!(error, BackupError::SlruSize { blocks: 33, .. }), "{error}");
}

#[test]
fn a_sources_error_says_what_was_read_and_ends_the_archive() {
    let mut source = Memory::new(PgVersion::V15, LSN);
    source.broken = Some("base/5/PG_VERSION");
    let mut out = Vec::new();
    let error = Backup::new(&source, &Options::default()).unwrap().write(&mut out).unwrap_err();
    assert_eq!(error.to_string(), format!("backup at {LSN}: reading base/5/PG_VERSION: the disk is on fire"));
    assert!(out.len() > 1024 && out[out.len() - 1024..] != [0; 1024], "the archive looks whole");
}

#[test]
fn the_same_lsn_gives_the_same_bytes() {
    let archive = || {
        let source = Memory::new(PgVersion::V15, LSN);
        Backup::new(&source, &Options::default()).unwrap().write(Vec::new()).unwrap()
    };
    assert_eq!(archive(), archive());
}

/// WAL over two segments: a checkpoint whose redo pointer lies in the first, with a prepared transaction behind that. The source's
/// state is as it says, and its LSN is the end.
fn with_checkpoint(version: PgVersion) -> (Memory, Vec<u8>, Lsn) {
    let mut writer = WalWriter::new(identity(version), Lsn(3 * MIB), Lsn(2 * MIB + 64)).unwrap();
    let append = |writer: &mut WalWriter, rmid, info, xid, main_data: &[u8]| {
        writer.append(&NewRecord { xid, info, rmid, main_data }).unwrap()
    };
    append(&mut writer, rmgr::RM_LOGICALMSG_ID, 0, 0, &[1; 1000]);
    let redo = append(&mut writer, rmgr::RM_LOGICALMSG_ID, 0, 0, &[1; 900_000]).start;
    append(&mut writer, rmgr::RM_XACT_ID, 0x10, 900, &[0; 100]);
    append(&mut writer, rmgr::RM_LOGICALMSG_ID, 0, 0, &[1; 300_000]);
    let check_point = CheckPoint { redo, next_xid: 901, time: 77, ..CheckPoint::initial(version) };
    let record = append(&mut writer, rmgr::RM_XLOG_ID, 0x10, 0, &check_point.to_bytes(version)).start;
    let end = append(&mut writer, rmgr::RM_LOGICALMSG_ID, 0, 0, &[1; 10]).lsn;
    let mut source = Memory::new(version, end);
    source.state.counters = CheckPoint { next_xid: 1000, ..check_point };
    source.wal = Some((Lsn(3 * MIB), writer.bytes().to_vec()));
    (source, writer.bytes().to_vec(), record)
}

fn standby(primary_conninfo: Option<&str>) -> Options {
    let primary_conninfo = primary_conninfo.map(str::to_owned);
    Options { standby: Some(StandbyOptions { primary_conninfo }), ..Options::default() }
}

#[test]
fn a_standby_has_the_history_from_its_last_checkpoint_on() {
    for version in PgVersion::ALL {
        let (mut source, wal, record) = with_checkpoint(version);
        source.blobs.insert("postgresql.auto.conf".to_owned(), b"a = 1\n".to_vec());
        let rel = relation(1663, 5, 16384, Fork::Main);
        source.objects = vec![(rel.into(), 9), (rel.with_fork(Fork::Init).into(), 2)];
        let members = source.members(&standby(Some("host=a"))).unwrap();

        let mut history = content(&members, SEGMENT).to_vec();
        history.extend_from_slice(content(&members, "pg_wal/000000010000000000000004"));
        assert_eq!(history[..wal.len()], wal);
        assert!(history.len() == 2 << 20 && history[wal.len()..].iter().all(|&byte| byte == 0));
        let control = ControlFile::parse(content(&members, "global/pg_control")).unwrap();
        assert_eq!((control.state, control.check_point), (DbState::InArchiveRecovery, record));
        assert_eq!((control.min_recovery_point, control.min_recovery_point_timeline), (source.lsn, 1));
        assert_eq!((control.check_point_copy.next_xid, control.check_point_copy.time), (901, 77));
        let label = String::from_utf8(content(&members, "backup_label").to_vec()).unwrap();
        let redo = control.check_point_copy.redo;
        let lines = [
            format!("START WAL LOCATION: {redo} (file 000000010000000000000003)"),
            format!("CHECKPOINT LOCATION: {record}"),
        ];
        assert_eq!(Vec::from_iter(label.lines().take(2)), lines);
        assert!(label.contains("\nBACKUP FROM: standby\n"), "{label}");
        assert_eq!(content(&members, "standby.signal"), b"");
        assert_eq!(content(&members, "postgresql.auto.conf"), b"a = 1\nprimary_conninfo = 'host=a'\n");
        assert!(!has(&members, "base/5/16384") && has(&members, "base/5/16384_init"));
    }
}

#[test]
fn a_standby_replays_what_was_prepared_since_the_checkpoint_itself() {
    let (source, ..) = with_checkpoint(PgVersion::V15);
    let source = source.with_blob("pg_twophase/00000384").with_blob("pg_twophase/00000383");
    let members = source.members(&standby(None)).unwrap();
    assert!(has(&members, "pg_twophase/00000383") && !has(&members, "pg_twophase/00000384"));
    assert!(has(&source.members(&Options::default()).unwrap(), "pg_twophase/00000384"));
}

#[test]
fn a_standby_needs_the_wal_from_the_checkpoint_on() {
    let refused = |source: &Memory| source.members(&standby(None)).unwrap_err();
    let (mut source, wal, _) = with_checkpoint(PgVersion::V15);
    source.wal = Some((Lsn(4 * MIB), wal[1 << 20..].to_vec()));
    let error = refused(&source);
    assert!(matches!(error, BackupError::WalNotKept { from, at, .. } if from == at), "{error}");
    let (mut source, ..) = with_checkpoint(PgVersion::V15);
    source.lsn = Lsn(source.lsn.0 - 8);
    assert!(matches!(refused(&source), BackupError::NoRecordEnd { .. }));
    let (mut source, _, record) = with_checkpoint(PgVersion::V15);
    source.state.counters.redo = record;
    assert!(matches!(refused(&source), BackupError::NoCheckpoint { .. }));
    let (mut source, ..) = with_checkpoint(PgVersion::V15);
    source.state.counters.timeline = 2;
    assert!(matches!(refused(&source), BackupError::Switched { before: 1, timeline: 2, .. }));
    source.history = Some(b"nonsense".to_vec());
    assert!(matches!(refused(&source), BackupError::History { .. }));
}

/// The timeline begins in the second segment, behind the last checkpoint: from there on the files have its number.
#[test]
fn a_standby_of_a_moment_after_a_failover_goes_over_to_the_new_timeline() {
    let (mut source, ..) = with_checkpoint(PgVersion::V15);
    source.state.counters.timeline = 2;
    let history = format!("1\t{}\tno recovery target specified\n", Lsn(source.lsn.0 - 40));
    source.history = Some(history.clone().into_bytes());
    let members = source.members(&standby(None)).unwrap();
    let wal = members.iter().map(|(path, _)| path.as_str()).filter(|path| path.starts_with("pg_wal/0"));
    let files = ["00000002.history", "000000010000000000000003", "000000020000000000000004"];
    assert_eq!(Vec::from_iter(wal), files.map(|file| format!("pg_wal/{file}")));
    assert_eq!(content(&members, "pg_wal/00000002.history"), history.as_bytes());
    let label = String::from_utf8(content(&members, "backup_label").to_vec()).unwrap();
    assert!(label.contains("(file 000000010000000000000003)") && label.ends_with("START TIMELINE: 1\n"), "{label}");
    let control = ControlFile::parse(content(&members, "global/pg_control")).unwrap();
    assert_eq!((control.check_point_copy.timeline, control.min_recovery_point_timeline), (1, 2));
}

#[test]
fn the_size_is_about_that_of_the_archive() {
    let (mut source, ..) = with_checkpoint(PgVersion::V15);
    source.objects = vec![(relation(1663, 5, 16384, Fork::Main).into(), 2000)];
    for options in [Options::default(), standby(None)] {
        let backup = Backup::new(&source, &options).unwrap();
        let (about, size) = (backup.size(), backup.write(Vec::new()).unwrap().len() as u64);
        assert!(about.abs_diff(size) < size / 20, "{about}, {size}");
    }
}
