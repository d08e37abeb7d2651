//! Records of `RM_XLOG_ID` that carry pages (`xlog_redo`). Their images are restored before this is asked.

use super::fault::Fault;
use super::page::PageView;
use super::scratch::Scratch;
use super::target::{Outcome, Target};

const FPI_FOR_HINT: u8 = 0xA0;
const FPI: u8 = 0xB0;

pub(super) fn redo(target: &Target<'_, '_>, _: &mut PageView<'_>, _: &mut Scratch) -> Result<Outcome, Fault> {
    match target.operation() {
        // Written without an image while full_page_writes was off.
        FPI_FOR_HINT => Ok(Outcome::LsnKept),
        FPI => Err(Fault::NoImage),
        _ => target.unknown_operation(),
    }
}
