//! Posting lists against a naive model, and records made by hand.

mod codec;
mod leaf;
mod records;

use super::posting::{TID, Tid};

/// A heap tuple's place.
type Place = (u32, u16);

fn place_bytes((block, offset): Place) -> [u8; TID] {
    let words = [(block >> 16) as u16, block as u16, offset];
    words.map(u16::to_le_bytes).as_flattened().try_into().unwrap()
}

fn tid(place: Place) -> Tid {
    Tid::read(&place_bytes(place)).unwrap()
}

/// A compressed list as the format says, with no thought of speed.
fn naive_list(places: &[Place]) -> Vec<u8> {
    let mut differences = Vec::new();
    for pair in places.windows(2) {
        let [from, to] = [pair[0], pair[1]].map(|(block, offset)| u64::from(block) * 2048 + u64::from(offset));
        let mut septets: Vec<u8> = (0..10).map(|index| ((to - from) >> (7 * index)) as u8 & 127).collect();
        while septets.len() > 1 && septets.last() == Some(&0) {
            septets.pop();
        }
        let last = septets.len() - 1;
        differences.extend(septets.iter().enumerate().map(|(index, bits)| bits + if index < last { 128 } else { 0 }));
    }
    let mut list = place_bytes(places[0]).to_vec();
    list.extend((differences.len() as u16).to_le_bytes());
    list.extend(&differences);
    if !list.len().is_multiple_of(2) {
        list.push(0);
    }
    list
}
