//! Reading a record's payload with every length checked. Numbers are little-endian, as x86-64 and every other platform in use write them.

use super::fault::Fault;

/// What is left of some bytes of a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// `what` names the bytes in errors.
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { what, rest: bytes }
    }

    /// The next `count` bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(Fault::Short { what: self.what, needed: count, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(bytes)
    }

    /// The next `N` bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(Fault::Short { what: self.what, needed: N, left: self.rest.len() });
        };
        self.rest = rest;
        Ok(*bytes)
    }

    /// The next `N` bytes, which stay.
    pub(crate) fn ahead<const N: usize>(&self) -> Result<[u8; N], Fault> {
        Cursor { ..*self }.array()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn skip(&mut self, count: usize) -> Result<(), Fault> {
        self.bytes(count).map(|_| ())
    }

    /// `count` numbers of 16 bits, as of line pointers.
    pub(crate) fn u16s(&mut self, count: usize) -> Result<U16s<'a>, Fault> {
        Ok(U16s(self.bytes(count * 2)?.as_chunks().0))
    }

    /// All that is left, as numbers of 16 bits.
    pub(crate) fn rest_u16s(&mut self) -> Result<U16s<'a>, Fault> {
        let (numbers, odd) = self.rest.as_chunks();
        if !odd.is_empty() {
            return Err(Fault::Long { what: self.what, left: odd.len() });
        }
        self.rest = &[];
        Ok(U16s(numbers))
    }

    /// All that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// All that is left, without taking it.
    pub(crate) fn peek(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are left.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Nothing may be left.
    pub(crate) fn end(&self) -> Result<(), Fault> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(Fault::Long { what: self.what, left }),
        }
    }
}

/// Numbers of 16 bits inside a record.
#[derive(Clone, Copy, Debug)]
pub(crate) struct U16s<'a>(&'a [[u8; 2]]);

impl<'a> U16s<'a> {
    pub(crate) fn len(self) -> usize {
        self.0.len()
    }

    pub(crate) fn get(self, index: usize) -> Option<u16> {
        self.0.get(index).copied().map(u16::from_le_bytes)
    }

    pub(crate) fn iter(self) -> impl DoubleEndedIterator<Item = u16> + ExactSizeIterator + Clone + 'a {
        self.0.iter().copied().map(u16::from_le_bytes)
    }
}
