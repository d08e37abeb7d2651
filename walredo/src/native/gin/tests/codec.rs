//! Packing, unpacking and merging of heap tuples.

use std::collections::BTreeSet;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;

use super::super::posting::{LIST_HEADER, PostingList, Tid, merge, pack};
use super::*;
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;

/// Heap tuples near to each other and far apart, so that differences have one byte to seven.
fn places(most: usize) -> impl Strategy<Value = BTreeSet<Place>> {
    let block = prop_oneof![0_u32..4, 0_u32..300, any::<u32>(), u32::MAX - 3..=u32::MAX];
    btree_set((block, prop_oneof![1_u16..5, 1_u16..2048]), 1..most)
}

fn pack_all(places: &[Place], room: usize) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0xEE; room];
    let size = pack(places.iter().map(|&place| Ok(tid(place))), &mut bytes)?;
    bytes.truncate(size);
    Ok(bytes)
}

fn unpack(bytes: &[u8]) -> Result<Vec<Tid>, Fault> {
    let (list, rest) = PostingList::split_from(bytes).expect("it is whole");
    assert_eq!(rest, []);
    list.tids().collect()
}

proptest! {
    #[test]
    fn what_is_packed_is_the_format_and_unpacks_to_itself(places in places(300)) {
        let places: Vec<Place> = places.into_iter().collect();
        let bytes = pack_all(&places, 8192).unwrap();
        prop_assert_eq!(&bytes, &naive_list(&places));
        let tids: Vec<Tid> = places.iter().copied().map(tid).collect();
        prop_assert_eq!(unpack(&bytes).unwrap(), tids);
    }

    #[test]
    fn exactly_its_room_is_enough_and_a_byte_less_is_not(places in places(40)) {
        let places: Vec<Place> = places.into_iter().collect();
        let bytes = naive_list(&places);
        prop_assert_eq!(pack_all(&places, bytes.len()).unwrap(), bytes.clone());
        let room = bytes.len() - 1;
        prop_assert_eq!(pack_all(&places, room), Err(Fault::PostingRoom { room }));
    }

    #[test]
    fn merging_is_the_union_of_sets(left in places(100), right in places(100), both in places(5)) {
        let left: BTreeSet<Place> = left.union(&both).copied().collect();
        let right: BTreeSet<Place> = right.union(&both).copied().collect();
        let tids = |places: &BTreeSet<Place>| places.iter().map(|&place| Ok(tid(place))).collect::<Vec<_>>();
        let merged: Result<Vec<Tid>, Fault> = merge(tids(&left).into_iter(), tids(&right).into_iter()).collect();
        let union: Vec<Tid> = left.union(&right).map(|&place| tid(place)).collect();
        prop_assert_eq!(merged.unwrap(), union);
    }

    #[test]
    fn any_bytes_are_a_list_that_packs_to_the_same_tuples_or_an_error(bytes in vec(any::<u8>(), 0..80)) {
        let Ok(list) = PostingList::read(&mut Cursor::new("test data", &bytes)) else { return Ok(()) };
        let Ok(tids) = list.tids().collect::<Result<Vec<Tid>, Fault>>() else { return Ok(()) };
        prop_assert!(tids.is_sorted_by(|a, b| a < b));
        let mut room = [0; 200];
        let size = pack(list.tids(), &mut room).unwrap();
        prop_assert_eq!(unpack(&room[..size]).unwrap(), tids);
    }
}

#[test]
fn tuples_that_no_list_can_hold_are_refused() {
    for offset in [0, 2048, 0xFFFF] {
        assert_eq!(Tid::read(&place_bytes((7, offset))), Err(Fault::PostingTuple(offset)));
    }
    assert_eq!(pack_all(&[], 100), Err(Fault::PostingList));
    assert_eq!(pack_all(&[(1, 2), (1, 2)], 100), Err(Fault::PostingOrder));
    assert_eq!(pack_all(&[(1, 2), (1, 1)], 100), Err(Fault::PostingOrder));
}

#[test]
fn differences_that_are_no_numbers_are_refused() {
    let list = |differences: &[u8]| {
        let mut bytes = naive_list(&[(1, 1)]);
        bytes[LIST_HEADER - 2] = differences.len() as u8;
        bytes.extend(differences);
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    };
    assert_eq!(unpack(&list(&[0x81, 0x01])).unwrap(), [tid((1, 1)), tid((1, 130))]);
    let too_long = [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1];
    let too_far = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    for wrong in [&[0][..], &[0x80], &[0x80, 0], &too_long, &too_far] {
        assert_eq!(unpack(&list(wrong)), Err(Fault::PostingList), "{wrong:?}");
    }
}
