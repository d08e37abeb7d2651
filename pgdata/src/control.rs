//! `global/pg_control` (`struct ControlFileData` of `catalog/pg_control.h`) of PostgreSQL 15 to 18.

use crate::bytes::{Fields, FieldsMut};
use crate::checkpoint::CheckPoint;
use crate::{Lsn, PAGE_SIZE, PgVersion, UnknownVersion};

/// Bytes of the file (`PG_CONTROL_FILE_SIZE`); the structure fills the first 300 or so, the rest is zero.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// Offsets in the C structure on machines that align to 8 bytes, which the control file itself then says.
mod at {
    pub const SYSTEM_IDENTIFIER: usize = 0;
    pub const CONTROL_VERSION: usize = 8;
    pub const CATALOG_VERSION: usize = 12;
    pub const STATE: usize = 16;
    pub const TIME: usize = 24;
    pub const CHECK_POINT: usize = 32;
    pub const CHECK_POINT_COPY: usize = 40;
    pub const UNLOGGED_LSN: usize = 128;
    pub const MIN_RECOVERY_POINT: usize = 136;
    pub const MIN_RECOVERY_POINT_TLI: usize = 144;
    pub const BACKUP_START_POINT: usize = 152;
    pub const BACKUP_END_POINT: usize = 160;
    pub const BACKUP_END_REQUIRED: usize = 168;
    pub const WAL_LEVEL: usize = 172;
    pub const WAL_LOG_HINTS: usize = 176;
    pub const MAX_CONNECTIONS: usize = 180;
    pub const MAX_WORKER_PROCESSES: usize = 184;
    pub const MAX_WAL_SENDERS: usize = 188;
    pub const MAX_PREPARED_XACTS: usize = 192;
    pub const MAX_LOCKS_PER_XACT: usize = 196;
    pub const TRACK_COMMIT_TIMESTAMP: usize = 200;
    pub const MAX_ALIGN: usize = 204;
    pub const FLOAT_FORMAT: usize = 208;
    pub const BLOCK_SIZE: usize = 216;
    pub const SEGMENT_BLOCKS: usize = 220;
    pub const WAL_BLOCK_SIZE: usize = 224;
    pub const WAL_SEGMENT_SIZE: usize = 228;
    pub const NAME_DATA_LEN: usize = 232;
    pub const INDEX_MAX_KEYS: usize = 236;
    pub const TOAST_MAX_CHUNK_SIZE: usize = 240;
    pub const LARGE_OBJECT_BLOCK_SIZE: usize = 244;
    pub const FLOAT8_BY_VALUE: usize = 248;
    pub const DATA_CHECKSUM_VERSION: usize = 252;
    /// From 18 on; it moved the nonce by its one byte.
    pub const DEFAULT_CHAR_SIGNEDNESS: usize = 256;

    pub const fn nonce(version: super::PgVersion) -> usize {
        match version {
            super::PgVersion::V15 | super::PgVersion::V16 | super::PgVersion::V17 => 256,
            super::PgVersion::V18 => 257,
        }
    }

    pub const fn crc(version: super::PgVersion) -> usize {
        match version {
            super::PgVersion::V15 | super::PgVersion::V16 | super::PgVersion::V17 => 288,
            super::PgVersion::V18 => 292,
        }
    }
}

/// `FLOATFORMAT_VALUE`.
const FLOAT_FORMAT: f64 = 1_234_567.0;

/// The choices made when a server is built that decide the format of its data: name, offset, the only value known here.
const BUILD_CHOICES: [(&str, usize, u32); 8] = [
    ("maxAlign", at::MAX_ALIGN, 8),
    ("blcksz", at::BLOCK_SIZE, PAGE_SIZE as u32),
    ("relseg_size", at::SEGMENT_BLOCKS, crate::SEGMENT_BLOCKS),
    ("xlog_blcksz", at::WAL_BLOCK_SIZE, 8192),
    ("nameDataLen", at::NAME_DATA_LEN, 64),
    ("indexMaxKeys", at::INDEX_MAX_KEYS, 32),
    ("toast_max_chunk_size", at::TOAST_MAX_CHUNK_SIZE, 1996),
    ("loblksize", at::LARGE_OBJECT_BLOCK_SIZE, 2048),
];

