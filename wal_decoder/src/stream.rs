//! Bytes in, whole records out.

mod buffer;
mod state;

use pgdata::wal::{SegmentSize, WAL_PAGE_SIZE};
use pgdata::{Lsn, PgVersion, Timelines};

use crate::WalError;
use buffer::{Buffer, Input};
use state::{Place, PrevCheck, State, Step};

/// A whole record whose CRC is right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawRecord<'a> {
    /// Where its first byte is: what `pg_waldump` calls its LSN, and what the next record's `xl_prev` says.
    pub start: Lsn,
    /// Its LSN: the position after it, rounded up to eight; for `XLOG_SWITCH` the end of the segment.
    pub lsn: Lsn,
    /// Its `xl_tot_len` bytes, without the page headers between them.
    pub bytes: &'a [u8],
}

/// Takes WAL in pieces of any size and gives out whole, checked records.
///
/// [`feed`](WalStream::feed) answers with the records that become whole. They are read where they were fed; only those that lie in several pages or
/// pieces are put together in the stream's own memory. It keeps what was fed and is not a whole record yet. No length that is read makes it allocate
/// anything ahead of the bytes.
///
/// The void behind an `XLOG_SWITCH` is fed like all else, whatever is in it. Who does not have it begins a new stream at the
/// switch's LSN, the next segment, with [`after_record`](WalStream::after_record).
///
/// The end of the WAL in a file made ahead of time is an error with [`WalError::is_end_of_wal`]: a stream is no place to wait in
/// for a file to grow.
#[derive(Debug)]
pub struct WalStream {
    buffer: Buffer,
    reader: Reader,
}

/// The records that are whole with what was fed last. Those that are not asked for come first after the next feed.
#[derive(Debug)]
pub struct Records<'a> {
    input: Input<'a>,
    reader: &'a mut Reader,
}

/// What is known of the WAL up to the position.
#[derive(Debug)]
struct Reader {
    size: SegmentSize,
    version: PgVersion,
    /// Where the stream was told to begin.
    from: Lsn,
    /// The bytes of a record that runs over pages, without their headers.
    assembled: Vec<u8>,
    state: State,
    prev: PrevCheck,
    decoded_to: Lsn,
    /// The start of an unfinished record that the next one must void.
    voided: Option<Lsn>,
    system_id: Option<u64>,
    timeline: u32,
    /// What each page's timeline must be.
    timelines: Option<Timelines>,
}

/// An assembled record longer than this gives its memory back afterwards.
const KEEP_ASSEMBLED: usize = 1 << 20;

/// Behind this no stream begins, so that positions need no checks against the end of their numbers, an exabyte away.
const LAST_START: u64 = u64::MAX >> 1;

impl WalStream {
    /// A stream that begins at `start`: at a record, at the start of a page or a segment, or in the void rest of a segment
    /// behind an `XLOG_SWITCH`. What a page at `start` continues from before is skipped, and void bytes as well.
    /// `start` is rounded up to eight.
    ///
    /// # Errors
    /// [`WalError::Layout`] for a segment size that does not exist, [`WalError::Start`] for a position inside a page header.
    pub fn new(start: Lsn, segment_size: u32, version: PgVersion) -> Result<Self, WalError> {
        Self::begin(start, segment_size, version, PrevCheck::Before, State::First)
    }

    /// A stream that goes on behind a record: `end` is its LSN, `start` is where it starts. The next record must follow
    /// it without a gap and name it as its predecessor; nothing is skipped.
    ///
    /// # Errors
    /// As with [`WalStream::new`].
    pub fn after_record(start: Lsn, end: Lsn, segment_size: u32, version: PgVersion) -> Result<Self, WalError> {
        Self::begin(end, segment_size, version, PrevCheck::Exactly(start), State::Boundary)
    }

    fn begin(
        start: Lsn,
        segment_size: u32,
        version: PgVersion,
        prev: PrevCheck,
        state: State,
    ) -> Result<Self, WalError> {
        let size = SegmentSize::new(segment_size)?;
        let from = start.align_up();
        if from.0 > LAST_START {
            return Err(WalError::Overflow { start });
        }
        if !at_page_start(from) && !size.is_record_start(from) {
            return Err(WalError::Start { start });
        }
        let reader = Reader {
            size,
            version,
            from,
            assembled: Vec::new(),
            state,
            prev,
            decoded_to: from,
            voided: None,
            system_id: None,
            timeline: 0,
            timelines: None,
        };
        Ok(WalStream { buffer: Buffer::new(start, from), reader })
    }

