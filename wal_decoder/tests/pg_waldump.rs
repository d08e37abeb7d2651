//! The WAL of real servers, record by record against `pg_waldump`.
//!
//! PostgreSQL 15 must be installed (Debian's place, or `PG_BIN_15`). Other versions are checked where they are named in
//! `PG_BIN_16`, `PG_BIN_17`, `PG_BIN_18`.

mod cluster;

use std::collections::{BTreeSet, HashSet};
use std::fs;

use cluster::{Cluster, Installation};
use pgdata::wal::{PageHeader, SegmentSize, WAL_PAGE_SIZE, strip_page_headers, verify_record_crc};
use pgdata::{Fork, Lsn, PAGE_SIZE, Page, PgVersion, page_lsn};
use wal_decoder::{Compression, DumpLine, Record, WalError, WalStream};

/// All of a server's WAL.
struct Wal {
    start: Lsn,
    version: PgVersion,
    size: SegmentSize,
    bytes: Vec<u8>,
    /// The file number of the table whose rows have a known text.
    rows: u32,
    /// The settings of `wal_compression` that the server was built with.
    methods: String,
}

/// A record as it came out of a stream.
#[derive(Clone, PartialEq, Debug)]
struct Whole {
    start: Lsn,
    lsn: Lsn,
    bytes: Vec<u8>,
}

const TABLES: &str = "
    CREATE TABLE rows (id int PRIMARY KEY, text text, point point, number int);
    CREATE INDEX ON rows USING hash (number);
    CREATE INDEX ON rows USING gin (to_tsvector('simple', text));
    CREATE INDEX ON rows USING gist (point);
    CREATE INDEX ON rows USING spgist (text);
    CREATE INDEX ON rows USING brin (number);
    CREATE SEQUENCE numbers;
    CREATE UNLOGGED TABLE unlogged (id int PRIMARY KEY);";

const INSERT: &str = "INSERT INTO rows SELECT i, 'row-' || lpad(i::text, 6, '0') || '-' || repeat('abc', 20),
    point(i, i % 7), i % 100 FROM generate_series((SELECT coalesce(max(id), 0) + 1 FROM rows),
    (SELECT coalesce(max(id), 0) + 500 FROM rows)) i;";

const CHANGES: &str = "
    UPDATE rows SET number = number + 1 WHERE id % 3 = 0;
    DELETE FROM rows WHERE id % 11 = 0;
    SELECT nextval('numbers');
    BEGIN; SAVEPOINT a; DELETE FROM rows WHERE id = 1; SAVEPOINT b; UPDATE rows SET number = 0 WHERE id = 2; COMMIT;
    BEGIN; UPDATE rows SET number = 1 WHERE id = 4; PREPARE TRANSACTION 'prepared'; COMMIT PREPARED 'prepared';
    BEGIN; SELECT FROM rows WHERE id = 5 FOR SHARE; ROLLBACK;";

/// Names of compression methods in `wal_compression`.
const METHODS: [(&str, Compression); 4] =
    [("off", Compression::None), ("pglz", Compression::Pglz), ("lz4", Compression::Lz4), ("zstd", Compression::Zstd)];

/// Runs a varied workload and collects the WAL and what `pg_waldump` says of it.
fn record_workload(installation: Installation) -> (Wal, String) {
    let mut cluster = Cluster::start(installation);
    cluster.sql(TABLES);
    let methods = cluster.sql(
        "SELECT string_agg(m, ' ') FROM unnest((SELECT enumvals FROM pg_settings WHERE name = 'wal_compression')) m
         WHERE m NOT IN ('on')",
    );
    for method in methods.split_whitespace() {
        // The first change of a page after a checkpoint carries its image.
        cluster.sql("CHECKPOINT");
        let session = ["SET wal_compression = ", method, ";", INSERT, CHANGES].concat();
        cluster.sql(&session);
    }
    cluster.sql("SET wal_consistency_checking = 'all'; UPDATE rows SET number = number + 1 WHERE id < 50;");
    cluster.sql("VACUUM FREEZE rows");
    cluster.sql("SELECT pg_switch_wal()");
    cluster.sql("SELECT pg_logical_emit_message(false, 'test', repeat('m', 100000))");
    cluster.sql("SELECT pg_logical_emit_message(true, 'test', repeat('long', 800000))");
    cluster.sql("CREATE TABLE copied AS SELECT * FROM rows; TRUNCATE copied; DROP TABLE copied");
    cluster.sql("CREATE DATABASE other");
    cluster.sql("SELECT pg_switch_wal()");
    let rows = cluster.sql("SELECT pg_relation_filenode('rows')").trim().parse().expect("a file number");
    cluster.stop();

    let files = cluster.segments();
    let first = fs::read(&files[0]).expect("the first segment");
    let (header, size) = PageHeader::of_segment(&first).expect("the first page");
    let mut bytes = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let segno = size.segment_of(header.address) + index as u64;
        assert_eq!(file.file_name().unwrap().to_str().unwrap(), size.file_name(header.timeline, segno));
        bytes.extend_from_slice(&fs::read(file).expect("a segment"));
    }
    let dump = cluster.waldump(&header.address.to_string());
    (Wal { start: header.address, version: header.version, size, bytes, rows, methods }, dump)
}

