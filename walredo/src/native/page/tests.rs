//! Operations on the array of items against a naive model: a list of line pointers with their items.

use pgdata::PAGE_SIZE;
use proptest::prelude::*;

use super::*;
use crate::native::fault::Fault;

/// What the items of a page should be; `None` is an unused line pointer.
type Model = Vec<Option<Vec<u8>>>;

#[derive(Clone, Debug)]
enum Op {
    Insert { at: u16, length: usize },
    Add { length: usize },
    Fill { at: u16, length: usize },
    Delete { at: u16 },
    DeleteKeeping { at: u16 },
    DeleteMany { seed: u64, one_in: u64 },
    Overwrite { at: u16, length: usize },
    SetUnused { at: u16 },
    Repair,
    Truncate,
}

fn op() -> impl Strategy<Value = Op> {
    let (at, length) = (any::<u16>(), 1_usize..300);
    prop_oneof![
        6 => (at, length.clone()).prop_map(|(at, length)| Op::Insert { at, length }),
        6 => length.clone().prop_map(|length| Op::Add { length }),
        2 => (at, length.clone()).prop_map(|(at, length)| Op::Fill { at, length }),
        2 => at.prop_map(|at| Op::Delete { at }),
        2 => at.prop_map(|at| Op::DeleteKeeping { at }),
        1 => (any::<u64>(), 1_u64..5).prop_map(|(seed, one_in)| Op::DeleteMany { seed, one_in }),
        2 => (at, length).prop_map(|(at, length)| Op::Overwrite { at, length }),
        3 => at.prop_map(|at| Op::SetUnused { at }),
        1 => Just(Op::Repair),
        1 => Just(Op::Truncate),
    ]
}

/// A number of an existing item, if there is any.
fn pick(at: u16, model: &Model) -> Option<u16> {
    (!model.is_empty()).then(|| at % model.len() as u16 + 1)
}

fn item(length: usize, mark: u8) -> Vec<u8> {
    (0..length).map(|at| mark ^ at as u8).collect()
}

/// Does it to the page and, if the page took it, to the model.
fn run(op: &Op, mark: u8, page: &mut PageView<'_>, model: &mut Model, scratch: &mut CompactScratch) {
    match *op {
        Op::Insert { at, length } => {
            let number = at % (model.len() as u16 + 1) + 1;
            if page.add_item(&item(length, mark), Place::Insert(number)).is_ok() {
                model.insert(usize::from(number) - 1, Some(item(length, mark)));
            }
        }
        Op::Add { length } => {
            let Ok(number) = page.add_item(&item(length, mark), Place::Insert(page.item_count() + 1)) else { return };
            put(model, number, item(length, mark));
        }
        Op::Fill { at, length } => {
            let number = at % (model.len() as u16 + 1) + 1;
            match page.add_item(&item(length, mark), Place::Free(number)) {
                Ok(_) => put(model, number, item(length, mark)),
                Err(Fault::ItemInUse { .. }) => assert!(model[usize::from(number) - 1].is_some()),
                Err(error) => assert!(matches!(error, Fault::NoRoom { .. }), "{error}"),
            }
        }
        Op::Delete { at } => {
            let Some(number) = pick(at, model) else { return };
            let deleted = page.delete_item(number);
            assert_eq!(deleted.is_ok(), model[usize::from(number) - 1].is_some());
            if deleted.is_ok() {
                model.remove(usize::from(number) - 1);
            }
        }
        Op::DeleteKeeping { at } => {
            let Some(number) = pick(at, model) else { return };
            if page.delete_item_keeping_numbers(number).is_ok() {
                match usize::from(number) == model.len() {
                    true => drop(model.pop()),
                    false => model[usize::from(number) - 1] = None,
                }
            }
        }
        Op::DeleteMany { seed, one_in } => {
            if model.iter().any(Option::is_none) {
                return;
            }
            let wanted = |number: u16| (seed.rotate_left(u32::from(number) % 64) ^ u64::from(number)) % one_in == 0;
            let numbers: Vec<u16> = (1..=model.len() as u16).filter(|number| wanted(*number)).collect();
            page.delete_items(numbers.iter().copied(), scratch).unwrap();
            let mut number = 0;
            model.retain(|_| {
                number += 1;
                !wanted(number)
            });
        }
        Op::Overwrite { at, length } => {
            let Some(number) = pick(at, model) else { return };
            if page.overwrite_item(number, &item(length, mark)).is_ok() {
                put(model, number, item(length, mark));
            }
        }
        Op::SetUnused { at } => {
            let Some(number) = pick(at, model) else { return };
            page.set_item_id(number, ItemId::UNUSED).unwrap();
            model[usize::from(number) - 1] = None;
            // An item without a line pointer is only taken away by compaction, as pruning does.
            page.repair_fragmentation(scratch).unwrap();
            truncate(model, 0);
        }
        Op::Repair => {
            page.repair_fragmentation(scratch).unwrap();
            truncate(model, 0);
        }
        Op::Truncate => {
            page.truncate_line_pointers().unwrap();
            truncate(model, 1);
        }
    }
}

