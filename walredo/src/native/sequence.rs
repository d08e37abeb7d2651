//! Sequences (`commands/sequence.c`): each record makes the page anew, with one tuple.

use super::fault::Fault;
use super::page::{PageView, Place};
use super::scratch::Scratch;
use super::target::{Outcome, Target};

const LOG: u8 = 0x00;
/// `SEQ_MAGIC`, the whole special space (`sequence_magic`).
const MAGIC: u32 = 0x1717;
/// `xl_seq_rec`: the relation, which the block reference has too; the tuple follows.
const SEQ_REC: usize = 12;

pub(super) fn redo(target: &Target<'_, '_>, page: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    if target.operation() != LOG {
        return target.unknown_operation();
    }
    if target.id() != 0 {
        return target.unknown_block();
    }
    let mut main = target.main();
    main.skip(SEQ_REC)?;
    page.init(MAGIC.to_le_bytes().len());
    *page.special_mut()? = MAGIC.to_le_bytes();
    page.add_item(main.rest(), Place::Insert(1))?;
    Ok(Outcome::Changed)
}