/// What the server was doing when it last wrote the file (`enum DBState`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum DbState {
    /// `DB_STARTUP`.
    Startup = 0,
    /// `DB_SHUTDOWNED`: shut down cleanly; it starts without replay.
    ShutDown = 1,
    /// `DB_SHUTDOWNED_IN_RECOVERY`.
    ShutDownInRecovery = 2,
    /// `DB_SHUTDOWNING`.
    ShuttingDown = 3,
    /// `DB_IN_CRASH_RECOVERY`.
    InCrashRecovery = 4,
    /// `DB_IN_ARCHIVE_RECOVERY`.
    InArchiveRecovery = 5,
    /// `DB_IN_PRODUCTION`.
    InProduction = 6,
}

impl DbState {
    const ALL: [DbState; 7] = [
        DbState::Startup,
        DbState::ShutDown,
        DbState::ShutDownInRecovery,
        DbState::ShuttingDown,
        DbState::InCrashRecovery,
        DbState::InArchiveRecovery,
        DbState::InProduction,
    ];
}

/// The contents of a control file. What can have one value only ([`ControlFile::parse`] refuses the others) has no field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControlFile {
    /// Whose format it is.
    pub version: PgVersion,
    /// The cluster's identity, the same in its WAL's long page headers and its replication protocol.
    pub system_identifier: u64,
    /// What the server was doing.
    pub state: DbState,
    /// When the file was last written, in seconds since 1970.
    pub time: i64,
    /// Where the last checkpoint's record begins.
    pub check_point: Lsn,
    /// What that record says.
    pub check_point_copy: CheckPoint,
    /// The counter that stands in for LSNs in unlogged relations.
    pub unlogged_lsn: Lsn,
    /// How far replay must come before the data is consistent; zero outside archive recovery.
    pub min_recovery_point: Lsn,
    /// The timeline of `min_recovery_point`.
    pub min_recovery_point_timeline: u32,
    /// Redo pointer of the backup's checkpoint while its end has not been replayed, else zero.
    pub backup_start_point: Lsn,
    /// End of a backup taken from a standby while it has not been replayed, else zero.
    pub backup_end_point: Lsn,
    /// Whether a backup-end record must come before the data is consistent.
    pub backup_end_required: bool,
    /// The setting `wal_level` as its number: 0 minimal, 1 replica, 2 logical.
    pub wal_level: i32,
    /// The setting `wal_log_hints`.
    pub wal_log_hints: bool,
    /// The setting `max_connections`.
    pub max_connections: i32,
    /// The setting `max_worker_processes`.
    pub max_worker_processes: i32,
    /// The setting `max_wal_senders`.
    pub max_wal_senders: i32,
    /// The setting `max_prepared_transactions`.
    pub max_prepared_xacts: i32,
    /// The setting `max_locks_per_transaction`.
    pub max_locks_per_xact: i32,
    /// The setting `track_commit_timestamp`.
    pub track_commit_timestamp: bool,
    /// Bytes of a WAL segment: a power of two from 1 MiB to 1 GiB.
    pub wal_segment_size: u32,
    /// Zero if pages carry no checksums.
    pub data_checksum_version: u32,
    /// Whether `char` is signed where the cluster was made; recorded from 18 on, `None` before.
    pub default_char_signedness: Option<bool>,
    /// The secret behind made-up authentication answers.
    pub mock_authentication_nonce: [u8; 32],
}

/// Why a control file is not believed or not supported.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum ControlFileError {
    /// Too few bytes.
    #[error("pg_control is too short: {got} bytes where at least {need} are needed")]
    TooShort {
        /// Bytes given.
        got: usize,
        /// Bytes of the structure.
        need: usize,
    },
    /// Another version.
    #[error("pg_control: {0}")]
    Version(#[from] UnknownVersion),
    /// Damaged.
    #[error("pg_control is damaged: its CRC is {found:#010X}, its content makes {computed:#010X}")]
    Crc {
        /// The CRC in the file.
        found: u32,
        /// What it should be.
        computed: u32,
    },
    /// A server built with other choices.
    #[error("pg_control: the cluster was made by a server built with {name} = {found}; only {expected} is supported")]
    BuildChoice {
        /// The field's name in PostgreSQL.
        name: &'static str,
        /// Its value.
        found: u32,
        /// The value known here.
        expected: u32,
    },
    /// Another floating-point format.
    #[error(
        "pg_control: the cluster was made on a machine with another floating-point format ({0} where 1234567 is expected)"
    )]
    FloatFormat(f64),
    /// No WAL segment size.
    #[error("pg_control: {0} is not a WAL segment size: a power of two from 1 MiB to 1 GiB is expected")]
    WalSegmentSize(u32),
    /// No state of a server.
    #[error("pg_control: {0} is not a state of a server: 0 to 6 are")]
    State(u32),
}

