//! What must hold for any bytes at all. The fuzz targets and the unit tests call these; they are no part of the product.

use pgdata::wal::{RECORD_HEADER, SegmentSize, WAL_PAGE_SIZE, verify_record_crc};
use pgdata::{Lsn, PAGE_SIZE, PgVersion, RelTag};

use crate::{NewRecord, PageRecord, Record, WalError, WalIdentity, WalStream, WalWriter, pglz_decompress, rmgr};

const VERSION: PgVersion = PgVersion::V17;
const SEGMENT: u64 = 1 << 20;
/// Near the end of a segment, so that short inputs reach the next one.
const START: Lsn = Lsn(9 * SEGMENT - 3 * WAL_PAGE_SIZE as u64);

/// Takes single bytes off the front of an input, zeros when it is used up.
struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    fn byte(&mut self) -> usize {
        self.bytes(1).first().map_or(0, |&byte| usize::from(byte))
    }

    fn number(&mut self) -> usize {
        self.byte() << 8 | self.byte()
    }

    fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// A stream gives the same records and the same error however its bytes are cut; its records are whole and in order; and it keeps
/// no more than a small multiple of what it was fed.
pub fn stream_does_not_depend_on_pieces(input: &[u8]) {
    let mut choices = Choices(input);
    let from = match choices.byte() % 4 {
        0 => Lsn(START.0 + WAL_PAGE_SIZE as u64),
        1 => Lsn(START.0 + 24 + 8 * choices.number() as u64 % 8168),
        _ => START,
    };
    let pieces: Vec<usize> = (0..4).map(|_| 1 + choices.number() % 9000).collect();
    let raw = choices.byte() % 4 == 0;
    let wal = if raw { choices.0.to_vec() } else { damaged_wal(&mut choices) };
    let wal = if raw { &wal[..] } else { wal.get(from.bytes_since(START) as usize..).unwrap_or(&[]) };
    let whole = decode(from, wal, &[wal.len().max(1)]);
    assert_eq!(decode(from, wal, &pieces), whole);
    assert_eq!(decode(from, wal, &[1, 8191]), whole);
}

/// WAL of records with bodies and lengths from the input, some bytes of which are changed.
fn damaged_wal(choices: &mut Choices<'_>) -> Vec<u8> {
    let segment_size = SegmentSize::new(SEGMENT as u32).expect("a size");
    let identity = WalIdentity { version: VERSION, timeline: 1, system_id: 42, segment_size };
    let mut writer = WalWriter::new(identity, START, Lsn(START.0 - 8192)).expect("a writer");
    let mut prev = Lsn(START.0 - 8192);
    let damage: Vec<_> = (0..choices.byte() % 8).map(|_| (choices.number(), choices.byte())).collect();
    while !choices.0.is_empty() && writer.bytes().len() < 100_000 {
        let info = [rmgr::XLOG_SWITCH, rmgr::XLOG_OVERWRITE_CONTRECORD, 0, 0, 0, 0, 0, 0][choices.byte() % 8];
        let repeat = choices.byte();
        let len = choices.byte();
        let body = choices.bytes(len).repeat(repeat);
        let record = NewRecord { xid: 1, info, rmid: rmgr::RM_XLOG_ID, main_data: &[] };
        let record = record.with_body(VERSION, prev, &body).expect("a record");
        prev = writer.place(&record).start;
        if info == rmgr::XLOG_SWITCH {
            writer.fill_segment();
        }
    }
    let mut wal = writer.bytes().to_vec();
    for (position, change) in damage {
        let position = position % wal.len().max(1);
        if let Some(byte) = wal.get_mut(position) {
            *byte ^= change as u8;
        }
    }
    wal
}

/// Start, LSN and bytes of each record.
type Records = Vec<(Lsn, Lsn, Vec<u8>)>;

