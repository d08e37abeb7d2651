//! Tuples of an SP-GiST index: leaf, inner and dead ones (`access/spgist_private.h`). All have their state in the two lowest bits of
//! their first word.
//!
//! ```text
//! leaf   state 2, size 30 │ next in chain 14, flags 2 │ heap TID 6 │ …
//! inner  state 2, all the same 1, nodes 13, prefix size 16 │ size 16, padding 16 │ prefix │ nodes, each an index tuple
//! dead   state 2, size 30 │ unused 16 │ where to 6 │ transaction 32
//! ```

use super::Origin;
use super::opaque::{count_placeholders, count_redirections};
use crate::native::cursor::{Cursor, U16s};
use crate::native::fault::Fault;
use crate::native::index_tuple::{INDEX_TUPLE_HEADER, index_tuple_size};
use crate::native::page::{MAX_ITEMS, PageView, Place};
use crate::native::scratch::Scratch;

/// `SGDTSIZE`, the size of a dead tuple.
const DEAD_SIZE: usize = 16;
/// `SGITHDRSZ`.
const INNER_HEADER: usize = 8;
/// Where a dead tuple says where to go.
const POINTER: std::ops::Range<usize> = 6..12;
/// `ItemPointerSetInvalid`.
const INVALID_TID: [u8; 6] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0];
/// The bits of `t_info` that hold the next tuple's number.
const NEXT: u16 = 0x3FFF;

/// `tupstate`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    Redirect = 1,
    Dead = 2,
    Placeholder = 3,
}

/// Where a tuple is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tid {
    pub block: u32,
    pub number: u16,
}

impl Tid {
    fn to_bytes(self) -> [u8; 6] {
        let [low, high] = [self.block as u16, (self.block >> 16) as u16].map(u16::to_le_bytes);
        let number = self.number.to_le_bytes();
        [high[0], high[1], low[0], low[1], number[0], number[1]]
    }
}

fn first_word(tuple: &[u8]) -> Result<u32, Fault> {
    let short = Fault::Short { what: "a tuple", needed: 4, left: tuple.len() };
    tuple.first_chunk().map(|bytes| u32::from_le_bytes(*bytes)).ok_or(short)
}

impl<'a> Cursor<'a> {
    /// A leaf tuple, as long as it says.
    pub(super) fn leaf_tuple(&mut self) -> Result<&'a [u8], Fault> {
        let size = u32::from_le_bytes(self.ahead()?) >> 2;
        self.bytes(at_least(size as usize, DEAD_SIZE)?)
    }

    /// An inner tuple, as long as it says.
    pub(super) fn inner_tuple(&mut self) -> Result<&'a [u8], Fault> {
        let [_, _, _, _, low, high] = self.ahead()?;
        self.bytes(at_least(usize::from(u16::from_le_bytes([low, high])), INNER_HEADER)?)
    }
}

fn at_least(size: usize, least: usize) -> Result<usize, Fault> {
    match size >= least {
        true => Ok(size),
        false => Err(Fault::Value { what: "tuple's size", value: size as u64 }),
    }
}

/// `addOrReplaceTuple`: puts a tuple where there is none, or a placeholder.
pub(super) fn add_or_replace(page: &mut PageView<'_>, tuple: &[u8], number: u16) -> Result<(), Fault> {
    if number <= page.item_count() {
        let state = first_word(page.item(number)?)? & 3;
        if state != State::Placeholder as u32 {
            return Err(Fault::PageValue { what: "state of the tuple to be replaced", value: u64::from(state) });
        }
        count_placeholders(page, -1)?;
        page.delete_item(number)?;
    }
    page.add_item(tuple, Place::Insert(number))?;
    Ok(())
}

/// Puts a tuple in another one's place.
pub(super) fn replace(page: &mut PageView<'_>, tuple: &[u8], number: u16) -> Result<(), Fault> {
    page.delete_item(number)?;
    page.add_item(tuple, Place::Insert(number))?;
    Ok(())
}

/// `spgUpdateNodeLink`: a node of the inner tuple leads there now.
pub(super) fn set_downlink(page: &mut PageView<'_>, number: u16, node: u16, to: Tid) -> Result<(), Fault> {
    let tuple = page.item_mut(number)?;
    let word = first_word(tuple)?;
    let (nodes, prefix) = (word >> 3 & 0x1FFF, (word >> 16) as usize);
    if u32::from(node) >= nodes {
        return Err(Fault::Value { what: "node's number", value: u64::from(node) });
    }
    let mut at = INNER_HEADER + prefix;
    let damaged = || Fault::PageValue { what: "node in an inner tuple, its number", value: u64::from(node) };
    for _ in 0..node {
        at += index_tuple_size(header_at(tuple, at).ok_or_else(damaged)?);
    }
    header_at(tuple, at).ok_or_else(damaged)?;
    tuple[at..at + 6].copy_from_slice(&to.to_bytes());
    Ok(())
}