impl ControlFile {
    /// The control file of a cluster with nothing in it yet, `initdb`'s settings, no checksums and no transactions.
    #[must_use]
    pub fn initial(version: PgVersion, system_identifier: u64) -> ControlFile {
        ControlFile {
            version,
            system_identifier,
            state: DbState::ShutDown,
            time: 0,
            check_point: Lsn::INVALID,
            check_point_copy: CheckPoint::initial(version),
            unlogged_lsn: Lsn(1000),
            min_recovery_point: Lsn::INVALID,
            min_recovery_point_timeline: 0,
            backup_start_point: Lsn::INVALID,
            backup_end_point: Lsn::INVALID,
            backup_end_required: false,
            wal_level: 1,
            wal_log_hints: false,
            max_connections: 100,
            max_worker_processes: 8,
            max_wal_senders: 10,
            max_prepared_xacts: 0,
            max_locks_per_xact: 64,
            track_commit_timestamp: false,
            wal_segment_size: 16 << 20,
            data_checksum_version: 0,
            default_char_signedness: (version >= PgVersion::V18).then_some(true),
            mock_authentication_nonce: [0; 32],
        }
    }

    /// Reads a control file. Bytes after the structure (the file is filled up to 8192) do not matter.
    ///
    /// # Errors
    /// [`ControlFileError`] if it is damaged, of another version, or of a server built with other choices than the usual.
    pub fn parse(bytes: &[u8]) -> Result<ControlFile, ControlFileError> {
        let short = |need| ControlFileError::TooShort { got: bytes.len(), need };
        let head = bytes.get(..at::STATE).ok_or_else(|| short(at::STATE)).map(Fields::new)?;
        let version = PgVersion::from_control(head.u32(at::CONTROL_VERSION), head.u32(at::CATALOG_VERSION))?;
        let need = at::crc(version) + 4;
        let bytes = bytes.get(..need).ok_or_else(|| short(need))?;
        let fields = Fields::new(bytes);
        let (found, computed) = (fields.u32(at::crc(version)), crc32c::crc32c(&bytes[..at::crc(version)]));
        if found != computed {
            return Err(ControlFileError::Crc { found, computed });
        }
        check_build(&fields)?;
        Self::read(version, bytes, &fields)
    }

    fn read(version: PgVersion, bytes: &[u8], fields: &Fields<'_>) -> Result<ControlFile, ControlFileError> {
        let state = fields.u32(at::STATE);
        Ok(ControlFile {
            version,
            system_identifier: fields.u64(at::SYSTEM_IDENTIFIER),
            state: DbState::ALL.get(state as usize).copied().ok_or(ControlFileError::State(state))?,
            time: fields.i64(at::TIME),
            check_point: Lsn(fields.u64(at::CHECK_POINT)),
            check_point_copy: CheckPoint::parse(version, &bytes[at::CHECK_POINT_COPY..])
                .expect("the checkpoint lies within the structure"),
            unlogged_lsn: Lsn(fields.u64(at::UNLOGGED_LSN)),
            min_recovery_point: Lsn(fields.u64(at::MIN_RECOVERY_POINT)),
            min_recovery_point_timeline: fields.u32(at::MIN_RECOVERY_POINT_TLI),
            backup_start_point: Lsn(fields.u64(at::BACKUP_START_POINT)),
            backup_end_point: Lsn(fields.u64(at::BACKUP_END_POINT)),
            backup_end_required: fields.bool(at::BACKUP_END_REQUIRED),
            wal_level: fields.i32(at::WAL_LEVEL),
            wal_log_hints: fields.bool(at::WAL_LOG_HINTS),
            max_connections: fields.i32(at::MAX_CONNECTIONS),
            max_worker_processes: fields.i32(at::MAX_WORKER_PROCESSES),
            max_wal_senders: fields.i32(at::MAX_WAL_SENDERS),
            max_prepared_xacts: fields.i32(at::MAX_PREPARED_XACTS),
            max_locks_per_xact: fields.i32(at::MAX_LOCKS_PER_XACT),
            track_commit_timestamp: fields.bool(at::TRACK_COMMIT_TIMESTAMP),
            wal_segment_size: fields.u32(at::WAL_SEGMENT_SIZE),
            data_checksum_version: fields.u32(at::DATA_CHECKSUM_VERSION),
            default_char_signedness: (version >= PgVersion::V18).then(|| fields.bool(at::DEFAULT_CHAR_SIGNEDNESS)),
            mock_authentication_nonce: fields.array(at::nonce(version)),
        })
    }

