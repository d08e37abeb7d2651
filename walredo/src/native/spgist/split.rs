//! A leaf page that is full: `spgRedoPickSplit`.

use super::Origin;
use super::opaque::init;
use super::tuple::{Remains, Tid, add_or_replace, make_dead, set_downlink};
use crate::native::cursor::{Cursor, U16s};
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::scratch::Scratch;
use crate::native::target::Target;

/// The blocks of the record.
const SOURCE: u8 = 0;
const DESTINATION: u8 = 1;
const INNER: u8 = 2;
const PARENT: u8 = 3;

/// `spgxlogPickSplit`.
struct PickSplit<'a> {
    init_source: bool,
    init_destination: bool,
    inner_number: u16,
    init_inner: bool,
    nulls: bool,
    inner_is_parent: bool,
    parent: u16,
    node: u16,
    origin: Origin,
    /// Numbers of the tuples that leave the source.
    gone: U16s<'a>,
    /// Numbers of the tuples that come.
    come: U16s<'a>,
    /// For each of them whether it comes to the destination.
    to_destination: &'a [u8],
    inner: &'a [u8],
    /// The tuples that come.
    leaves: Cursor<'a>,
}

impl<'a> PickSplit<'a> {
    fn of(target: &Target<'_, 'a>) -> Result<PickSplit<'a>, Fault> {
        let mut main = target.main();
        // Whether the root is split shows in the lack of a source.
        main.skip(2)?;
        let (gone, come) = (usize::from(main.u16()?), usize::from(main.u16()?));
        let (init_source, init_destination) = (main.u8()? != 0, main.u8()? != 0);
        let inner_number = main.u16()?;
        let (init_inner, nulls, inner_is_parent) = (main.u8()? != 0, main.u8()? != 0, main.u8()? != 0);
        main.skip(1)?;
        let (parent, node) = (main.u16()?, main.u16()?);
        main.skip(2)?;
        Ok(PickSplit {
            init_source,
            init_destination,
            inner_number,
            init_inner,
            nulls,
            inner_is_parent,
            parent,
            node,
            origin: Origin::read(&mut main)?,
            gone: main.u16s(gone)?,
            come: main.u16s(come)?,
            to_destination: main.bytes(come)?,
            inner: main.inner_tuple()?,
            leaves: main,
        })
    }

    /// Adds those of the leaf tuples that belong to this page.
    fn add_leaves(&self, page: &mut PageView<'_>, destination: bool) -> Result<(), Fault> {
        let mut leaves = self.leaves;
        for (number, to_destination) in self.come.iter().zip(self.to_destination) {
            let leaf = leaves.leaf_tuple()?;
            if (*to_destination != 0) == destination {
                add_or_replace(page, leaf, number)?;
            }
        }
        Ok(())
    }
}

/// Leaf tuples of the source are spread over it and the destination, under a new inner tuple, which the parent leads to from now on.
pub(super) fn pick_split(
    target: &Target<'_, '_>,
    page: &mut PageView<'_>,
    scratch: &mut Scratch,
    id: u8,
) -> Result<(), Fault> {
    let split = PickSplit::of(target)?;
    let inner = Tid { block: target.other_block(INNER)?, number: split.inner_number };
    match id {
        SOURCE => {
            match split.init_source {
                true => init(page, true, split.nulls)?,
                false => make_dead(page, split.gone, Remains::of_chain(inner, split.origin), scratch)?,
            }
            split.add_leaves(page, false)
        }
        DESTINATION => {
            if split.init_destination {
                init(page, true, split.nulls)?;
            }
            split.add_leaves(page, true)
        }
        INNER => {
            if split.init_inner {
                init(page, false, split.nulls)?;
            }
            add_or_replace(page, split.inner, inner.number)?;
            match split.inner_is_parent {
                true => set_downlink(page, split.parent, split.node, inner),
                false => Ok(()),
            }
        }
        PARENT => set_downlink(page, split.parent, split.node, inner),
        _ => target.unknown_block(),
    }
}
