//! SP-GiST indexes (`access/spgist/spgxlog.c`). Records are the same in 15 to 18, but for what standbys need to know of conflicts.

mod inner;
mod leaf;
mod opaque;
mod split;
mod tuple;
mod vacuum;

use super::cursor::Cursor;
use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};

const ADD_LEAF: u8 = 0x10;
const MOVE_LEAFS: u8 = 0x20;
const ADD_NODE: u8 = 0x30;
const SPLIT_TUPLE: u8 = 0x40;
const PICKSPLIT: u8 = 0x50;
const VACUUM_LEAF: u8 = 0x60;
const VACUUM_ROOT: u8 = 0x70;
const VACUUM_REDIRECT: u8 = 0x80;

/// `spg_redo`.
pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<Outcome, Fault> {
    match (target.operation(), target.id()) {
        (ADD_LEAF, id) => leaf::add(target, page, id),
        (MOVE_LEAFS, id) => leaf::move_chain(target, page, scratch, id),
        (ADD_NODE, id) => inner::add_node(target, page, id),
        (SPLIT_TUPLE, id) => inner::split_tuple(target, page, id),
        (PICKSPLIT, id) => split::pick_split(target, page, scratch, id),
        (VACUUM_LEAF, 0) => vacuum::leaf(target, page, scratch),
        (VACUUM_ROOT, 0) => vacuum::root(target, page, scratch),
        (VACUUM_REDIRECT, 0) => vacuum::redirects(target, page, scratch),
        (VACUUM_LEAF | VACUUM_ROOT | VACUUM_REDIRECT, _) => target.unknown_block(),
        _ => target.unknown_operation(),
    }?;
    Ok(Outcome::Changed)
}

/// `spgxlogState`: whose redirections these are, and whether the index is being built, which needs none.
#[derive(Clone, Copy)]
struct Origin {
    xid: u32,
    build: bool,
}

impl Origin {
    fn read(main: &mut Cursor<'_>) -> Result<Origin, Fault> {
        let (xid, build) = (main.u32()?, main.u8()? != 0);
        main.skip(3)?;
        Ok(Origin { xid, build })
    }
}
