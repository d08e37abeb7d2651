//! The states of a stream and what it does in each.

use pgdata::Lsn;
use pgdata::wal::{
    PageFlags, PageHeader, PageHeaderError, RECORD_HEADER, RecordHeader, WAL_PAGE_SIZE, max_record_len, record_crc,
};

use super::buffer::{Consumed, Input};
use super::{Reader, at_page_start};
use crate::rmgr::{RM_XLOG_ID, XLOG_OVERWRITE_CONTRECORD, XLOG_SWITCH, XLR_RMGR_INFO_MASK, rmgr_is_valid};
use crate::{Record, WalError};

/// Where in the WAL's structure the stream's position is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// At the very start, of which nothing is known yet.
    First,
    /// At the start of a page, in a record that began before the stream and has `left` bytes to come.
    Leading { left: u32 },
    /// In void bytes at the stream's start `from`, which end with their segment.
    Void { from: Lsn, end: Lsn },
    /// At the end of a record: the next one starts here, or behind the header of the page that starts here.
    Boundary,
    /// At the start of a page, in a record of `total` bytes that started before it and is partly assembled.
    Assembling { start: Lsn, total: u32 },
    /// An error was found. It stays.
    Failed(WalError),
}

/// What the next record must say about the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum PrevCheck {
    /// That it starts before the stream: the first record of a stream is the first one that ends behind its start.
    Before,
    /// That it starts exactly here.
    Exactly(Lsn),
}

/// What one step came to.
pub(super) enum Step {
    /// The state has changed.
    Again,
    /// It takes more bytes.
    NeedMore,
    /// A record is whole.
    Record { start: Lsn, lsn: Lsn, place: Place },
}

/// Where a record's bytes are.
pub(super) enum Place {
    /// In the input.
    Input(Consumed),
    /// In the vector for assembled records.
    Assembled,
}

impl Reader {
    fn goto(&mut self, state: State) -> Step {
        self.state = state;
        Step::Again
    }

    /// Finds out what there is at the stream's start.
    pub(super) fn first(&mut self, input: &mut Input<'_>) -> Result<Step, WalError> {
        let from = input.position();
        if !at_page_start(from) {
            let Some(total) = peek_total_len(input) else { return Ok(Step::NeedMore) };
            return Ok(if total == 0 { self.enter_void(from) } else { self.goto(State::Boundary) });
        }
        let header = match self.peek_page_header(input) {
            // The void behind a switch has no page headers. It never reaches the first page of a segment.
            Err(WalError::Page(PageHeaderError::Zero { .. })) if self.size.offset_of(from) != 0 => {
                return Ok(self.enter_void(from));
            }
            header => self.or_end_of_wal(header, from)?,
        };
        match header {
            None => Ok(Step::NeedMore),
            Some(header) if header.flags.has(PageFlags::CONTRECORD) => {
                Ok(self.goto(State::Leading { left: header.rem_len }))
            }
            Some(_) => Ok(self.goto(State::Boundary)),
        }
    }

    fn enter_void(&mut self, from: Lsn) -> Step {
        let left = self.size.bytes() - self.size.offset_of(from);
        self.goto(State::Void { from, end: Lsn(from.0 + u64::from(left)) })
    }

    /// Passes over zeros up to the end of the segment. The records of a gap cannot be lost here: the first record behind the
    /// void must say that the one before it starts before the stream.
    pub(super) fn void(&mut self, input: &mut Input<'_>, from: Lsn, end: Lsn) -> Result<Step, WalError> {
        let position = input.position();
        let available = input.available();
        let count = (available.len() as u64).min(end.bytes_since(position));
        if available[..count as usize].iter().any(|&byte| byte != 0) {
            return Err(WalError::EndOfWal { lsn: from });
        }
        input.consume_to(Lsn(position.0 + count));
        Ok(match input.position() == end {
            true => self.goto(State::Boundary),
            // There may be more in another place.
            false if count > 0 => Step::Again,
            false => Step::NeedMore,
        })
    }

    /// Passes over one page's part of a record that began before the stream.
    pub(super) fn leading(&mut self, input: &mut Input<'_>, left: u32) -> Result<Step, WalError> {
        let page = input.position();
        let header = self.peek_page_header(input);
        let Some(header) = self.or_end_of_wal(header, page)? else { return Ok(Step::NeedMore) };
        if header.flags.has(PageFlags::OVERWRITE_CONTRECORD) {
            return Ok(self.goto(State::Boundary));
        }
        check_continuation(&header, left)?;
        let part = left.min(room_behind(&header));
        self.enter_page(&header)?;
        let end = Lsn(page.0 + header.len() as u64 + u64::from(part));
        input.consume_to(end.align_up());
        Ok(self.goto(if part < left { State::Leading { left: left - part } } else { State::Boundary }))
    }