    /// Lets only segments of this cluster in. Otherwise the first segment that begins in the stream says which cluster it is.
    #[must_use]
    pub fn expect_system_id(mut self, system_id: u64) -> Self {
        self.reader.system_id = Some(system_id);
        self
    }

    /// Lets only pages of the timeline in that the WAL is of at each of them. Otherwise timelines may be any that only grow.
    #[must_use]
    pub fn expect_timelines(mut self, timelines: Timelines) -> Self {
        self.reader.timelines = Some(timelines);
        self
    }

    /// Takes the next bytes of the WAL: the first ones are those at `start`, others go on where those before ended. The answer is what becomes whole
    /// with them.
    pub fn feed<'a>(&'a mut self, bytes: &'a [u8]) -> Records<'a> {
        let (fed, skipped) = match self.reader.state {
            State::Failed(_) => (&[][..], 0),
            _ => (bytes, self.buffer.feed(bytes)),
        };
        Records { input: Input::new(&mut self.buffer, fed, skipped), reader: &mut self.reader }
    }

    /// The position after the last byte fed. A failed stream takes no more bytes, and this stays as it was.
    #[must_use]
    pub fn fed_to(&self) -> Lsn {
        self.buffer.end()
    }

    /// The LSN of the last record given out: where [`WalStream::new`] could begin anew. The start if there was none yet.
    #[must_use]
    pub fn decoded_to(&self) -> Lsn {
        self.reader.decoded_to
    }

    /// The timeline of the last page that began in the stream, 0 if none did yet.
    #[must_use]
    pub fn timeline(&self) -> u32 {
        self.reader.timeline
    }

    /// Bytes of memory that the stream holds.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn memory(&self) -> usize {
        self.buffer.memory() + self.reader.assembled.capacity()
    }
}

impl Records<'_> {
    /// The next whole record, or `None` if it takes more bytes.
    ///
    /// # Errors
    /// [`WalError`]; from then on always the same one.
    pub fn next_record(&mut self) -> Result<Option<RawRecord<'_>>, WalError> {
        self.reader.forget_long_record();
        loop {
            match self.reader.step(&mut self.input) {
                Ok(Step::Again) => {}
                Ok(Step::NeedMore) if self.input.carry_more() => {}
                Ok(Step::NeedMore) => return Ok(None),
                Ok(Step::Record { start, lsn, place }) => {
                    let bytes = match place {
                        Place::Input(place) => self.input.consumed(place),
                        Place::Assembled => &self.reader.assembled[..],
                    };
                    return Ok(Some(RawRecord { start, lsn, bytes }));
                }
                Err(error) => {
                    self.reader.state = State::Failed(error);
                    return Err(error);
                }
            }
        }
    }
}

impl Drop for Records<'_> {
    fn drop(&mut self) {
        if !matches!(self.reader.state, State::Failed(_)) {
            self.input.carry_all();
        }
    }
}

impl Reader {
    fn forget_long_record(&mut self) {
        if self.assembled.capacity() > KEEP_ASSEMBLED && !matches!(self.state, State::Assembling { .. }) {
            self.assembled = Vec::new();
        }
    }

    /// Does what can be done in the state the stream is in.
    fn step(&mut self, input: &mut Input<'_>) -> Result<Step, WalError> {
        match self.state {
            State::Failed(error) => Err(error),
            State::First => self.first(input),
            State::Leading { left } => self.leading(input, left),
            State::Void { from, end } => self.void(input, from, end),
            State::Boundary => self.boundary(input),
            State::Assembling { start, total } => self.assemble(input, start, total),
        }
    }
}

/// Whether a page starts at `lsn`.
pub(crate) fn at_page_start(lsn: Lsn) -> bool {
    lsn.0.is_multiple_of(WAL_PAGE_SIZE as u64)
}
