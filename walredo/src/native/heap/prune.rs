//! Line pointers that pruning and vacuum change: `heap_xlog_prune` and `heap_xlog_vacuum` of 15 and 16,
//! `heap_xlog_prune_freeze` since 17.

use super::freeze;
use crate::native::cursor::U16s;
use crate::native::fault::Fault;
use crate::native::page::{ItemId, PageView};
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// Flags of `xl_heap_prune` since 17: `XLHP_*`. The rest of them concern hot standbys.
const CLEANUP_LOCK: u8 = 1 << 2;
const HAS_FREEZE_PLANS: u8 = 1 << 4;
const HAS_REDIRECTIONS: u8 = 1 << 5;
const HAS_DEAD_ITEMS: u8 = 1 << 6;
const HAS_NOW_UNUSED_ITEMS: u8 = 1 << 7;

/// 15 and 16: the numbers of redirections (pairs) and of dead items are in the main data, behind a transaction id;
/// what is left of the block's data are numbers of unused ones. 16 adds a byte for logical decoding behind.
pub(super) fn prune(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let (redirected, dead) = (usize::from(main.u16()?), usize::from(main.u16()?));
    let mut data = target.data();
    set_redirected(page, data.u16s(redirected * 2)?)?;
    set_all(page, data.u16s(dead)?, ItemId::DEAD)?;
    set_all(page, data.rest_u16s()?, ItemId::UNUSED)?;
    page.repair_fragmentation(&mut scratch.compact)
}

/// 15 and 16: vacuum's second pass. Since 17 it is a [`prune_and_freeze`] without a cleanup lock.
pub(super) fn vacuum(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let count = usize::from(target.main().u16()?);
    set_all(page, target.data().u16s(count)?, ItemId::UNUSED)?;
    page.truncate_line_pointers()
}

/// Since 17: `xl_heap_prune` is a reason and flags, which say what the block's data consist of: freeze plans, redirections, dead and
/// unused items, each behind its count; and last the numbers of the tuples that the plans are for.
pub(super) fn prune_and_freeze(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(1)?;
    let flags = main.u8()?;
    let mut data = target.data();
    let plans = match flags & HAS_FREEZE_PLANS {
        0 => freeze::Plans::none(),
        _ => {
            let count = data.u16()?;
            data.skip(2)?;
            freeze::Plans::read(&mut data, count)?
        }
    };
    let mut numbers_if = |flag, each| match flags & flag {
        0 => data.u16s(0),
        _ => {
            let count = usize::from(data.u16()?);
            data.u16s(count * each)
        }
    };
    let redirected = numbers_if(HAS_REDIRECTIONS, 2)?;
    let dead = numbers_if(HAS_DEAD_ITEMS, 1)?;
    let unused = numbers_if(HAS_NOW_UNUSED_ITEMS, 1)?;
    if redirected.len() + dead.len() + unused.len() > 0 {
        set_redirected(page, redirected)?;
        set_all(page, dead, ItemId::DEAD)?;
        set_all(page, unused, ItemId::UNUSED)?;
        match flags & CLEANUP_LOCK {
            // Without that lock no tuple may be moved.
            0 => page.truncate_line_pointers()?,
            _ => page.repair_fragmentation(&mut scratch.compact)?,
        }
    }
    plans.execute(&mut data, page)?;
    data.end()
}

fn set_redirected(page: &mut PageView<'_>, pairs: U16s<'_>) -> Result<(), Fault> {
    let mut numbers = pairs.iter();
    while let (Some(from), Some(to)) = (numbers.next(), numbers.next()) {
        page.set_item_id(from, ItemId::redirect(to))?;
    }
    Ok(())
}

fn set_all(page: &mut PageView<'_>, numbers: U16s<'_>, id: ItemId) -> Result<(), Fault> {
    numbers.iter().try_for_each(|number| page.set_item_id(number, id))
}