    /// Passes the page header, if one is here, and begins with the record behind it.
    pub(super) fn boundary(&mut self, input: &mut Input<'_>) -> Result<Step, WalError> {
        let position = input.position();
        if at_page_start(position) {
            let header = self.peek_page_header(input);
            let Some(header) = self.or_end_of_wal(header, position)? else { return Ok(Step::NeedMore) };
            check_continuation(&header, 0)?;
            self.enter_page(&header)?;
            input.consume_to(Lsn(position.0 + header.len() as u64));
        }
        self.begin_record(input)
    }

    /// Gives out the record here if it lies in this page; else takes the page's part of it.
    fn begin_record(&mut self, input: &mut Input<'_>) -> Result<Step, WalError> {
        let start = input.position();
        // Records start at multiples of eight: the length is always whole within the page.
        let Some(total) = peek_total_len(input) else { return Ok(Step::NeedMore) };
        if total == 0 {
            return Err(WalError::EndOfWal { lsn: start });
        }
        self.check_length(start, total)?;
        let room = WAL_PAGE_SIZE - start.0 as usize % WAL_PAGE_SIZE;
        let available = input.available();
        if room >= RECORD_HEADER {
            let Some(header) = RecordHeader::parse(available) else { return Ok(Step::NeedMore) };
            self.check_header(start, &header)?;
        }
        let in_page = room.min(total as usize);
        let Some(part) = available.get(..in_page) else { return Ok(Step::NeedMore) };
        if (total as usize) > in_page {
            self.assembled.clear();
            self.assembled.extend_from_slice(part);
            input.consume_to(Lsn(start.0 + in_page as u64));
            return Ok(self.goto(State::Assembling { start, total }));
        }
        let end = Lsn(start.0 + u64::from(total));
        let lsn = self.finish(start, end, part_header(part), record_crc(part), self.voided_by(start, part))?;
        let place = Place::Input(input.consume_to(end));
        input.consume_to(lsn);
        Ok(Step::Record { start, lsn, place })
    }

    /// Takes one more page's part of a record, or finds that the record was never finished.
    pub(super) fn assemble(&mut self, input: &mut Input<'_>, start: Lsn, total: u32) -> Result<Step, WalError> {
        let page = input.position();
        let header = self.peek_page_header(input);
        let Some(header) = self.or_end_of_wal(header, start)? else { return Ok(Step::NeedMore) };
        if header.flags.has(PageFlags::OVERWRITE_CONTRECORD) {
            self.voided = Some(start);
            return Ok(self.goto(State::Boundary));
        }
        let had = self.assembled.len();
        let left = total - had as u32;
        check_continuation(&header, left)?;
        let part = header.len()..header.len() + left.min(room_behind(&header)) as usize;
        let end = Lsn(page.0 + part.end as u64);
        let Some(part) = input.available().get(part) else { return Ok(Step::NeedMore) };
        self.assembled.extend_from_slice(part);
        self.enter_page(&header)?;
        input.consume_to(end);
        if had < RECORD_HEADER {
            self.check_header(start, &part_header(&self.assembled))?;
        }
        if self.assembled.len() < total as usize {
            return Ok(Step::Again);
        }
        let record = &self.assembled;
        let lsn = self.finish(start, end, part_header(record), record_crc(record), self.voided_by(start, record))?;
        input.consume_to(lsn);
        Ok(Step::Record { start, lsn, place: Place::Assembled })
    }

    /// Judges a record all of whose bytes are there, and tells its LSN.
    fn finish(
        &mut self,
        start: Lsn,
        end: Lsn,
        header: RecordHeader,
        crc: u32,
        voids: Option<Lsn>,
    ) -> Result<Lsn, WalError> {
        if crc != header.crc {
            return Err(WalError::Crc { start, got: crc, expected: header.crc });
        }
        if let Some(expected) = self.voided.take()
            && voids != Some(expected)
        {
            return Err(WalError::Overwrite { start, got: voids.unwrap_or_default(), expected });
        }
        let mut lsn = end.align_up();
        if header.rmid == RM_XLOG_ID && header.info & XLR_RMGR_INFO_MASK == XLOG_SWITCH {
            lsn = self.size.round_up(lsn).unwrap_or(lsn);
        }
        self.prev = PrevCheck::Exactly(start);
        self.decoded_to = lsn;
        self.state = State::Boundary;
        Ok(lsn)
    }