/// Decodes all of the WAL, fed in pieces of the sizes given, and tells how it ended.
fn decode(wal: &Wal, mut sizes: impl Iterator<Item = usize>) -> (Vec<Whole>, Option<WalError>) {
    let mut stream = WalStream::new(wal.start, wal.size.bytes(), wal.version).expect("a stream");
    let (mut records, mut rest) = (Vec::new(), &wal.bytes[..]);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(sizes.next().expect("endless sizes").min(rest.len()));
        let mut whole = stream.feed(piece);
        rest = behind;
        loop {
            match whole.next_record() {
                Ok(Some(raw)) => records.push(Whole { start: raw.start, lsn: raw.lsn, bytes: raw.bytes.to_vec() }),
                Ok(None) => break,
                Err(error) => return (records, Some(error)),
            }
        }
    }
    (records, None)
}

/// Pieces of 1 to 20000 bytes, small and large ones mixed, the same on every run.
fn mixed_sizes() -> impl Iterator<Item = usize> {
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let bound = [2, 30, 300, 9000, 20_000][(state >> 40) as usize % 5];
        1 + (state >> 8) as usize % bound
    })
}

/// The parts of a line of `pg_waldump` that do not come from a resource manager's own code.
fn comparable(line: &str, description: &str) -> String {
    let (head, tail) = line.split_once(description).unwrap_or_else(|| panic!("no {description:?} in {line:?}"));
    let blocks = tail.find(", blkref #").map_or("", |at| &tail[at..]);
    format!("{head}{blocks}").trim_end().to_owned()
}

fn check_dump(wal: &Wal, records: &[Whole], dump: &str) {
    let lines: Vec<&str> = dump.lines().filter(|line| line.starts_with("rmgr: ")).collect();
    for (whole, line) in records.iter().zip(&lines) {
        let record = Record::parse(wal.version, whole.lsn, &whole.bytes).expect("a record");
        let raw = wal_decoder::RawRecord { start: whole.start, lsn: whole.lsn, bytes: &whole.bytes };
        let ours = DumpLine { raw, record: &record }.to_string();
        assert_eq!(comparable(&ours, ", info: "), comparable(line, ", desc: "));
    }
    assert_eq!(records.len(), lines.len());
    assert!(records.len() > 5000, "the workload made only {} records", records.len());
}

/// Restores all images, looks whether they are pages, and tells which compression methods there were.
fn check_images(wal: &Wal, records: &[Whole]) -> HashSet<Compression> {
    let mut methods = HashSet::new();
    let (mut rows, mut for_verification) = (0, 0);
    for whole in records {
        let record = Record::parse(wal.version, whole.lsn, &whole.bytes).expect("a record");
        for block in &record.blocks {
            let Some(image) = block.image else { continue };
            let mut page: Page = [0xEE; PAGE_SIZE];
            image.restore(&mut page).expect("an image");
            methods.insert(image.compression);
            for_verification += usize::from(!image.apply);
            let what = format!("{} block {} in the record at {}", block.rel, block.block, whole.start);
            assert!(page_lsn(&page) <= whole.lsn, "{what}: pd_lsn is {}", page_lsn(&page));
            let field = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
            if field(14) != 0 {
                assert_eq!(field(18), 0x2004, "{what}: pd_pagesize_version");
                assert!(field(12) <= field(14) && field(14) <= field(16) && field(16) <= 8192, "{what}: bounds");
            }
            if (block.rel.rel, block.rel.fork) == (wal.rows, Fork::Main) {
                rows += whole_rows(&page, &what);
            }
        }
    }
    assert!(rows > 1000, "only {rows} rows in all images");
    assert!(for_verification > 50, "only {for_verification} images for verification");
    methods
}

/// Finds the workload's rows in a page, and checks that each is whole.
fn whole_rows(page: &Page, what: &str) -> usize {
    let tail = format!("-{}", "abc".repeat(20));
    let starts = (0..PAGE_SIZE - 80).filter(|&at| page[at..].starts_with(b"row-") && page[at + 4].is_ascii_digit());
    starts.inspect(|&at| assert!(page[at + 10..].starts_with(tail.as_bytes()), "{what}: a row at {at}")).count()
}

