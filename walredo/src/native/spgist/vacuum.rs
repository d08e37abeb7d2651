//! What vacuum leaves: `spgRedoVacuumLeaf`, `spgRedoVacuumRoot`, `spgRedoVacuumRedirect`.

use pgdata::PgVersion;

use super::Origin;
use super::opaque::{count_placeholders, count_redirections};
use super::tuple::{Remains, State, forget_redirection, make_dead, set_next};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// `spgxlogVacuumLeaf`: how many tuples become dead, how many become placeholders, how many move, how many chains change; the origin; and lists
/// of numbers: dead, placeholders, moved from, moved to, chained from, chained to.
pub(super) fn leaf(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let [dead, placeholders, moves, chains] = [main.u16()?, main.u16()?, main.u16()?, main.u16()?].map(usize::from);
    Origin::read(&mut main)?;
    let (dead, placeholders) = (main.u16s(dead)?, main.u16s(placeholders)?);
    let (from, to) = (main.u16s(moves)?, main.u16s(moves)?);
    let (links, successors) = (main.u16s(chains)?, main.u16s(chains)?);
    make_dead(page, dead, Remains::all(State::Dead), scratch)?;
    make_dead(page, placeholders, Remains::all(State::Placeholder), scratch)?;
    for (from, to) in from.iter().zip(to.iter()) {
        let (moved, replaced) = (page.item_id(from)?, page.item_id(to)?);
        page.set_item_id(from, replaced)?;
        page.set_item_id(to, moved)?;
    }
    make_dead(page, from, Remains::all(State::Placeholder), scratch)?;
    links.iter().zip(successors.iter()).try_for_each(|(number, next)| set_next(page, number, next))
}

/// `spgxlogVacuumRoot`: a count, the origin, and the numbers of tuples that go from a root that is a leaf.
pub(super) fn root(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let count = usize::from(main.u16()?);
    main.skip(2)?;
    Origin::read(&mut main)?;
    page.delete_items(main.u16s(count)?.iter(), &mut scratch.compact)
}

/// `spgxlogVacuumRedirect`: how many redirections become placeholders, the first of the placeholders at the page's end, which go, a transaction
/// id, and the numbers of the redirections; 16 put a byte for logical decoding, and padding, before these.
pub(super) fn redirects(target: &Target<'_, '_>, page: &mut PageView<'_>, scratch: &mut Scratch) -> Result<(), Fault> {
    let mut main = target.main();
    let (count, first_gone) = (main.u16()?, main.u16()?);
    main.skip(4)?;
    if target.version() >= PgVersion::V16 {
        main.skip(2)?;
    }
    main.u16s(usize::from(count))?.iter().try_for_each(|number| forget_redirection(page, number))?;
    count_redirections(page, -i32::from(count))?;
    count_placeholders(page, i32::from(count))?;
    let end = page.item_count() + 1;
    if first_gone == 0 || first_gone >= end {
        return Ok(());
    }
    count_placeholders(page, -i32::from(end - first_gone))?;
    page.delete_items(first_gone..end, &mut scratch.compact)
}