fn put(model: &mut Model, number: u16, item: Vec<u8>) {
    if usize::from(number) > model.len() {
        model.push(None);
    }
    model[usize::from(number) - 1] = Some(item);
}

/// Unused line pointers at the end go, but for the first `keep`.
fn truncate(model: &mut Model, keep: usize) {
    while model.len() > keep && model.last().is_some_and(Option::is_none) {
        model.pop();
    }
}

fn check(page: &PageView<'_>, model: &Model) {
    assert_eq!(usize::from(page.item_count()), model.len());
    for (number, expected) in (1..).zip(model) {
        match expected {
            None => assert!(!page.item_id(number).unwrap().is_used()),
            Some(expected) => assert_eq!(page.item(number).unwrap(), expected),
        }
    }
    // Nothing is lost and nothing overlaps: the items fill the space behind `upper`.
    let bounds = page.bounds().unwrap();
    let used: usize = model.iter().flatten().map(|item| max_align(item.len())).sum();
    assert_eq!(bounds.special - bounds.upper, used);
}

proptest! {
    #[test]
    fn any_history_agrees_with_a_list_of_items(ops in prop::collection::vec(op(), 1..120), special in 0_usize..40) {
        let mut bytes = [0xAA; PAGE_SIZE];
        let mut page = PageView::new(&mut bytes);
        page.init(special);
        page.bytes_mut()[PAGE_SIZE - special..].fill(0x77);
        let (mut model, mut scratch) = (Model::new(), Box::new(CompactScratch::new()));
        for (mark, op) in ops.iter().enumerate() {
            run(op, mark as u8, &mut page, &mut model, &mut scratch);
            check(&page, &model);
        }
        prop_assert!(page.bytes()[PAGE_SIZE - special..].iter().all(|byte| *byte == 0x77));
    }

    #[test]
    fn no_bytes_make_any_operation_panic(
        header in prop::array::uniform12(any::<u8>()),
        lines in prop::collection::vec(any::<[u8; 4]>(), 0..40),
        ops in prop::collection::vec(op(), 1..10),
    ) {
        let mut bytes = [0x5A; PAGE_SIZE];
        bytes[PD_LOWER..HEADER].copy_from_slice(&header);
        for (at, line) in lines.iter().enumerate() {
            bytes[HEADER + 4 * at..][..4].copy_from_slice(line);
        }
        let (mut page, mut scratch) = (PageView::new(&mut bytes), Box::new(CompactScratch::new()));
        for op in ops {
            let count = page.item_count().max(1);
            let _ = match op {
                Op::Insert { at, length } => page.add_item(&item(length, 1), Place::Insert(at)).map(drop),
                Op::Add { length } => page.add_item(&item(length, 1), Place::Insert(page.item_count() + 1)).map(drop),
                Op::Fill { at, length } => page.add_item(&item(length, 1), Place::Free(at)).map(drop),
                Op::Delete { at } => page.delete_item(at % count + 1),
                Op::DeleteKeeping { at } => page.delete_item_keeping_numbers(at % count + 1),
                Op::DeleteMany { seed, .. } => {
                    page.delete_items([seed as u16 % 9, 10, 11, 12].into_iter(), &mut scratch)
                }
                Op::Overwrite { at, length } => page.overwrite_item(at % count + 1, &item(length, 1)),
                Op::SetUnused { at } => page.set_item_id(at, ItemId::UNUSED),
                Op::Repair => page.repair_fragmentation(&mut scratch),
                Op::Truncate => page.truncate_line_pointers(),
            };
        }
    }
}
