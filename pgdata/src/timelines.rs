//! Timelines: which of them the WAL is of at each position, and the files that say so (`access/timeline.h`, `timeline.c`).
//!
//! Each promotion of a standby, and each recovery to a point in the past, begins a new timeline. It goes on with the numbers of the WAL
//! where its parent was left. The file `TTTTTTTT.history` of a timeline has a line for each of its ancestors, oldest first:
//!
//! ```text
//! 1<tab>0/3000148<tab>no recovery target specified
//! 2<tab>0/5000060<tab>before 2024-05-01 00:00:00+00
//! ```
//!
//! The position is the first one that does not belong to that ancestor any more. What follows it is for people.

use crate::Lsn;
use crate::wal::SegmentSize;

/// A timeline, and those that it came from.
///
/// ```
/// use pgdata::{Lsn, Timelines};
///
/// let third = Timelines::parse(3, b"1\t0/3000148\tpromoted\n2\t0/5000060\tpromoted\n")?;
/// assert_eq!((third.last(), third.begin()), (3, Lsn(0x500_0060)));
/// assert_eq!([third.at(Lsn(0x300_0147)), third.at(Lsn(0x300_0148)), third.at(Lsn::MAX)], [1, 2, 3]);
/// assert_eq!(third.end_of(2), Some(Lsn(0x500_0060)));
/// # Ok::<(), pgdata::TimelinesError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timelines {
    last: u32,
    /// Oldest first, each with its end. Numbers grow, and ends do not go back.
    ancestors: Vec<(u32, Lsn)>,
}

/// Why a history file is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimelinesError {
    /// Too many bytes.
    #[error(
        "the history of timeline {timeline} has {got} bytes, more than the {} that it may have",
        Timelines::MAX_FILE
    )]
    TooLong {
        /// The timeline.
        timeline: u32,
        /// Bytes of the file.
        got: usize,
    },
    /// A line that is none.
    #[error(
        "line {line} of the history of timeline {timeline} is {text:?}: expected a timeline, a tab and a WAL position"
    )]
    Line {
        /// The timeline.
        timeline: u32,
        /// The line's number, from 1.
        line: usize,
        /// Its beginning.
        text: String,
    },
    /// A child's number is always larger than its parent's.
    #[error("the history of timeline {timeline} has timeline {got} after timeline {before}")]
    Order {
        /// The timeline.
        timeline: u32,
        /// A timeline's number.
        got: u32,
        /// The number before, not smaller; 0 if there is none.
        before: u32,
    },
    /// A timeline that ends before it begins.
    #[error("the history of timeline {timeline} has timeline {ancestor} end at {end}, before it begins at {begin}")]
    Backwards {
        /// The timeline.
        timeline: u32,
        /// Its ancestor.
        ancestor: u32,
        /// Where that begins.
        begin: Lsn,
        /// Where it ends.
        end: Lsn,
    },
}

impl Timelines {
    /// More bytes than this has no history file: some ten thousand promotions.
    pub const MAX_FILE: usize = 1 << 20;
    /// Characters of a malformed line that an error repeats.
    const TOLD: usize = 80;

    /// A timeline of which no ancestors are known: all positions count as its own.
    #[must_use]
    pub const fn single(timeline: u32) -> Timelines {
        Timelines { last: timeline, ancestors: Vec::new() }
    }

