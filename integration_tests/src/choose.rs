//! Which LSNs an oracle is asked about.

use std::collections::BTreeSet;

use pgdata::Lsn;

use crate::{DumpedRecord, end_of_record_before};

/// A small generator of numbers that look random (splitmix64): the same seed gives the same choice.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// A generator with this seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next number below `bound`.
    ///
    /// # Panics
    /// If `bound` is zero.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound as u64) as usize
    }
}

/// Chooses LSNs in ascending order with a checkpoint record before the first and between any two, as a [`crate::Standby`] needs
/// them. In a stretch between two checkpoints that has noted LSNs it is the first of these; of the other stretches, up to `extra`
/// give the end of a record chosen at random.
///
/// Random ones are not in a stretch that has a part without full page images: a standby that stops there replays the stretch again
/// when it goes on, and only images make sure that this comes out the same (`visibilitymap_clear` looks at no LSN).
///
/// `records` are those that start at or after some record boundary past the end of the base backup: the backup's own checkpoint is
/// where the standby starts, and does not count.
#[must_use]
pub fn choose_lsns(
    records: &[DumpedRecord],
    segment_size: u64,
    noted: &[Lsn],
    extra: usize,
    random: &mut Random,
) -> Vec<Lsn> {
    let mut chosen = BTreeSet::new();
    let mut free = Vec::new();
    for Stretch { ends, images } in stretches(records, segment_size) {
        match ends.iter().find(|lsn| noted.contains(lsn)) {
            Some(lsn) => drop(chosen.insert(*lsn)),
            None if !ends.is_empty() && images => free.push(ends),
            None => {}
        }
    }
    for _ in 0..extra.min(free.len()) {
        let ends = free.swap_remove(random.below(free.len()));
        chosen.insert(ends[random.below(ends.len())]);
    }
    chosen.into_iter().collect()
}

/// The ends of some records chosen at random, in ascending order: for those to whom any LSN is as good as another.
#[must_use]
pub fn random_record_ends(records: &[DumpedRecord], segment_size: u64, count: usize) -> Vec<Lsn> {
    let Some(last) = records.last() else { return Vec::new() };
    let mut random = Random::new(last.start.0);
    let starts = (0..count).map(|_| records[random.below(records.len())].start);
    let ends: BTreeSet<Lsn> = starts.map(|start| end_of_record_before(start, segment_size)).collect();
    ends.into_iter().collect()
}

/// What lies between two checkpoints.
#[derive(Debug, PartialEq, Eq)]
struct Stretch {
    /// The ends of records from the checkpoint record's own end to the last before the next checkpoint record's.
    ends: Vec<Lsn>,
    /// Whether full page images were written all the way.
    images: bool,
}

fn stretches(records: &[DumpedRecord], segment_size: u64) -> Vec<Stretch> {
    let mut all = Vec::new();
    let mut current: Option<Stretch> = None;
    let mut images = true;
    for pair in records.windows(2) {
        images = pair[0].full_page_writes().unwrap_or(images);
        if pair[0].is_checkpoint() {
            all.extend(current.replace(Stretch { ends: Vec::new(), images }));
        }
        if let Some(current) = &mut current {
            current.ends.push(end_of_record_before(pair[1].start, segment_size));
            current.images &= images;
        }
    }
    all.extend(current);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(lines: &[&str]) -> Vec<DumpedRecord> {
        let start = |index: usize| Lsn(0x100_0100 + 0x40 * index as u64);
        lines
            .iter()
            .enumerate()
            .map(|(index, line)| DumpedRecord { start: start(index), line: (*line).to_owned() })
            .collect()
    }

    #[test]
    fn a_checkpoint_lies_before_every_choice() {
        let lines = ["a", "CHECKPOINT_ONLINE", "b", "c", "CHECKPOINT_ONLINE", "d", "CHECKPOINT_SHUTDOWN", "e", "f"];
        let all = records(&lines);
        let found = stretches(&all, 1 << 24);
        let ends =
            |range: std::ops::Range<usize>| Stretch { ends: range.map(|i| all[i + 1].start).collect(), images: true };
        assert_eq!(found, vec![ends(1..4), ends(4..6), ends(6..8)]);

        let noted = all[3].start;
        let chosen = choose_lsns(&all, 1 << 24, &[noted], 9, &mut Random::new(1));
        assert_eq!(chosen.len(), 3);
        assert_eq!(chosen[0], noted);
        assert_eq!(choose_lsns(&all, 1 << 24, &[noted], 0, &mut Random::new(1)), vec![noted]);
        assert!(choose_lsns(&all[7..], 1 << 24, &[noted], 9, &mut Random::new(1)).is_empty());
    }

    #[test]
    fn nothing_is_chosen_at_random_where_there_are_no_images() {
        let change = |to: &str| format!("rmgr: XLOG  len, desc: FPW_CHANGE {to}");
        let (off, on) = (change("false"), change("true"));
        let lines = ["CHECKPOINT_ONLINE", &off, "a", "CHECKPOINT_ONLINE", "b", &on, "c", "CHECKPOINT_ONLINE", "d", "e"];
        let all = records(&lines);
        let images: Vec<bool> = stretches(&all, 1 << 24).iter().map(|stretch| stretch.images).collect();
        assert_eq!(images, [false, false, true]);
        let chosen = choose_lsns(&all, 1 << 24, &[], 9, &mut Random::new(1));
        assert!(chosen.len() == 1 && chosen[0] > all[7].start, "{chosen:?}");
    }
}
