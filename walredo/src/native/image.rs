//! Full-page images.

use pgdata::{Page, PageKey, RelTag, page_is_new, set_page_lsn};
use wal_decoder::rmgr::{RM_GIST_ID, RM_HASH_ID, RM_MIN_CUSTOM_ID};
use wal_decoder::{BlockImage, BlockRef, Record};

use super::parse;
use crate::{RedoError, RedoRecord, RedoRequest};

/// Puts the last image of the chain into `page` and answers with the records after it. `None`, with `page` untouched, if the
/// chain has no image, initialises the page after its last one, or if redo does more with a page than restore it.
pub(crate) fn restore_last<'q>(
    rel: RelTag,
    request: &RedoRequest<'q>,
    page: &mut Page,
) -> Result<Option<&'q [RedoRecord<'q>]>, RedoError> {
    for (index, raw) in request.records.iter().enumerate().rev() {
        let record = parse(request, raw)?;
        let Some(block) = block_of(&record, rel, request.key.block) else { continue };
        match block.image {
            Some(image) if image.apply => {
                if !is_all(&record) {
                    return Ok(None);
                }
                restore(request.key, &record, &image, page)?;
                return Ok(Some(&request.records[index + 1..]));
            }
            _ if block.will_init => return Ok(None),
            _ => {}
        }
    }
    Ok(None)
}

/// `XLogReadBufferForRedoExtended` with an image: the page gets the record's LSN, unless it is all zeros.
pub(crate) fn restore(
    key: PageKey,
    record: &Record<'_>,
    image: &BlockImage<'_>,
    page: &mut Page,
) -> Result<(), RedoError> {
    let Record { lsn, rmid, info, .. } = *record;
    image.restore(page).map_err(|source| RedoError::Image { key, lsn, rmid, info, source })?;
    if !page_is_new(page) {
        set_page_lsn(page, lsn);
    }
    Ok(())
}

/// The record's reference to a block.
pub(crate) fn block_of<'a>(record: &Record<'a>, rel: RelTag, block: u32) -> Option<BlockRef<'a>> {
    record.blocks.iter().copied().find(|found| found.rel == rel && found.block == block)
}

/// Whether restoring its image is all that redo of the record does to a page. Redo of GiST and hash indexes goes on to change
/// pages that it has restored (`gistRedoClearFollowRight`, `hash_xlog_split_allocate_page`, `hash_xlog_split_complete`: what
/// they set is not in the image). Of an extension's redo nothing is known.
pub(crate) fn is_all(record: &Record<'_>) -> bool {
    !matches!(record.rmid, RM_GIST_ID | RM_HASH_ID) && record.rmid < RM_MIN_CUSTOM_ID
}
