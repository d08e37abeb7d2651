//! Leaf tuples that come and move: `spgRedoAddLeaf`, `spgRedoMoveLeafs`.

use super::Origin;
use super::opaque::init;
use super::tuple::{Remains, Tid, add_or_replace, make_dead, replace, set_downlink, set_next};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// `spgxlogAddLeaf`: whether the page is new, and for nulls; the numbers of the tuple, of its chain's head and of the parent; the parent's node;
/// and the tuple. Block 0 is the leaf page, block 1 the parent's.
pub(super) fn add(target: &Target<'_, '_>, page: &mut PageView<'_>, id: u8) -> Result<(), Fault> {
    let mut main = target.main();
    let (new_page, nulls) = (main.u8()? != 0, main.u8()? != 0);
    let (number, head, parent, node) = (main.u16()?, main.u16()?, main.u16()?, main.u16()?);
    match id {
        0 => {
            if new_page {
                init(page, true, nulls)?;
            }
            let tuple = main.leaf_tuple()?;
            if number == head {
                // The head of the chain was dead.
                return replace(page, tuple, number);
            }
            add_or_replace(page, tuple, number)?;
            if head != 0 { set_next(page, head, number) } else { Ok(()) }
        }
        1 => set_downlink(page, parent, node, Tid { block: target.other_block(0)?, number }),
        _ => target.unknown_block(),
    }
}

/// `spgxlogMoveLeafs`: how many tuples move; whether the page is new, whether a dead tuple is replaced, whether these are nulls; the parent's
/// number and node; the origin; numbers of the tuples that go, numbers of those that come, and these. Block 0 is where they were, block 1 where
/// they go, block 2 the parent's.
pub(super) fn move_chain(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
    id: u8,
) -> Result<(), Fault> {
    let mut main = target.main();
    let moved = usize::from(main.u16()?);
    let (new_page, replaces_dead, nulls) = (main.u8()? != 0, main.u8()? != 0, main.u8()? != 0);
    main.skip(1)?;
    let (parent, node) = (main.u16()?, main.u16()?);
    main.skip(2)?;
    let origin = Origin::read(&mut main)?;
    let gone = main.u16s(moved)?;
    // The new tuple moves with them; a dead one stays where it was.
    let come = main.u16s(if replaces_dead { 1 } else { moved + 1 })?;
    let head = Tid { block: target.other_block(1)?, number: come.iter().last().unwrap_or(0) };
    match id {
        0 => make_dead(page, gone, Remains::of_chain(head, origin), scratch),
        1 => {
            if new_page {
                init(page, true, nulls)?;
            }
            come.iter().try_for_each(|number| add_or_replace(page, main.leaf_tuple()?, number))
        }
        2 => set_downlink(page, parent, node, head),
        _ => target.unknown_block(),
    }
}