    /// The whole file, [`CONTROL_FILE_SIZE`] bytes with a right CRC, as a server of [`ControlFile::version`] reads it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; CONTROL_FILE_SIZE];
        self.write(&mut FieldsMut::new(&mut bytes));
        let crc_at = at::crc(self.version);
        let crc = crc32c::crc32c(&bytes[..crc_at]);
        FieldsMut::new(&mut bytes).u32(crc_at, crc);
        bytes
    }

    fn write(&self, fields: &mut FieldsMut<'_>) {
        fields.u64(at::SYSTEM_IDENTIFIER, self.system_identifier);
        fields.u32(at::CONTROL_VERSION, self.version.control_version());
        fields.u32(at::CATALOG_VERSION, self.version.catalog_version());
        fields.u32(at::STATE, self.state as u32);
        fields.i64(at::TIME, self.time);
        fields.u64(at::CHECK_POINT, self.check_point.0);
        fields.put(at::CHECK_POINT_COPY, &self.check_point_copy.to_bytes(self.version));
        fields.u64(at::UNLOGGED_LSN, self.unlogged_lsn.0);
        fields.u64(at::MIN_RECOVERY_POINT, self.min_recovery_point.0);
        fields.u32(at::MIN_RECOVERY_POINT_TLI, self.min_recovery_point_timeline);
        fields.u64(at::BACKUP_START_POINT, self.backup_start_point.0);
        fields.u64(at::BACKUP_END_POINT, self.backup_end_point.0);
        fields.bool(at::BACKUP_END_REQUIRED, self.backup_end_required);
        fields.i32(at::WAL_LEVEL, self.wal_level);
        fields.bool(at::WAL_LOG_HINTS, self.wal_log_hints);
        fields.i32(at::MAX_CONNECTIONS, self.max_connections);
        fields.i32(at::MAX_WORKER_PROCESSES, self.max_worker_processes);
        fields.i32(at::MAX_WAL_SENDERS, self.max_wal_senders);
        fields.i32(at::MAX_PREPARED_XACTS, self.max_prepared_xacts);
        fields.i32(at::MAX_LOCKS_PER_XACT, self.max_locks_per_xact);
        fields.bool(at::TRACK_COMMIT_TIMESTAMP, self.track_commit_timestamp);
        for (_, offset, value) in BUILD_CHOICES {
            fields.u32(offset, value);
        }
        fields.put(at::FLOAT_FORMAT, &FLOAT_FORMAT.to_le_bytes());
        fields.bool(at::FLOAT8_BY_VALUE, true);
        fields.u32(at::WAL_SEGMENT_SIZE, self.wal_segment_size);
        fields.u32(at::DATA_CHECKSUM_VERSION, self.data_checksum_version);
        if self.version >= PgVersion::V18 {
            fields.bool(at::DEFAULT_CHAR_SIGNEDNESS, self.default_char_signedness.unwrap_or(true));
        }
        fields.put(at::nonce(self.version), &self.mock_authentication_nonce);
    }

    /// Whether pages carry checksums.
    #[must_use]
    pub fn data_checksums(&self) -> bool {
        self.data_checksum_version != 0
    }
}

