use super::*;
use proptest::prelude::*;

/// A header as `tarCreateHeader` of PostgreSQL writes it.
fn header(name: &str, kind: u8, size: &[u8], link: &str) -> [u8; BLOCK] {
    let mut header = [0; BLOCK];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[SIZE][..size.len()].copy_from_slice(size);
    header[TYPE] = kind;
    header[LINK.start..LINK.start + link.len()].copy_from_slice(link.as_bytes());
    header[MAGIC].copy_from_slice(b"ustar");
    seal(&mut header);
    header
}

fn seal(header: &mut [u8; BLOCK]) {
    header[CHECKSUM].fill(b' ');
    let sum: u64 = header.iter().map(|&b| u64::from(b)).sum();
    header[CHECKSUM].copy_from_slice(format!("{sum:07o} ").as_bytes());
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = header(name, b'0', format!("{:011o} ", content.len()).as_bytes(), "").to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

const ZERO: &[u8] = b"00000000000 ";
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

fn error(archive: &[u8]) -> TarError {
    read_in_pieces(archive, 100).1.unwrap()
}

#[test]
fn reads_what_postgres_writes() {
    let archive = [
        header("pg_wal/", b'5', ZERO, "").to_vec(),
        header("./pg_wal/archive_status/", b'5', ZERO, "").to_vec(),
        header("pg_tblspc/16384/", b'2', ZERO, "/mnt/space").to_vec(),
        file("empty", b""),
        file("global/pg_control", &[7; 600]),
        END.to_vec(),
    ]
    .concat();
    let (entries, end) = read_in_pieces(&archive, 77);
    assert_eq!(end, None);
    let content = format!("content {}", [7; 600].escape_ascii());
    let expected = [
        "Directory(\"pg_wal\")",
        "Directory(\"pg_wal/archive_status\")",
        "Link { path: \"pg_tblspc/16384\", target: \"/mnt/space\" }",
        "FileBegin { path: \"empty\", size: 0 }",
        "content ",
        "FileBegin { path: \"global/pg_control\", size: 600 }",
        &content,
    ];
    assert_eq!(entries, expected);
}

#[test]
fn reads_sizes_from_8_gib_on() {
    let mut size = [0; 12];
    size[0] = 0x80;
    size[4..].copy_from_slice(&(9u64 << 30).to_be_bytes());
    let big = header("big", b'0', &size, "");
    let event = TarReader::new().next(&mut &big[..]).unwrap();
    assert_eq!(event, Some(TarEvent::FileBegin { path: "big".to_owned(), size: 9 << 30 }));
    size[1] = 1;
    assert!(matches!(error(&header("big", b'0', &size, "")), TarError::Field { field: "size", .. }));
}

#[test]
fn refuses_paths_that_lead_outside() {
    for path in ["/etc/passwd", "../x", "a/../x", "a//b", ".", "a/./b", "/"] {
        assert!(matches!(error(&header(path, b'0', ZERO, "")), TarError::Path { .. }), "{path}");
    }
    assert!(matches!(error(&header("", b'0', b"00000000001 ", "")), TarError::Field { field: "name", .. }));
}

#[test]
fn refuses_what_postgres_does_not_write() {
    for kind in *b"1367gxLKS" {
        assert!(matches!(error(&header("x", kind, ZERO, "")), TarError::Field { field: "type", .. }));
    }
    assert!(error(&header("d", b'5', b"00000000001 ", "")).to_string().contains("size"));
    let mut prefixed = header("x", b'0', ZERO, "");
    prefixed[PREFIX.start] = b'p';
    seal(&mut prefixed);
    assert!(matches!(error(&prefixed), TarError::Field { field: "prefix", .. }));
    let mut damaged = header("x", b'0', ZERO, "");
    damaged[1] ^= 1;
    assert!(matches!(error(&damaged), TarError::Checksum { .. }));
}

#[test]
fn an_archive_must_be_whole() {
    let archive = [file("a", &[1; 700]), END.to_vec()].concat();
    for len in 0..archive.len() - END.len() + BLOCK {
        let end = read_in_pieces(&archive[..len], 64).1;
        assert!(matches!(end, Some(TarError::Truncated { .. })), "{len} bytes: {end:?}");
    }
    // However it is cut, the byte itself is named.
    let more = [&archive[..], &[0; 5], &[1]].concat();
    for piece in [1, 64, more.len()] {
        assert_eq!(read_in_pieces(&more, piece).1, Some(TarError::AfterEnd { at: archive.len() as u64 + 5 }));
    }
}

proptest! {
    #[test]
    fn is_read_as_it_was_written(files in proptest::collection::btree_map("[a-z0-9_/]{1,20}x", proptest::collection::vec(any::<u8>(), 0..1500), 0..5), piece in 1usize..3000) {
        prop_assume!(files.keys().all(|name| !name.starts_with('/') && !name.contains("//")));
        let mut archive: Vec<u8> = files.iter().flat_map(|(name, content)| file(name, content)).collect();
        archive.extend_from_slice(&END);
        let expected: Vec<String> = files.iter().flat_map(|(path, content)| [
            format!("{:?}", TarEvent::FileBegin { path: path.clone(), size: content.len() as u64 }),
            format!("content {}", content.escape_ascii()),
        ]).collect();
        prop_assert_eq!(read_in_pieces(&archive, piece), (expected, None));
    }

    #[test]
    fn agrees_with_itself_on_any_bytes(mut archive in proptest::collection::vec(any::<u8>(), 0..2000), sealed: bool) {
        if sealed && let Some(first) = archive.first_chunk_mut::<BLOCK>() {
            first[MAGIC].copy_from_slice(b"ustar");
            first[PREFIX.start] = 0;
            seal(first);
        }
        check_any_bytes(&archive);
    }
}
