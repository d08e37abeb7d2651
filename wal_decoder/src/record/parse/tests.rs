//! Records with all kinds of parts, and records that are wrong in one way each.

use super::*;
use crate::rmgr::RM_HEAP_ID;
use crate::{NewRecord, PageRecord};

const LSN: Lsn = Lsn(0x100_0100);
const REL: [u32; 3] = [1663, 5, 16384];

/// A record whose body, the part after the fixed header, is this.
fn with_body(body: &[u8]) -> Vec<u8> {
    let record = NewRecord { xid: 731, info: 0x10, rmid: RM_HEAP_ID, main_data: &[] };
    record.with_body(PgVersion::V15, Lsn(0x100_0028), body).unwrap()
}

fn parse(bytes: &[u8]) -> Result<Record<'_>, RecordError> {
    Record::parse(PgVersion::V15, LSN, bytes)
}

fn error(body: &[u8]) -> RecordError {
    parse(&with_body(body)).unwrap_err()
}

fn block_error(body: &[u8]) -> BlockHeaderError {
    match error(body) {
        RecordError::Block { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

/// The start of a block header.
fn block(id: u8, flags: u8, data_len: u16) -> Vec<u8> {
    [&[id, flags][..], &data_len.to_le_bytes()].concat()
}

/// The header of an image.
fn image(len: u16, hole_offset: u16, flags: u8) -> Vec<u8> {
    [&len.to_le_bytes()[..], &hole_offset.to_le_bytes(), &[flags]].concat()
}

/// The end of a block header: the relation and the block's number.
fn tag(number: u32) -> Vec<u8> {
    REL.into_iter().chain([number]).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn all_parts_are_found() {
    let body = [
        &[ID_ORIGIN, 0x34, 0x12][..],
        &[ID_TOP_XID, 1, 2, 0, 0],
        &block(0, HAS_IMAGE | HAS_DATA, 3),
        &image(4, 2, IMAGE_HAS_HOLE | IMAGE_APPLY),
        &tag(7),
        &block(2, SAME_REL | WILL_INIT | HAS_DATA | Fork::Vm.number(), 2),
        &9u32.to_le_bytes(),
        &[ID_DATA_SHORT, 4],
        b"imag",
        b"one",
        b"tw",
        b"main",
    ]
    .concat();
    let bytes = with_body(&body);
    let record = parse(&bytes).unwrap();
    assert_eq!((record.xid, record.prev, record.info, record.rmid), (731, Lsn(0x100_0028), 0x10, RM_HEAP_ID));
    assert_eq!((record.origin, record.top_xid), (Some(0x1234), Some(0x201)));
    let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
    let image =
        BlockImage { apply: true, hole_offset: 2, hole_length: 8188, compression: Compression::None, bytes: b"imag" };
    let first = BlockRef { id: 0, rel, block: 7, will_init: false, image: Some(image), data: b"one" };
    let second = BlockRef { id: 2, rel: rel.with_fork(Fork::Vm), block: 9, will_init: true, image: None, data: b"tw" };
    assert_eq!(record.blocks.as_slice(), [first, second]);
    assert_eq!(record.main_data, b"main");
    for block in [first, second] {
        let seen = PageRecord::parse(PgVersion::V15, LSN, &bytes, block.rel, block.block).unwrap();
        assert_eq!((seen.block, seen.main_data), (Some(block), &b"main"[..]));
        assert_eq!([0, 1, 2].map(|id| seen.block_number(id)), [Some(7), None, Some(9)]);
    }
    let seen = PageRecord::parse(PgVersion::V15, LSN, &bytes, rel, 9).unwrap();
    assert_eq!((seen.block, seen.main_data), (None, &b"main"[..]));
}

#[test]
fn main_data_may_be_long_or_absent() {
    let long = [&[ID_DATA_LONG, 3, 0, 0, 0][..], b"abc"].concat();
    assert_eq!(parse(&with_body(&long)).unwrap().main_data, b"abc");
    assert_eq!(parse(&with_body(&[])).unwrap().main_data, b"");
    let block = [block(0, WILL_INIT, 0), tag(1)].concat();
    assert_eq!(parse(&with_body(&block)).unwrap().main_data, b"");
}

#[test]
fn compressed_images_carry_the_length_of_their_hole() {
    for (flag, compression) in
        [(IMAGE_PGLZ, Compression::Pglz), (IMAGE_LZ4, Compression::Lz4), (IMAGE_ZSTD, Compression::Zstd)]
    {
        let header = image(3, 100, flag | IMAGE_HAS_HOLE);
        let body = [block(0, HAS_IMAGE, 0), header, 500u16.to_le_bytes().to_vec(), tag(1), b"xyz".to_vec()].concat();
        let bytes = with_body(&body);
        let image = parse(&bytes).unwrap().blocks[0].image.unwrap();
        let expected = BlockImage { apply: false, hole_offset: 100, hole_length: 500, compression, bytes: b"xyz" };
        assert_eq!(image, expected);
        let body = [block(0, HAS_IMAGE, 0), self::image(3, 0, flag), tag(1), b"xyz".to_vec()].concat();
        assert_eq!(parse(&with_body(&body)).unwrap().blocks[0].image.unwrap().hole_length, 0);
    }
}

#[test]
fn leftover_and_missing_bytes_are_refused() {
    let short = [ID_DATA_SHORT, 4, b'a', b'b', b'c'];
    assert_eq!(error(&short), RecordError::Length { lsn: LSN, promised: 4, got: 3 });
    let over = [&[ID_DATA_SHORT, 2][..], b"abc"].concat();
    assert_eq!(error(&over), RecordError::Length { lsn: LSN, promised: 2, got: 3 });
    let long = [ID_DATA_LONG, 0xFF, 0xFF, 0xFF, 0xFF];
    assert_eq!(error(&long), RecordError::Length { lsn: LSN, promised: u32::MAX as usize, got: 0 });
    let body = [block(0, 0, 0), tag(1)].concat();
    for cut in 1..body.len() {
        assert!(matches!(error(&body[..cut]), RecordError::Length { .. }), "cut at {cut}");
    }
}

#[test]
fn block_ids_must_be_known_and_grow() {
    assert_eq!(error(&block(33, 0, 0)), RecordError::BlockId { lsn: LSN, id: 33 });
    assert_eq!(error(&[251, 0, 0, 0]), RecordError::BlockId { lsn: LSN, id: 251 });
    let twice = [block(3, 0, 0), tag(1), block(3, 0, 0), tag(1)].concat();
    assert_eq!(error(&twice), RecordError::BlockId { lsn: LSN, id: 3 });
}

#[test]
fn block_headers_that_contradict_themselves_are_refused() {
    assert_eq!(block_error(&block(0, 4, 0)), BlockHeaderError::Fork(4));
    assert_eq!(block_error(&block(0, HAS_DATA, 0)), BlockHeaderError::DataFlag { flags: HAS_DATA, length: 0 });
    assert_eq!(block_error(&block(0, 0, 5)), BlockHeaderError::DataFlag { flags: 0, length: 5 });
    assert_eq!(block_error(&block(0, SAME_REL, 0)), BlockHeaderError::SameRel);
}

#[test]
fn images_that_make_no_page_are_refused() {
    let of = |header: Vec<u8>| block_error(&[block(0, HAS_IMAGE, 0), header, vec![0; 30]].concat());
    for flags in [0x20, 0x40, 0x80, IMAGE_PGLZ | IMAGE_LZ4, IMAGE_LZ4 | IMAGE_ZSTD] {
        assert_eq!(of(image(10, 0, flags)), BlockHeaderError::ImageFlags(flags));
    }
    let hole = |mut header: Vec<u8>, length: u16| {
        header.extend_from_slice(&length.to_le_bytes());
        header
    };
    for header in [
        image(8191, 0, 0),                                       // too short, and no hole
        image(8193, 0, 0),                                       // too long
        image(8192, 10, 0),                                      // no hole, but an offset of one
        image(8192, 10, IMAGE_HAS_HOLE),                         // a hole of no bytes
        image(100, 0, IMAGE_HAS_HOLE),                           // a hole at 0
        image(100, 101, IMAGE_HAS_HOLE),                         // a hole past the end
        image(8192, 0, IMAGE_PGLZ),                              // compressed to its own size
        hole(image(100, 0, IMAGE_PGLZ | IMAGE_HAS_HOLE), 5),     // a hole at 0
        hole(image(100, 10, IMAGE_PGLZ | IMAGE_HAS_HOLE), 0),    // a hole of no bytes
        hole(image(100, 8000, IMAGE_LZ4 | IMAGE_HAS_HOLE), 193), // a hole past the end
        image(100, 5, IMAGE_ZSTD),                               // no hole, but an offset of one
    ] {
        assert!(matches!(of(header.clone()), BlockHeaderError::Image { .. }), "{header:?}");
    }
}

#[test]
fn a_wrong_total_length_or_resource_manager_is_refused() {
    let mut bytes = with_body(&[]);
    bytes[17] = 100;
    assert_eq!(parse(&bytes), Err(RecordError::Rmgr { lsn: LSN, rmid: 100 }));
    bytes.push(0);
    let source = RecordBytesError::Length { got: 25, total_len: 24 };
    assert_eq!(parse(&bytes), Err(RecordError::Bytes { lsn: LSN, source }));
    let source = RecordBytesError::Length { got: 23, total_len: 0 };
    assert_eq!(parse(&bytes[..23]), Err(RecordError::Bytes { lsn: LSN, source }));
}