fn check_build(fields: &Fields<'_>) -> Result<(), ControlFileError> {
    for (name, offset, expected) in BUILD_CHOICES {
        let found = fields.u32(offset);
        if found != expected {
            return Err(ControlFileError::BuildChoice { name, found, expected });
        }
    }
    if !fields.bool(at::FLOAT8_BY_VALUE) {
        return Err(ControlFileError::BuildChoice { name: "float8ByVal", found: 0, expected: 1 });
    }
    let float = f64::from_le_bytes(fields.array(at::FLOAT_FORMAT));
    if float.to_bits() != FLOAT_FORMAT.to_bits() {
        return Err(ControlFileError::FloatFormat(float));
    }
    let segment = fields.u32(at::WAL_SEGMENT_SIZE);
    if !segment.is_power_of_two() || !((1 << 20)..=(1 << 30)).contains(&segment) {
        return Err(ControlFileError::WalSegmentSize(segment));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `initdb` of each version wrote: see `tests/data/README.md`.
    const FILES: [(PgVersion, &[u8]); 4] = [
        (PgVersion::V15, include_bytes!("../tests/data/pg_control_15.bin")),
        (PgVersion::V16, include_bytes!("../tests/data/pg_control_16.bin")),
        (PgVersion::V17, include_bytes!("../tests/data/pg_control_17.bin")),
        (PgVersion::V18, include_bytes!("../tests/data/pg_control_18.bin")),
    ];

    /// A file with some bytes changed and the CRC made right again.
    fn patched(version: PgVersion, offset: usize, value: &[u8]) -> Vec<u8> {
        let mut bytes = FILES.iter().find(|file| file.0 == version).unwrap().1.to_vec();
        bytes[offset..offset + value.len()].copy_from_slice(value);
        let crc = crc32c::crc32c(&bytes[..at::crc(version)]);
        FieldsMut::new(&mut bytes).u32(at::crc(version), crc);
        bytes
    }

    #[test]
    fn files_of_every_version_are_read_and_written_again() {
        for (version, bytes) in FILES {
            let control = ControlFile::parse(bytes).unwrap();
            assert_eq!(control.version, version);
            assert_eq!(control.state, DbState::ShutDown);
            let written = control.to_bytes();
            assert_eq!(written.len(), CONTROL_FILE_SIZE);
            assert_eq!(&written[..bytes.len()], bytes, "{version}");
            assert!(written[bytes.len()..].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn fields_are_what_pg_controldata_prints() {
        let control = ControlFile::parse(FILES[0].1).unwrap();
        assert_eq!(control.check_point, control.check_point_copy.redo);
        assert_eq!(control.check_point_copy.timeline, 1);
        assert_eq!(control.check_point_copy.next_multi, 1);
        assert!(control.check_point_copy.full_page_writes);
        assert_eq!(control.wal_level, 1);
        assert_eq!(control.max_connections, 100);
        assert_eq!(control.max_worker_processes, 8);
        assert_eq!(control.max_wal_senders, 10);
        assert_eq!(control.max_locks_per_xact, 64);
        assert_eq!(control.wal_segment_size, 16 << 20);
        assert!(control.data_checksums());
        assert!(!ControlFile::parse(FILES[1].1).unwrap().data_checksums());
        assert_eq!(ControlFile::parse(FILES[3].1).unwrap().default_char_signedness, Some(true));
        assert_eq!(ControlFile::parse(FILES[3].1).unwrap().check_point_copy.wal_level, 1);
    }

    #[test]
    fn a_changed_byte_is_damage() {
        for (version, bytes) in FILES {
            for offset in at::STATE..at::crc(version) {
                let mut damaged = bytes.to_vec();
                damaged[offset] ^= 0x10;
                assert!(matches!(ControlFile::parse(&damaged), Err(ControlFileError::Crc { .. })));
            }
        }
    }

    #[test]
    fn short_files_are_refused() {
        for (version, bytes) in FILES {
            for len in 0..at::crc(version) + 4 {
                assert!(matches!(ControlFile::parse(&bytes[..len]), Err(ControlFileError::TooShort { .. })));
            }
        }
    }

    #[test]
    fn other_versions_are_refused_by_name() {
        let error = ControlFile::parse(&patched(PgVersion::V15, at::CATALOG_VERSION, &1_u32.to_le_bytes()));
        assert!(matches!(error, Err(ControlFileError::Version(UnknownVersion::Control { control: 1300, catalog: 1 }))));
    }

    #[test]
    fn other_builds_are_refused_by_name() {
        for (name, offset, value) in BUILD_CHOICES {
            let error = ControlFile::parse(&patched(PgVersion::V17, offset, &(value * 2).to_le_bytes())).unwrap_err();
            assert!(matches!(error, ControlFileError::BuildChoice { name: n, .. } if n == name), "{error}");
        }
        for (offset, value) in [(at::FLOAT_FORMAT, vec![0; 8]), (at::FLOAT8_BY_VALUE, vec![0])] {
            assert!(ControlFile::parse(&patched(PgVersion::V18, offset, &value)).is_err());
        }
        for size in [0_u32, 1 << 19, 3 << 20, 1 << 31] {
            let error = ControlFile::parse(&patched(PgVersion::V16, at::WAL_SEGMENT_SIZE, &size.to_le_bytes()));
            assert_eq!(error, Err(ControlFileError::WalSegmentSize(size)));
        }
        let error = ControlFile::parse(&patched(PgVersion::V16, at::STATE, &7_u32.to_le_bytes()));
        assert_eq!(error, Err(ControlFileError::State(7)));
    }
}
