//! Full-page images.

use pgdata::{Lsn, Page, RelTag, page_is_new, set_page_lsn};
use wal_decoder::rmgr::{RM_GIST_ID, RM_HASH_ID, RM_MIN_CUSTOM_ID};
use wal_decoder::{BlockImage, ImageError};

use super::chain::page_record;
use super::site::Site;
use crate::{RedoError, RedoRecord, RedoRequest};

/// Puts the last image of the chain into `page` and answers with the records after it. `None`, with `page` untouched, if the
/// chain has no image, initialises the page after its last one, or if redo does more with a page than restore it.
pub(crate) fn restore_last<'q>(
    rel: RelTag,
    request: &RedoRequest<'q>,
    page: &mut Page,
) -> Result<Option<&'q [RedoRecord<'q>]>, RedoError> {
    for (index, raw) in request.records.iter().enumerate().rev() {
        let record = page_record(request, rel, raw)?;
        let Some(block) = record.block else { continue };
        match block.image {
            Some(image) if image.apply => {
                if !is_all(record.rmid) {
                    return Ok(None);
                }
                restore(&image, record.lsn, page).map_err(|source| Site::of(request.key, &record).bad_image(source))?;
                return Ok(Some(&request.records[index + 1..]));
            }
            _ if block.will_init => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

/// `XLogReadBufferForRedoExtended` with an image: the page gets the record's LSN, unless it is all zeros.
pub(crate) fn restore(image: &BlockImage<'_>, lsn: Lsn, page: &mut Page) -> Result<(), ImageError> {
    image.restore(page)?;
    if !page_is_new(page) {
        set_page_lsn(page, lsn);
    }
    Ok(())
}

/// Whether restoring an image is all that redo of the resource manager's records does to a page. Redo of GiST and hash indexes goes on to change
/// pages that it has restored (`gistRedoClearFollowRight`, `hash_xlog_split_allocate_page`, `hash_xlog_split_complete`: what
/// they set is not in the image). Of an extension's redo nothing is known.
pub(crate) fn is_all(rmid: u8) -> bool {
    !matches!(rmid, RM_GIST_ID | RM_HASH_ID) && rmid < RM_MIN_CUSTOM_ID
}