    /// Reads the history file of `timeline`, as `readTimeLineHistory` does: empty lines and those that begin with `#` have no meaning.
    ///
    /// # Errors
    /// [`TimelinesError`] for what PostgreSQL would refuse, and for ends that go back.
    pub fn parse(timeline: u32, file: &[u8]) -> Result<Timelines, TimelinesError> {
        if file.len() > Self::MAX_FILE {
            return Err(TimelinesError::TooLong { timeline, got: file.len() });
        }
        let mut ancestors: Vec<(u32, Lsn)> = Vec::new();
        for (number, line) in file.split(|&byte| byte == b'\n').enumerate() {
            let line = line.trim_ascii_start();
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let Some((ancestor, end)) = parse_line(line) else {
                let text = String::from_utf8_lossy(line).chars().take(Self::TOLD).collect();
                return Err(TimelinesError::Line { timeline, line: number + 1, text });
            };
            let (before, begin) = ancestors.last().copied().unwrap_or_default();
            if ancestor <= before {
                return Err(TimelinesError::Order { timeline, got: ancestor, before });
            }
            if end < begin {
                return Err(TimelinesError::Backwards { timeline, ancestor, begin, end });
            }
            ancestors.push((ancestor, end));
        }
        let before = ancestors.last().map_or(0, |(ancestor, _)| *ancestor);
        if timeline <= before {
            return Err(TimelinesError::Order { timeline, got: timeline, before });
        }
        Ok(Timelines { last: timeline, ancestors })
    }

    /// The newest timeline: the one that goes on.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.last
    }

    /// Where the newest timeline begins; [`Lsn::INVALID`] if none before it is known.
    #[must_use]
    pub fn begin(&self) -> Lsn {
        self.ancestors.last().map_or(Lsn::INVALID, |(_, end)| *end)
    }

    /// The ancestors, oldest first, each with the first position that is not its own.
    #[must_use]
    pub fn ancestors(&self) -> &[(u32, Lsn)] {
        &self.ancestors
    }

    /// The timeline that the byte at `lsn` belongs to. That of a record, whose LSN is its end, is [`Timelines::before`].
    #[must_use]
    pub fn at(&self, lsn: Lsn) -> u32 {
        let behind = self.ancestors.partition_point(|(_, end)| *end <= lsn);
        self.ancestors.get(behind).map_or(self.last, |(timeline, _)| *timeline)
    }

    /// The timeline of the byte before `lsn`: that of the record that ends there.
    #[must_use]
    pub fn before(&self, lsn: Lsn) -> u32 {
        self.at(Lsn(lsn.0.saturating_sub(1)))
    }

    /// The first position that is not the timeline's any more. `None` for the newest one, and for one that is no ancestor.
    #[must_use]
    pub fn end_of(&self, timeline: u32) -> Option<Lsn> {
        self.ancestors.iter().find(|(ancestor, _)| *ancestor == timeline).map(|(_, end)| *end)
    }

    /// Whether a timeline is the newest one or an ancestor.
    #[must_use]
    pub fn contains(&self, timeline: u32) -> bool {
        timeline == self.last || self.end_of(timeline).is_some()
    }

    /// Whether all that is known here is so in `other` too, and what follows, if anything, comes after it. Of ancestors of the oldest one
    /// known here nothing is asked: a history may be known from some point on.
    #[must_use]
    pub fn is_continued_by(&self, other: &Timelines) -> bool {
        other.contains(self.last)
            && self.ancestors.iter().all(|(ancestor, end)| other.end_of(*ancestor) == Some(*end))
            && other.end_of(self.last).is_none_or(|end| end >= self.begin())
    }

    /// The first position whose timeline is another one in `other`. `None` if the two have the same timelines all along, as far as the
    /// oldest one known here; [`Lsn::INVALID`] if they have not even that in common.
    #[must_use]
    pub fn parting(&self, other: &Timelines) -> Option<Lsn> {
        let oldest = self.ancestors.first().map_or(self.last, |(timeline, _)| *timeline);
        if !other.contains(oldest) {
            return Some(Lsn::INVALID);
        }
        let older = other.ancestors.iter().take_while(|(timeline, _)| *timeline < oldest);
        let from = older.last().map_or(Lsn::INVALID, |(_, end)| *end);
        let ends = self.ancestors.iter().chain(&other.ancestors).map(|(_, end)| *end);
        ends.filter(|&end| end >= from && self.at(end) != other.at(end)).min()
    }

    /// The timeline in whose segment file all WAL of the segment `segno` is: the newest one that has any of it. When a timeline begins
    /// within a segment, its file has a copy of what was before.
    #[must_use]
    pub fn of_segment(&self, size: SegmentSize, segno: u64) -> u32 {
        let behind = self.ancestors.partition_point(|(_, end)| size.segment_of(*end) <= segno);
        self.ancestors.get(behind).map_or(self.last, |(timeline, _)| *timeline)
    }

    /// The name of a timeline's history file, as `00000002.history`.
    #[must_use]
    pub fn file_name(timeline: u32) -> String {
        format!("{timeline:08X}.history")
    }

    /// The timeline whose history file has this name, or `None` if it is not the name of one.
    #[must_use]
    pub fn parse_file_name(name: &str) -> Option<u32> {
        let timeline = u32::from_str_radix(name.get(..8)?, 16).ok()?;
        (Timelines::file_name(timeline) == name).then_some(timeline)
    }

    /// The history file of the newest timeline, with `reason` in each line.
    #[must_use]
    pub fn to_file(&self, reason: &str) -> String {
        self.ancestors.iter().map(|(timeline, end)| format!("{timeline}\t{end}\t{reason}\n")).collect()
    }
}