fn decode(from: Lsn, wal: &[u8], pieces: &[usize]) -> (Records, Option<WalError>) {
    let Ok(mut stream) = WalStream::new(from, SEGMENT as u32, VERSION) else { return (Vec::new(), None) };
    let (mut records, mut rest) = (Records::new(), wal);
    for &piece in pieces.iter().cycle() {
        let (fed, behind) = rest.split_at(piece.min(rest.len()));
        let result = drain(&mut stream, fed, &mut records);
        let fed = stream.fed_to().bytes_since(from) as usize;
        assert!(stream.memory() <= 4 * fed + 4 * WAL_PAGE_SIZE, "{} bytes kept of {fed}", stream.memory());
        if let Err(error) = result {
            assert_eq!(stream.feed(&[]).next_record().err(), Some(error), "a failed stream stays failed");
            return (records, Some(error));
        }
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    (records, None)
}

fn drain(stream: &mut WalStream, fed: &[u8], records: &mut Records) -> Result<(), WalError> {
    let mut before = stream.decoded_to();
    let mut whole = stream.feed(fed);
    while let Some(raw) = whole.next_record()? {
        assert!(raw.start >= before && raw.lsn > raw.start && raw.lsn.is_aligned(), "{raw:?} after {before}");
        verify_record_crc(raw.bytes).expect("only checked records come out");
        records.push((raw.start, raw.lsn, raw.bytes.to_vec()));
        before = raw.lsn;
    }
    drop(whole);
    assert_eq!(stream.decoded_to(), before);
    Ok(())
}

/// A record that is taken has its parts in its bytes, in their order and without a rest, and its images make pages or are refused. Each of its pages
/// sees these parts.
pub fn record_parts_are_its_bytes(input: &[u8]) {
    check_record(input);
    let record = NewRecord { xid: 1, info: 0, rmid: rmgr::RM_HEAP_ID, main_data: &[] };
    check_record(&record.with_body(VERSION, START, input).expect("a record"));
}

fn check_record(bytes: &[u8]) {
    let record = match Record::parse(VERSION, START, bytes) {
        Ok(record) => record,
        Err(error) => {
            let seen = PageRecord::parse(VERSION, START, bytes, RelTag::default(), 0);
            assert_eq!(seen.map(|seen| seen.lsn), Err(error));
            return;
        }
    };
    let mut payloads = record.main_data.len();
    for (index, block) in record.blocks.iter().enumerate() {
        assert!(index == 0 || record.blocks[index - 1].id < block.id);
        payloads += block.data.len();
        let seen = PageRecord::parse(VERSION, START, bytes, block.rel, block.block).expect("the record was taken");
        let first = record.blocks.iter().find(|first| (first.rel, first.block) == (block.rel, block.block));
        assert_eq!((seen.block.as_ref(), seen.main_data), (first, record.main_data));
        assert_eq!((seen.xid, seen.info, seen.rmid), (record.xid, record.info, record.rmid));
        assert_eq!(seen.block_number(block.id), Some(block.block));
        let Some(image) = block.image else { continue };
        payloads += image.bytes.len();
        let mut page = [0xEE; PAGE_SIZE];
        if image.restore(&mut page).is_ok() {
            let hole = usize::from(image.hole_offset)..usize::from(image.hole_offset + image.hole_length);
            assert!(page[hole].iter().all(|&byte| byte == 0), "the hole is all zeros");
        }
    }
    assert!(payloads <= bytes.len() - RECORD_HEADER);
    assert!(bytes.ends_with(record.main_data));
}

/// Decompression agrees with a model that copies byte by byte.
pub fn pglz_agrees_with_a_plain_model(input: &[u8]) {
    let mut choices = Choices(input);
    let size = choices.number() % (PAGE_SIZE + 1);
    let mut output = vec![0; size];
    let result = pglz_decompress(choices.0, &mut output);
    match plain_pglz(choices.0, size) {
        Some(expected) => assert_eq!((result, output), (Ok(()), expected)),
        None => assert!(result.is_err(), "no stream of {size} bytes"),
    }
}

/// The format in the plainest form: `None` for whatever is not a stream that makes exactly `size` bytes.
fn plain_pglz(input: &[u8], size: usize) -> Option<Vec<u8>> {
    let mut input = input.iter().copied();
    let mut output = Vec::new();
    'groups: while output.len() < size {
        let control = input.next()?;
        for bit in 0..8 {
            if output.len() == size {
                break 'groups;
            }
            if control >> bit & 1 == 0 {
                match input.next() {
                    Some(literal) => output.push(literal),
                    None => continue 'groups,
                }
                continue;
            }
            let Some(first) = input.next() else { continue 'groups };
            let distance = usize::from(first >> 4) << 8 | usize::from(input.next()?);
            let mut length = usize::from(first & 15) + 3;
            if length == 18 {
                length += usize::from(input.next()?);
            }
            let from = output.len().checked_sub(distance).filter(|_| distance > 0)?;
            (0..length.min(size - output.len())).for_each(|i| output.push(output[from + i]));
        }
    }
    input.next().is_none().then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn streams_keep_their_invariants(input in prop::collection::vec(any::<u8>(), 0..3000)) {
            stream_does_not_depend_on_pieces(&input);
        }

        #[test]
        fn records_keep_their_invariants(input in prop::collection::vec(any::<u8>(), 0..200)) {
            record_parts_are_its_bytes(&input);
        }

        #[test]
        fn pglz_keeps_its_invariants(input in prop::collection::vec(any::<u8>(), 0..400)) {
            pglz_agrees_with_a_plain_model(&input);
        }
    }
}