fn header_at(tuple: &[u8], at: usize) -> Option<&[u8; INDEX_TUPLE_HEADER]> {
    tuple.get(at..)?.first_chunk()
}

/// `SGLT_SET_NEXTOFFSET`: the leaf tuple's successor in its chain.
pub(super) fn set_next(page: &mut PageView<'_>, number: u16, next: u16) -> Result<(), Fault> {
    let tuple = page.item_mut(number)?;
    let Some([_, _, _, _, low, high]) = tuple.first_chunk::<6>().copied() else {
        return Err(Fault::PageValue { what: "leaf tuple's size", value: tuple.len() as u64 });
    };
    let info = u16::from_le_bytes([low, high]) & !NEXT | next & NEXT;
    tuple[4..6].copy_from_slice(&info.to_le_bytes());
    Ok(())
}

/// `spgFormDeadTuple`. A redirection leads to `to` and remembers the transaction.
fn dead_tuple(state: State, to: Option<Tid>, xid: u32) -> [u8; DEAD_SIZE] {
    let mut tuple = [0; DEAD_SIZE];
    tuple[..4].copy_from_slice(&(state as u32 | (DEAD_SIZE as u32) << 2).to_le_bytes());
    let (pointer, xid) = match to.filter(|_| state == State::Redirect) {
        Some(to) => (to.to_bytes(), xid),
        None => (INVALID_TID, 0),
    };
    tuple[POINTER].copy_from_slice(&pointer);
    tuple[POINTER.end..].copy_from_slice(&xid.to_le_bytes());
    tuple
}

/// Puts a redirection in a tuple's place, or a placeholder while the index is being built.
pub(super) fn replace_by_redirection(
    page: &mut PageView<'_>,
    number: u16,
    to: Tid,
    origin: Origin,
) -> Result<(), Fault> {
    let state = if origin.build { State::Placeholder } else { State::Redirect };
    replace(page, &dead_tuple(state, Some(to), origin.xid), number)?;
    count(page, state)
}

fn count(page: &mut PageView<'_>, state: State) -> Result<(), Fault> {
    match state {
        State::Redirect => count_redirections(page, 1),
        State::Placeholder => count_placeholders(page, 1),
        State::Dead => Ok(()),
    }
}

/// What becomes of tuples that go.
#[derive(Clone, Copy)]
pub(super) struct Remains {
    /// Of the first in the list.
    pub first: State,
    /// Of the others.
    pub rest: State,
    /// Where a redirection leads.
    pub to: Option<Tid>,
    pub xid: u32,
}

impl Remains {
    pub(super) const fn all(state: State) -> Remains {
        Remains { first: state, rest: state, to: None, xid: 0 }
    }

    /// A redirection for the first, as the head of a chain that went elsewhere; while the index is being built a placeholder.
    pub(super) fn of_chain(to: Tid, origin: Origin) -> Remains {
        let first = if origin.build { State::Placeholder } else { State::Redirect };
        Remains { first, rest: State::Placeholder, to: Some(to), xid: origin.xid }
    }
}

/// `spgPageIndexMultiDelete`: all these tuples become dead ones, so that the others keep their numbers.
pub(super) fn make_dead(
    page: &mut PageView<'_>,
    numbers: U16s<'_>,
    remains: Remains,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let Some(first) = numbers.get(0) else { return Ok(()) };
    let mut sorted = [0; MAX_ITEMS];
    let Some(sorted) = sorted.get_mut(..numbers.len()) else {
        return Err(Fault::NumbersOutOfOrder { wanted: numbers.len(), found: MAX_ITEMS });
    };
    for (slot, number) in sorted.iter_mut().zip(numbers.iter()) {
        *slot = number;
    }
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).position(|pair| pair[0] == pair[1]) {
        return Err(Fault::NumbersOutOfOrder { wanted: numbers.len(), found: twice });
    }
    page.delete_items(sorted.iter().copied(), &mut scratch.compact)?;
    for &number in &*sorted {
        let state = if number == first { remains.first } else { remains.rest };
        page.add_item(&dead_tuple(state, remains.to, remains.xid), Place::Insert(number))?;
        count(page, state)?;
    }
    Ok(())
}

/// A redirection becomes a placeholder.
pub(super) fn forget_redirection(page: &mut PageView<'_>, number: u16) -> Result<(), Fault> {
    let tuple = page.item_mut(number)?;
    let word = first_word(tuple)?;
    if word & 3 != State::Redirect as u32 {
        return Err(Fault::PageValue {
            what: "state of the tuple to become a placeholder",
            value: u64::from(word & 3),
        });
    }
    let Some(pointer) = tuple.get_mut(POINTER) else {
        return Err(Fault::PageValue { what: "redirection's size", value: u64::from(word >> 2) });
    };
    pointer.copy_from_slice(&INVALID_TID);
    tuple[..4].copy_from_slice(&(word & !3 | State::Placeholder as u32).to_le_bytes());
    Ok(())
}