/// A timeline of which nothing else is known.
impl From<u32> for Timelines {
    fn from(timeline: u32) -> Self {
        Timelines::single(timeline)
    }
}

/// A timeline and a position with blanks between them; what follows has no meaning.
fn parse_line(line: &[u8]) -> Option<(u32, Lsn)> {
    let mut words = line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    let mut word = || std::str::from_utf8(words.next()?).ok();
    let timeline = word().filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?;
    Some((timeline, word()?.parse().ok()?))
}

/// For fuzzing: what is accepted means the same when it is written and read again.
///
/// # Panics
/// If it does not, or if the timelines are not in order.
#[doc(hidden)]
pub fn check_any_history(timeline: u32, bytes: &[u8]) {
    let Ok(parsed) = Timelines::parse(timeline, bytes) else { return };
    let again = Timelines::parse(timeline, parsed.to_file("fuzzing").as_bytes());
    // Written anew, a line can be longer than it was.
    assert!(again == Ok(parsed.clone()) || matches!(again, Err(TimelinesError::TooLong { .. })), "{again:?}");
    assert!(parsed.is_continued_by(&parsed));
    for &(ancestor, end) in parsed.ancestors() {
        assert!(parsed.at(end) > ancestor && parsed.before(end) <= parsed.at(end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn third() -> Timelines {
        Timelines { last: 3, ancestors: vec![(1, Lsn(0x300_0148)), (2, Lsn(0x500_0060))] }
    }

    #[test]
    fn files_of_postgres_are_read() {
        let file = b"# comment\n\n1\t0/3000148\tno recovery target specified\n  2\t0/5000060\tat restore point \"x\"\n";
        assert_eq!(Timelines::parse(3, file), Ok(third()));
        assert_eq!(Timelines::parse(1, b""), Ok(Timelines::single(1)));
        assert_eq!(Timelines::parse(3, third().to_file("why").as_bytes()), Ok(third()));
    }

    #[test]
    fn others_are_refused_by_name() {
        let error = |file: &[u8]| Timelines::parse(3, file).unwrap_err();
        for line in
            [&b"x\t0/1"[..], b"1", b"1\t1", b"-1\t0/1", b"+1\t0/1", b"99999999999\t0/1", b"1\t0/123456789", b"\xff"]
        {
            assert!(matches!(error(line), TimelinesError::Line { line: 1, .. }), "{}", line.escape_ascii());
        }
        assert_eq!(error(b"2\t0/8\n1\t0/9\n"), TimelinesError::Order { timeline: 3, got: 1, before: 2 });
        assert_eq!(error(b"0\t0/8\n"), TimelinesError::Order { timeline: 3, got: 0, before: 0 });
        assert_eq!(error(b"3\t0/8\n"), TimelinesError::Order { timeline: 3, got: 3, before: 3 });
        let backwards = TimelinesError::Backwards { timeline: 3, ancestor: 2, begin: Lsn(9), end: Lsn(8) };
        assert_eq!(error(b"1\t0/9\n2\t0/8\n"), backwards);
        assert!(matches!(error(&vec![b'#'; Timelines::MAX_FILE + 1]), TimelinesError::TooLong { .. }));
    }

    #[test]
    fn each_position_has_its_timeline() {
        let all = third();
        for (lsn, timeline) in
            [(0, 1), (0x300_0147, 1), (0x300_0148, 2), (0x500_005F, 2), (0x500_0060, 3), (u64::MAX, 3)]
        {
            assert_eq!(all.at(Lsn(lsn)), timeline, "{lsn:X}");
            assert_eq!(all.before(Lsn(lsn).checked_add(1).unwrap_or(Lsn::MAX)), timeline, "{lsn:X}");
        }
        assert_eq!(all.before(Lsn(0)), 1);
    }

    #[test]
    fn a_segment_is_whole_in_its_newest_timeline() {
        let size = SegmentSize::DEFAULT;
        let at_boundary = Timelines { last: 2, ancestors: vec![(1, Lsn(0x400_0000))] };
        assert_eq!([2, 3, 4, 5, 6].map(|segno| third().of_segment(size, segno)), [1, 2, 2, 3, 3]);
        assert_eq!([3, 4].map(|segno| at_boundary.of_segment(size, segno)), [1, 2]);
        let twice = Timelines { last: 3, ancestors: vec![(1, Lsn(0x300_0148)), (2, Lsn(0x300_0160))] };
        assert_eq!([2, 3].map(|segno| twice.of_segment(size, segno)), [1, 3]);
    }

    #[test]
    fn a_history_goes_on_in_those_that_have_all_of_it() {
        let second = Timelines { last: 2, ancestors: vec![(1, Lsn(0x300_0148))] };
        let other = Timelines { last: 2, ancestors: vec![(1, Lsn(0x300_0150))] };
        let unrelated = Timelines { last: 4, ancestors: vec![(1, Lsn(0x300_0148))] };
        assert!(second.is_continued_by(&third()) && second.is_continued_by(&second));
        assert!(Timelines::single(2).is_continued_by(&third()) && Timelines::single(1).is_continued_by(&unrelated));
        assert!(!other.is_continued_by(&third()) && !second.is_continued_by(&other));
        assert!(!second.is_continued_by(&unrelated) && !third().is_continued_by(&second));
    }

    #[test]
    fn histories_part_where_their_timelines_differ() {
        let (x, y, z) = (Lsn(0x300_0148), Lsn(0x300_0150), Lsn(0x500_0060));
        let second = |end| Timelines { last: 2, ancestors: vec![(1, end)] };
        assert_eq!(second(x).parting(&second(x)), None);
        assert_eq!(second(x).parting(&second(y)), Some(x));
        assert_eq!(second(y).parting(&second(x)), Some(x));
        assert_eq!(Timelines::single(1).parting(&second(x)), Some(x));
        assert_eq!(second(x).parting(&third()), Some(z));
        assert_eq!(Timelines::single(2).parting(&third()), Some(z));
        assert_eq!(Timelines::single(2).parting(&second(y)), None);
        assert_eq!(Timelines::single(5).parting(&third()), Some(Lsn::INVALID));
        assert_eq!(third().parting(&Timelines { last: 4, ancestors: vec![(1, y)] }), Some(x));
    }

    #[test]
    fn file_names_are_those_of_postgres() {
        assert_eq!(Timelines::file_name(0x1F), "0000001F.history");
        assert_eq!(Timelines::parse_file_name("0000001F.history"), Some(0x1F));
        for name in
            ["", "1.history", "0000001f.history", "0000001F.history.tmp", "000000010000000000000001", "é0000001"]
        {
            assert_eq!(Timelines::parse_file_name(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken_or_refused(timeline in any::<u32>(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            check_any_history(timeline, &bytes);
        }

        #[test]
        fn any_lines_are_taken_or_refused(lines in prop::collection::vec((0u32..9, 0u64..99), 0..6)) {
            let file: String = lines.iter().map(|(timeline, end)| format!("{timeline}\t{}\twhy\n", Lsn(*end))).collect();
            check_any_history(7, file.as_bytes());
        }
    }
}
