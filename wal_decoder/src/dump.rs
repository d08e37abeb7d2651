//! Records as `pg_waldump` prints them.

use std::fmt;

use pgdata::{Fork, Lsn};

use crate::rmgr::{XLR_RMGR_INFO_MASK, rmgr_name};
use crate::{BlockRef, RawRecord, Record};

/// A record in a line of `pg_waldump`'s form, with `info` in the place of the description that only the resource managers' own
/// code could give.
#[derive(Clone, Copy, Debug)]
pub struct DumpLine<'r, 'a> {
    /// The record's position and bytes.
    pub raw: RawRecord<'a>,
    /// Its parts.
    pub record: &'r Record<'a>,
}

impl DumpLine<'_, '_> {
    /// The length of the record without its images: the first of the two lengths that `pg_waldump` prints.
    #[must_use]
    pub fn len_without_images(&self) -> usize {
        let images = self.record.blocks.iter().filter_map(|block| block.image);
        self.raw.bytes.len() - images.map(|image| image.bytes.len()).sum::<usize>()
    }
}

impl fmt::Display for DumpLine<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { xid, prev, info, rmid, blocks, .. } = self.record;
        let (name, len, total) = (rmgr_name(*rmid), self.len_without_images(), self.raw.bytes.len());
        write!(f, "rmgr: {name:<11} len (rec/tot): {len:>6}/{total:>6}, tx: {xid:>10}, ")?;
        write!(f, "lsn: {}, prev {}, ", padded(self.raw.start), padded(*prev))?;
        write!(f, "info: {:#04X}", info & XLR_RMGR_INFO_MASK)?;
        blocks.iter().try_for_each(|block| block_ref(f, block))
    }
}

/// `%X/%08X`: unlike the rest of PostgreSQL, `pg_waldump` pads the second half.
fn padded(lsn: Lsn) -> String {
    format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
}

fn block_ref(f: &mut fmt::Formatter<'_>, block: &BlockRef<'_>) -> fmt::Result {
    write!(f, ", blkref #{}: rel {}", block.id, block.rel.with_fork(Fork::Main))?;
    if block.rel.fork != Fork::Main {
        write!(f, " fork {}", block.rel.fork.name())?;
    }
    write!(f, " blk {}", block.block)?;
    match block.image {
        Some(image) if image.apply => write!(f, " FPW"),
        Some(_) => write!(f, " FPW for WAL verification"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockImage, Compression, rmgr};
    use pgdata::{PgVersion, RelTag};

    #[test]
    fn a_line_has_the_form_of_pg_waldump() {
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork: Fork::Vm };
        let image = BlockImage {
            apply: true,
            hole_offset: 1,
            hole_length: 8188,
            compression: Compression::None,
            bytes: b"1234",
        };
        let block = BlockRef { id: 0, rel, block: 3, will_init: false, image: Some(image), data: &[] };
        let main = BlockRef { id: 1, rel: rel.with_fork(Fork::Main), image: None, ..block };
        let record = Record {
            version: PgVersion::V15,
            lsn: Lsn(0x152_A120),
            xid: 731,
            prev: Lsn(0x152_A080),
            info: 0x42,
            rmid: rmgr::RM_HEAP2_ID,
            origin: None,
            top_xid: None,
            blocks: [block, main].into_iter().collect(),
            main_data: &[],
        };
        let raw = RawRecord { start: Lsn(0x152_A0B8), lsn: record.lsn, bytes: &[0; 100] };
        assert_eq!(
            DumpLine { raw, record: &record }.to_string(),
            "rmgr: Heap2       len (rec/tot):     96/   100, tx:        731, lsn: 0/0152A0B8, prev 0/0152A080, \
             info: 0x40, blkref #0: rel 1663/5/16384 fork vm blk 3 FPW, blkref #1: rel 1663/5/16384 blk 3"
        );
    }
}
