//! `pages`: some pages of a timeline, with what it takes to make them.

use page_service::{Column, ReadLsn, RowSink, ServiceError, SqlState, Value};
use pgdata::{Fork, Lsn, Object, RelTag};
use repository::Timeline;

use crate::cli::PagesArgs;
use crate::source::{TimelineSource, service_error};

/// No more pages than this are looked at: a look takes less than a microsecond.
const MOST_LOOKS: u64 = 2_000_000;

/// A row for each page that fits, in no order.
pub fn run(source: &TimelineSource, args: &PagesArgs, out: &mut dyn RowSink) -> Result<String, ServiceError> {
    let at = args.at.map_or(ReadLsn::LATEST, ReadLsn::at);
    let at = at.checked().map_err(|error| ServiceError::new(SqlState::INVALID_PARAMETER_VALUE, error.to_string()))?;
    let lsn = source.resolve(at)?;
    let relations = Relations::of(&source.timeline, args.relation, lsn)?;
    out.columns(&[
        Column::text("lsn"),
        Column::text("relation"),
        Column::text("fork"),
        Column::int8("block"),
        Column::int8("records"),
    ])?;
    let text = lsn.to_string();
    let mut found = 0;
    for (rel, block) in relations.scattered().take(MOST_LOOKS as usize) {
        if found == args.limit {
            break;
        }
        let records = source.timeline.pending_records(rel, block, lsn).map_err(service_error)?;
        if args.records.is_none_or(|wanted| wanted as usize == records) {
            let relation = rel.to_string();
            let numbers = (Value::Int8(block.into()), Value::Int8(records as i64));
            out.row(&[Value::Text(&text), Value::Text(&relation), Value::Text(rel.fork.name()), numbers.0, numbers.1])?;
            found += 1;
        }
    }
    Ok(format!("PAGES {found}"))
}

/// The main forks of relations, as one row of blocks.
struct Relations {
    /// Each with the number of its first block in the row.
    relations: Vec<(u64, RelTag)>,
    blocks: u64,
}

impl Relations {
    fn of(timeline: &Timeline, only: Option<RelTag>, lsn: Lsn) -> Result<Relations, ServiceError> {
        let mut all = Relations { relations: Vec::new(), blocks: 0 };
        for (object, size) in timeline.objects(lsn).map_err(service_error)? {
            if let Object::Relation(rel) = object
                && rel.fork == Fork::Main
                && only.is_none_or(|only| only.with_fork(Fork::Main) == rel)
            {
                all.relations.push((all.blocks, rel));
                all.blocks += u64::from(size);
            }
        }
        Ok(all)
    }

    /// Every block once, neighbours far apart from each other.
    fn scattered(&self) -> impl Iterator<Item = (RelTag, u32)> + '_ {
        let step = scattering_step(self.blocks);
        (0..self.blocks).map(move |number| {
            let place = (u128::from(number) * u128::from(step) % u128::from(self.blocks)) as u64;
            let (first, rel) = self.relations[self.relations.partition_point(|(first, _)| *first <= place) - 1];
            (rel, (place - first) as u32)
        })
    }
}

/// A step through `count` places that comes to each of them before it comes to one again.
fn scattering_step(count: u64) -> u64 {
    let golden = (count as f64 * 0.618_033_988_75) as u64;
    (golden.max(1)..).find(|step| greatest_common_divisor(*step, count) == 1).unwrap_or(1)
}

fn greatest_common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_comes_once() {
        let rel = |rel| RelTag { rel, ..RelTag::default() };
        let relations = Relations { relations: vec![(0, rel(1)), (3, rel(2)), (3, rel(3)), (10, rel(4))], blocks: 12 };
        let mut all: Vec<_> = relations.scattered().map(|(rel, block)| (rel.rel, block)).collect();
        assert_ne!(all[..3], [(1, 0), (1, 1), (1, 2)]);
        all.sort_unstable();
        let expected = [(1, 0..3), (3, 0..7), (4, 0..2)].map(|(rel, blocks)| blocks.map(move |block| (rel, block)));
        assert_eq!(all, expected.into_iter().flatten().collect::<Vec<_>>());
    }

    #[test]
    fn nothing_has_no_blocks() {
        assert_eq!(Relations { relations: Vec::new(), blocks: 0 }.scattered().count(), 0);
    }
}
