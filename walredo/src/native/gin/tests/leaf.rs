//! Leaves of posting trees that are changed segment by segment, against a list of sets.

use std::collections::BTreeSet;

use pgdata::{PAGE_SIZE, Page};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::SPECIAL;
use super::super::data::DATA_START;
use super::super::leaf::recompress;
use super::super::opaque::{COMPRESSED, DATA, LEAF, Opaque, init};
use super::*;
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::PageView;

type Segment = BTreeSet<Place>;

#[derive(Clone, Debug)]
enum Action {
    Delete,
    Insert(Segment),
    Replace(Segment),
    AddItems(Segment),
}

fn segment() -> impl Strategy<Value = Segment> {
    btree_set((0_u32..70_000, 1_u16..2048), 1..60)
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        Just(Action::Delete),
        segment().prop_map(Action::Insert),
        segment().prop_map(Action::Replace),
        segment().prop_map(Action::AddItems),
    ]
}

fn list(segment: &Segment) -> Vec<u8> {
    naive_list(&segment.iter().copied().collect::<Vec<_>>())
}

fn leaf(segments: &[Segment]) -> Page {
    let mut page = [0xDD; PAGE_SIZE];
    let mut view = PageView::new(&mut page);
    init(&mut view, DATA | LEAF | COMPRESSED).unwrap();
    let lists = segments.iter().map(list).collect::<Vec<_>>().concat();
    view.bytes_mut()[DATA_START..DATA_START + lists.len()].copy_from_slice(&lists);
    view.set_lower(DATA_START + lists.len());
    page
}

/// `ginxlogRecompressDataLeaf`.
fn record(actions: &[(u8, Action)]) -> Vec<u8> {
    let mut bytes = (actions.len() as u16).to_le_bytes().to_vec();
    for (segment, action) in actions {
        match action {
            Action::Delete => bytes.extend([*segment, 1]),
            Action::Insert(new) => bytes.extend([&[*segment, 2][..], &list(new)].concat()),
            Action::Replace(new) => bytes.extend([&[*segment, 3][..], &list(new)].concat()),
            Action::AddItems(items) => {
                bytes.extend([*segment, 4]);
                bytes.extend((items.len() as u16).to_le_bytes());
                bytes.extend(items.iter().flat_map(|&place| place_bytes(place)));
            }
        }
    }
    bytes
}

fn run(page: &mut Page, record: &[u8]) -> Result<(), Fault> {
    recompress(&mut PageView::new(page), Cursor::new("test data", record), &mut [0xCC; PAGE_SIZE])
}

/// The segments after the actions, or `None` where a segment is named that is not there or is gone already.
fn model(segments: &[Segment], actions: &[(u8, Action)]) -> Option<Vec<Segment>> {
    let mut slots: Vec<(Vec<Segment>, Option<Segment>)> =
        segments.iter().map(|segment| (Vec::new(), Some(segment.clone()))).collect();
    slots.push((Vec::new(), None));
    let mut last = 0;
    for (number, action) in actions {
        if *number < last {
            return None;
        }
        last = *number;
        let (before, segment) = slots.get_mut(usize::from(*number))?;
        match action {
            // What comes after a segment that is gone belongs before the next one: no record says it so.
            Action::Insert(_) if segment.is_none() && usize::from(*number) < segments.len() => return None,
            Action::Insert(new) => before.push(new.clone()),
            Action::Delete => drop(segment.take()?),
            Action::Replace(new) => {
                segment.take()?;
                before.push(new.clone());
            }
            Action::AddItems(items) => before.push(segment.take()?.union(items).copied().collect()),
        }
    }
    Some(slots.into_iter().flat_map(|(before, segment)| before.into_iter().chain(segment)).collect())
}

proptest! {
    #[test]
    fn actions_do_to_the_page_what_they_do_to_a_list_of_sets(
        segments in vec(segment(), 0..8),
        mut actions in vec((0_u8..9, action()), 1..6),
        in_order in prop::bool::weighted(0.9),
    ) {
        if in_order {
            actions.sort_by_key(|(segment, _)| *segment);
        }
        let mut page = leaf(&segments);
        let made = run(&mut page, &record(&actions));
        match model(&segments, &actions) {
            None => prop_assert!(made.is_err()),
            Some(expected) => {
                prop_assert_eq!(made, Ok(()));
                let expected = leaf(&expected);
                let end = PageView::new(&mut page).lower();
                prop_assert_eq!(&page[..end], &expected[..end]);
                prop_assert_eq!(&page[SPECIAL..], &expected[SPECIAL..]);
            }
        }
    }

    #[test]
    fn a_leaf_from_before_compression_becomes_one_segment(places in btree_set((0_u32..900, 1_u16..300), 0..1200), add in segment()) {
        let mut page = leaf(&[]);
        let array: Vec<u8> = places.iter().flat_map(|&place| place_bytes(place)).collect();
        page[DATA_START..DATA_START + array.len()].copy_from_slice(&array);
        let mut view = PageView::new(&mut page);
        Opaque { right: 5, count: places.len() as u16, flags: DATA | LEAF }.put(&mut view).unwrap();
        let action = if places.is_empty() { Action::Insert(add.clone()) } else { Action::AddItems(add.clone()) };
        run(&mut page, &record(&[(0, action)])).unwrap();
        let view = PageView::new(&mut page);
        prop_assert_eq!(Opaque::of(&view).unwrap(), Opaque { right: 5, count: 0, flags: DATA | LEAF | COMPRESSED });
        let expected = list(&places.union(&add).copied().collect());
        prop_assert_eq!(&view.bytes()[DATA_START..view.lower()], &expected);
    }

    #[test]
    fn any_record_on_any_leaf_is_a_page_or_an_error(
        segments in vec(segment(), 0..6),
        actions in vec((0_u8..7, action()), 1..4),
        page_noise in vec((0..PAGE_SIZE, any::<u8>()), 0..6),
        record_noise in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut page = leaf(&segments);
        for (at, byte) in page_noise {
            page[at] = byte;
        }
        let mut record = record(&actions);
        for (at, byte) in record_noise {
            let at = at.index(record.len());
            record[at] = byte;
        }
        let _ = run(&mut page, &record);
        let _ = run(&mut page, &record[..cut.index(record.len())]);
    }
}

#[test]
fn a_record_that_does_nothing_is_refused() {
    let mut page = leaf(&[BTreeSet::from([(1, 1)])]);
    assert_eq!(run(&mut page, &record(&[])), Err(Fault::Value { what: "number of actions", value: 0 }));
}

#[test]
fn a_leaf_that_would_overflow_is_refused() {
    let segments: Vec<Segment> = (0..27).map(|block| (1..293).map(|offset| (block, offset)).collect()).collect();
    let mut page = leaf(&segments);
    assert_eq!(run(&mut page, &record(&[(3, Action::Insert(BTreeSet::from([(9, 9)])))])), Ok(()));
    let much: Segment = (1..400).map(|offset| (3, offset)).collect();
    let error = run(&mut page, &record(&[(3, Action::Insert(much))]));
    assert!(matches!(error, Err(Fault::NoRoom { .. })), "{error:?}");
}
