//! The numbers of objects that records named lately: most records are about a few of them.

use pgdata::Object;

const PLACES: usize = 64;

/// A place for each object by a few of its bits; who comes later takes it. An object keeps its number forever, so nothing here is ever wrong.
#[derive(Debug)]
pub(super) struct Recent([Option<(Object, u32)>; PLACES]);

impl Default for Recent {
    fn default() -> Self {
        Recent([None; PLACES])
    }
}

impl Recent {
    fn place(object: Object) -> usize {
        let bits = match object {
            Object::Relation(rel) => rel.rel.wrapping_mul(5).wrapping_add(rel.fork as u32),
            Object::Slru(segment) => segment.segno,
        };
        bits as usize % PLACES
    }

    pub fn get(&self, object: Object) -> Option<u32> {
        self.0[Self::place(object)].filter(|(found, _)| *found == object).map(|(_, number)| number)
    }

    pub fn put(&mut self, object: Object, number: u32) {
        self.0[Self::place(object)] = Some((object, number));
    }
}
