//! Index tuples (`access/itup.h`): a place in the heap or a downlink, a word that holds the tuple's size, and what the access method puts
//! behind.

use super::cursor::Cursor;
use super::fault::Fault;

/// `sizeof(IndexTupleData)`.
pub(crate) const INDEX_TUPLE_HEADER: usize = 8;
/// Where `t_info` is.
const INFO: usize = 6;
/// `INDEX_SIZE_MASK`.
const SIZE_MASK: u16 = 0x1FFF;

/// `IndexTupleSize` of the tuple that begins with this header.
pub(crate) fn index_tuple_size(header: &[u8; INDEX_TUPLE_HEADER]) -> usize {
    usize::from(u16::from_le_bytes([header[INFO], header[INFO + 1]]) & SIZE_MASK)
}

impl<'a> Cursor<'a> {
    /// An index tuple, as long as it says.
    pub(crate) fn index_tuple(&mut self) -> Result<&'a [u8], Fault> {
        let size = index_tuple_size(&self.ahead()?);
        if size < INDEX_TUPLE_HEADER {
            return Err(Fault::Value { what: "index tuple's size", value: size as u64 });
        }
        self.bytes(size)
    }
}
