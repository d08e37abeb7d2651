//! Little-endian fields at fixed offsets of a C structure whose length was checked before.

/// Reads fields. An offset past the end is a mistake in this crate, not in the input, and panics.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Fields(bytes)
    }

    pub(crate) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("a slice of N bytes is an array of N bytes")
    }

    pub(crate) fn bool(&self, at: usize) -> bool {
        self.0[at] != 0
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    pub(crate) fn i32(&self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    pub(crate) fn i64(&self, at: usize) -> i64 {
        i64::from_le_bytes(self.array(at))
    }
}

/// Writes fields.
pub(crate) struct FieldsMut<'a>(&'a mut [u8]);

impl<'a> FieldsMut<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        FieldsMut(bytes)
    }

    pub(crate) fn put(&mut self, at: usize, bytes: &[u8]) {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn bool(&mut self, at: usize, value: bool) {
        self.put(at, &[u8::from(value)]);
    }

    pub(crate) fn u32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn i32(&mut self, at: usize, value: i32) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }

    pub(crate) fn i64(&mut self, at: usize, value: i64) {
        self.put(at, &value.to_le_bytes());
    }
}
