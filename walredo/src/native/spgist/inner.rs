//! Inner tuples that change: `spgRedoAddNode`, `spgRedoSplitTuple`.

use super::Origin;
use super::opaque::init;
use super::tuple::{Tid, add_or_replace, replace, replace_by_redirection, set_downlink};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::Target;

/// `spgxlogAddNode`: the numbers of the old tuple and of the new one; whether the page is new; which block the parent is on; the parent's number
/// and node; the origin; and the tuple with one node more. Block 0 is where it was, block 1 where it goes if it does not fit there any more, block
/// 2 the parent's if that is neither.
pub(super) fn add_node(target: &Target<'_, '_>, page: &mut PageView<'_>, id: u8) -> Result<(), Fault> {
    let mut main = target.main();
    let (old, new) = (main.u16()?, main.u16()?);
    let (new_page, parent_block) = (main.u8()? != 0, main.u8()?);
    let (parent, node) = (main.u16()?, main.u16()?);
    main.skip(2)?;
    let origin = Origin::read(&mut main)?;
    let tuple = main.inner_tuple()?;
    let Some(moved) = target.find_block(1) else {
        return if id == 0 { replace(page, tuple, old) } else { target.unknown_block() };
    };
    let to = Tid { block: moved, number: new };
    match id {
        0 => replace_by_redirection(page, old, to, origin)?,
        1 => {
            if new_page {
                init(page, false, false)?;
            }
            add_or_replace(page, tuple, new)?;
        }
        2 if parent_block == 2 => {}
        _ => return target.unknown_block(),
    }
    if parent_block == id { set_downlink(page, parent, node, to) } else { Ok(()) }
}

/// `spgxlogSplitTuple`: the numbers of the tuple with the prefix and of the one with the rest; whether the latter's page is new, and whether it is
/// the same; and both tuples. Block 0 is where the tuple was and the prefix stays, block 1 where the rest goes.
pub(super) fn split_tuple(target: &Target<'_, '_>, page: &mut PageView<'_>, id: u8) -> Result<(), Fault> {
    let mut main = target.main();
    let (prefix_number, postfix_number) = (main.u16()?, main.u16()?);
    let (new_page, same_page) = (main.u8()? != 0, main.u8()? != 0);
    let (prefix, postfix) = (main.inner_tuple()?, main.inner_tuple()?);
    match id {
        0 => {
            replace(page, prefix, prefix_number)?;
            if same_page { add_or_replace(page, postfix, postfix_number) } else { Ok(()) }
        }
        1 if !same_page => {
            if new_page {
                init(page, false, false)?;
            }
            add_or_replace(page, postfix, postfix_number)
        }
        _ => target.unknown_block(),
    }
}