    /// The start of the unfinished record that this one declares void (`xl_overwrite_contrecord`). Looked at only when there is
    /// one, which is after a crash of the primary.
    fn voided_by(&self, start: Lsn, record: &[u8]) -> Option<Lsn> {
        self.voided?;
        let record = Record::parse(self.version, start, record).ok()?;
        let right = record.rmid == RM_XLOG_ID && record.info & XLR_RMGR_INFO_MASK == XLOG_OVERWRITE_CONTRECORD;
        let lsn = record.main_data.first_chunk::<8>().map(|bytes| Lsn(u64::from_le_bytes(*bytes)));
        lsn.filter(|_| right)
    }

    /// The header of the page that starts here, checked, or `None` if its bytes are not all there.
    fn peek_page_header(&self, input: &Input<'_>) -> Result<Option<PageHeader>, WalError> {
        let page = input.position();
        let header = match PageHeader::parse(input.available(), page, self.size) {
            Err(PageHeaderError::Short { .. }) => return Ok(None),
            header => header?,
        };
        if header.version != self.version {
            return Err(WalError::Version { page, got: header.version, expected: self.version });
        }
        Ok(Some(header))
    }

    /// A page that was never written is the end of the WAL, at `end`.
    fn or_end_of_wal(
        &self,
        header: Result<Option<PageHeader>, WalError>,
        end: Lsn,
    ) -> Result<Option<PageHeader>, WalError> {
        match header {
            Err(WalError::Page(PageHeaderError::Zero { .. })) => Err(WalError::EndOfWal { lsn: end }),
            header => header,
        }
    }

    /// Compares a page's header with those before it, and remembers it.
    fn enter_page(&mut self, header: &PageHeader) -> Result<(), WalError> {
        let (page, got) = (header.address, header.timeline);
        if got < self.timeline {
            return Err(WalError::Timeline { page, got, before: self.timeline });
        }
        if let Some(expected) = self.timelines.as_ref().map(|timelines| timelines.at(page))
            && got != expected
        {
            return Err(WalError::WrongTimeline { page, got, expected });
        }
        self.timeline = header.timeline;
        if let Some(long) = header.long {
            let expected = *self.system_id.get_or_insert(long.system_id);
            if long.system_id != expected {
                return Err(WalError::SystemId { page, got: long.system_id, expected });
            }
        }
        Ok(())
    }

    fn check_length(&self, start: Lsn, total: u32) -> Result<(), WalError> {
        let (min, max) = (RECORD_HEADER as u32, max_record_len(self.version));
        if (min..=max).contains(&total) { Ok(()) } else { Err(WalError::RecordLength { start, got: total, min, max }) }
    }

    fn check_header(&self, start: Lsn, header: &RecordHeader) -> Result<(), WalError> {
        if !rmgr_is_valid(header.rmid) {
            return Err(WalError::Rmgr { start, rmid: header.rmid });
        }
        let got = header.prev;
        match self.prev {
            PrevCheck::Before if got >= self.from => Err(WalError::FirstPrev { start, got, from: self.from }),
            PrevCheck::Exactly(expected) if got != expected => Err(WalError::Prev { start, got, expected }),
            _ => Ok(()),
        }
    }
}

/// The header at the front of a record of at least that length.
fn part_header(record: &[u8]) -> RecordHeader {
    RecordHeader::parse(record).expect("a record's length was checked to be at least its header's")
}

/// Bytes for records on a page.
fn room_behind(header: &PageHeader) -> u32 {
    (WAL_PAGE_SIZE - header.len()) as u32
}

fn peek_total_len(input: &Input<'_>) -> Option<u32> {
    input.available().first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Checks that a page goes on with `expected` bytes of a record, 0 for none.
fn check_continuation(header: &PageHeader, expected: u32) -> Result<(), WalError> {
    let got = if header.flags.has(PageFlags::CONTRECORD) { header.rem_len } else { 0 };
    if got == expected { Ok(()) } else { Err(WalError::Continuation { page: header.address, got, expected }) }
}
