//! Known records with known pages: what a started redo process must get right before it is used.
//!
//! The redo module leans on private details of the server (see `postgres/fakerel.c`). A minor release that changes one of them
//! must be noticed here, not by a wrong page. Between them the tests initialise a page, change a pushed one, read a block that has
//! no page in the process (a free space map page, by way of the segment array, in a high segment), leave a dummy page
//! alone, and clear bits of a visibility map page that the record does not name.

use pgdata::{Fork, Lsn, PAGE_SIZE, Page, PageKey, PgVersion, RelTag, set_page_lsn};

use super::dialogue::{Dialogue, Pages};
use super::talk::Interrupted;
use crate::request::{RedoRecord, RedoRequest};

const REL: RelTag = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Main };
/// In the fourth 1 GiB segment.
const BLOCK: u32 = 3 * 131_072 + 5;
const XID: u32 = 0x0102_0304;
const FIRST_LSN: Lsn = Lsn(0x1_0000_0100);
const SECOND_LSN: Lsn = Lsn(0x1_0000_0200);

const PAGE_HEADER: usize = 24;
const TUPLE_HEADER: usize = 23;
/// Where the data of a tuple without null bitmap begin (`t_hoff`).
const TUPLE_DATA: u8 = 24;
/// One attribute (`t_infomask2`).
const ONE_ATTRIBUTE: u16 = 1;
/// `HEAP_XMAX_INVALID` (`t_infomask`).
const XMAX_INVALID: u16 = 0x0800;

/// `RM_HEAP_ID`.
const HEAP: u8 = 10;
/// `XLOG_HEAP_INSERT`.
const INSERT: u8 = 0x00;
/// `XLOG_HEAP_INIT_PAGE`.
const INIT_PAGE: u8 = 0x80;
/// `XLH_INSERT_ALL_VISIBLE_CLEARED`.
const ALL_VISIBLE_CLEARED: u8 = 0x01;
/// `BKPBLOCK_HAS_DATA`.
const HAS_DATA: u8 = 0x20;
/// `BKPBLOCK_WILL_INIT`.
const WILL_INIT: u8 = 0x40;

/// Large enough that the rest of the page is "low" on free space, so that redo updates the free space map.
const FIRST_TUPLE: usize = 6700;
const SECOND_TUPLE: usize = 40;

/// A request with the page that it must give.
#[derive(Debug)]
pub(super) struct Test {
    name: &'static str,
    version: PgVersion,
    key: PageKey,
    base: Option<Box<Page>>,
    records: Vec<(Lsn, Vec<u8>)>,
    expected: Box<Page>,
}

/// The tests for a version. The records and pages they use are the same in 15 to 18.
pub(super) fn tests(version: PgVersion) -> [Test; 3] {
    let tuples: &[_] = &[FIRST_TUPLE, SECOND_TUPLE];
    let init = (FIRST_LSN, insert(BLOCK, 1, FIRST_TUPLE, INIT_PAGE, 0));
    let add = (SECOND_LSN, insert(BLOCK, 2, SECOND_TUPLE, 0, 0));
    let vm_base = vm_page(0xFF);
    let mut vm_expected = vm_base.clone();
    // Two bits for each heap block, four blocks to a byte: block 1002 is the third of its byte.
    vm_expected[PAGE_HEADER + 1002 / 4] = 0b1100_1111;
    [
        Test {
            name: "a page made by one record and changed by the next",
            version,
            key: PageKey::relation(REL, BLOCK),
            base: None,
            records: vec![init, add.clone()],
            expected: heap_page(SECOND_LSN, tuples),
        },
        Test {
            name: "a base page changed by a record, after a record that it has already",
            version,
            key: PageKey::relation(REL, BLOCK),
            base: Some(heap_page(FIRST_LSN, &tuples[..1])),
            records: vec![(FIRST_LSN, insert(BLOCK, 1, FIRST_TUPLE, 0, 0)), add],
            expected: heap_page(SECOND_LSN, tuples),
        },
        Test {
            name: "a visibility map page cleared by a record of the heap",
            version,
            key: PageKey::relation(REL.with_fork(Fork::Vm), 0),
            base: Some(vm_base),
            records: vec![(SECOND_LSN, insert(1002, 1, SECOND_TUPLE, 0, ALL_VISIBLE_CLEARED))],
            expected: vm_expected,
        },
    ]
}