/// Reads each record back from the WAL by its position alone.
fn check_reading_back(wal: &Wal, records: &[Whole]) {
    let mut out = Vec::new();
    for whole in records {
        let len = whole.bytes.len() as u32;
        let from = &wal.bytes[whole.start.bytes_since(wal.start) as usize..];
        strip_page_headers(from, whole.start, len, wal.size, &mut out).expect("a record");
        assert!(out == whole.bytes, "the record at {} read back differs", whole.start);
        verify_record_crc(&out).expect("the record's CRC");
        let end = wal.size.record_end(whole.start, len).expect("an end").align_up();
        assert!(whole.lsn == end || Some(whole.lsn) == wal.size.round_up(end), "the record at {}", whole.start);
    }
}

/// Starts in the middle: at every page, and behind records.
fn check_starts(wal: &Wal, records: &[Whole]) {
    let first_from = |stream: &mut WalStream, from: Lsn| {
        for piece in wal.bytes[from.bytes_since(wal.start) as usize..].chunks(1 << 16) {
            if let Some(raw) = stream.feed(piece).next_record().unwrap_or_else(|error| panic!("from {from}: {error}")) {
                return raw.start;
            }
        }
        panic!("no record from {from} on");
    };
    let last = records.last().expect("records").start;
    let pages = (wal.start.0..last.0).step_by(WAL_PAGE_SIZE * 5);
    // The void behind a switch has no page headers: what starts there goes on with the next segment, as pages do.
    for from in pages.map(Lsn) {
        let mut stream = WalStream::new(from, wal.size.bytes(), wal.version).expect("a stream");
        let expected = records.iter().map(|whole| whole.start).find(|&start| start >= from).expect("a record");
        assert_eq!(first_from(&mut stream, from), expected, "from {from}");
    }
    for pair in records.windows(2).step_by(37) {
        let (start, end) = (pair[0].start, pair[0].lsn);
        let mut stream = WalStream::after_record(start, end, wal.size.bytes(), wal.version).expect("a stream");
        assert_eq!(first_from(&mut stream, end), pair[1].start, "behind the record at {start}");
    }
}

/// Checks all of a server's WAL; there must be images of all these methods that the server was built with.
fn check_version(installation: Installation, required: &str) {
    let (wal, dump) = record_workload(installation);
    let (records, end) = decode(&wal, std::iter::repeat(1 << 20));
    check_dump(&wal, &records, &dump);
    let last = records.last().expect("records").lsn;
    match end {
        None => assert_eq!(last, Lsn(wal.start.0 + wal.bytes.len() as u64), "no end was found"),
        Some(error) => assert!(error.is_end_of_wal(), "{error}"),
    }
    let found = check_images(&wal, &records);
    for (name, method) in METHODS {
        let expected = wal.methods.split_whitespace().any(|method| method == name);
        assert_eq!(found.contains(&method), expected, "images with {method:?}, with methods {}", wal.methods);
        assert!(expected || !required.contains(name), "a server built without {name}: {}", wal.methods);
    }
    check_reading_back(&wal, &records);
    check_starts(&wal, &records);
    assert!(decode(&wal, mixed_sizes()) == (records.clone(), end), "in pieces of mixed sizes");
    assert!(decode(&wal, std::iter::repeat(1)) == (records.clone(), end), "byte by byte");
    let rmgrs: BTreeSet<u8> = records.iter().map(|whole| whole.bytes[17]).collect();
    assert!(rmgrs.len() >= 16, "records of only these resource managers: {rmgrs:?}");
}

#[test]
fn postgres_15() {
    let installation = Installation::find(15).expect("PostgreSQL 15 in /usr/lib/postgresql/15/bin or in PG_BIN_15");
    check_version(installation, "off pglz lz4 zstd");
}

/// Checks another version if the environment names its programs: it is no part of an ordinary installation.
fn check_if_named(major: u32) {
    let variable = format!("PG_BIN_{major}");
    match std::env::var_os(&variable) {
        None => println!("{variable} is not set: PostgreSQL {major} is not checked"),
        Some(bin) => {
            let installation = Installation::find(major).unwrap_or_else(|| panic!("no postgres in {bin:?}"));
            check_version(installation, "off pglz lz4 zstd");
        }
    }
}

#[test]
fn postgres_16() {
    check_if_named(16);
}

#[test]
fn postgres_17() {
    check_if_named(17);
}

#[test]
fn postgres_18() {
    check_if_named(18);
}