impl Test {
    /// What the test is about.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Has the request answered through `talk`; the inner error describes a wrong page.
    pub(super) fn run(
        &self,
        talk: impl FnOnce(&mut dyn Dialogue) -> Result<(), Interrupted>,
    ) -> Result<Result<(), String>, Interrupted> {
        let records: Vec<_> = self.records.iter().map(|(lsn, bytes)| RedoRecord { lsn: *lsn, bytes }).collect();
        let request =
            RedoRequest { version: self.version, key: self.key, has_base: self.base.is_some(), records: &records };
        let mut page = self.base.as_deref().copied().unwrap_or([0; PAGE_SIZE]);
        let (requests, pages) = (std::slice::from_ref(&request), std::slice::from_mut(&mut page));
        talk(&mut Pages { requests, pages })?;
        Ok(match page.iter().zip(self.expected.iter()).position(|(got, expected)| got != expected) {
            None => Ok(()),
            Some(at) => {
                Err(format!("{}: byte {at} is {:#04X}, expected {:#04X}", self.name, page[at], self.expected[at]))
            }
        })
    }
}

/// What the user data of the test tuples look like.
fn tuple_data(length: usize) -> impl Iterator<Item = u8> {
    (0..length).map(|at| (at % 251) as u8 + 1)
}

/// A heap insert record of a tuple with `data` bytes behind its header, as `heap_insert` writes it (`access/heapam_xlog.h`).
fn insert(block: u32, offset: u16, data: usize, info: u8, flags: u8) -> Vec<u8> {
    let mut tuple = Vec::new();
    tuple.extend(ONE_ATTRIBUTE.to_le_bytes());
    tuple.extend(XMAX_INVALID.to_le_bytes());
    tuple.push(TUPLE_DATA);
    tuple.push(0);
    tuple.extend(tuple_data(data));

    let will_init = if info & INIT_PAGE != 0 { WILL_INIT } else { 0 };
    let mut rest = vec![0, Fork::Main.number() | HAS_DATA | will_init];
    rest.extend((tuple.len() as u16).to_le_bytes());
    for number in [REL.spc, REL.db, REL.rel, block] {
        rest.extend(number.to_le_bytes());
    }
    // XLR_BLOCK_ID_DATA_SHORT and the length of xl_heap_insert.
    rest.extend([255, 3]);
    rest.extend(tuple);
    rest.extend(offset.to_le_bytes());
    rest.push(flags);

    let mut record = Vec::new();
    record.extend((24 + rest.len() as u32).to_le_bytes());
    record.extend(XID.to_le_bytes());
    record.extend(0u64.to_le_bytes());
    record.extend([INSERT | info, HEAP, 0, 0]);
    // The process checks no CRC.
    record.extend(0u32.to_le_bytes());
    record.extend(rest);
    record
}

/// An initialised page without content (`PageInit`).
fn empty_page() -> Box<Page> {
    let mut page = Box::new([0; PAGE_SIZE]);
    put_u16(&mut page, 12, PAGE_HEADER as u16);
    put_u16(&mut page, 14, PAGE_SIZE as u16);
    put_u16(&mut page, 16, PAGE_SIZE as u16);
    // The page size with the layout version, 4, in its low byte.
    put_u16(&mut page, 18, PAGE_SIZE as u16 | 4);
    page
}

fn vm_page(map: u8) -> Box<Page> {
    let mut page = empty_page();
    page[PAGE_HEADER..].fill(map);
    page
}

/// Block [`BLOCK`] with tuples of these data lengths, as inserted by `XID`.
fn heap_page(lsn: Lsn, tuples: &[usize]) -> Box<Page> {
    let mut page = empty_page();
    set_page_lsn(&mut page, lsn);
    let mut upper = PAGE_SIZE;
    for (index, &data) in tuples.iter().enumerate() {
        let length = TUPLE_DATA as usize + data;
        upper -= length.next_multiple_of(8);
        // lp_off 15 bits, lp_flags 2 bits (1: normal), lp_len 15 bits.
        let item = upper as u32 | 1 << 15 | (length as u32) << 17;
        page[PAGE_HEADER + 4 * index..][..4].copy_from_slice(&item.to_le_bytes());
        page[upper..upper + 4].copy_from_slice(&XID.to_le_bytes());
        // t_ctid: the tuple itself.
        put_u16(&mut page, upper + 12, (BLOCK >> 16) as u16);
        put_u16(&mut page, upper + 14, BLOCK as u16);
        put_u16(&mut page, upper + 16, index as u16 + 1);
        put_u16(&mut page, upper + 18, ONE_ATTRIBUTE);
        put_u16(&mut page, upper + 20, XMAX_INVALID);
        page[upper + TUPLE_HEADER - 1] = TUPLE_DATA;
        for (at, byte) in tuple_data(data).enumerate() {
            page[upper + TUPLE_DATA as usize + at] = byte;
        }
    }
    put_u16(&mut page, 12, (PAGE_HEADER + 4 * tuples.len()) as u16);
    put_u16(&mut page, 14, upper as u16);
    page
}

fn put_u16(page: &mut Page, at: usize, value: u16) {
    page[at..at + 2].copy_from_slice(&value.to_le_bytes());
}
