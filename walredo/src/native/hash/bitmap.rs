//! Bitmaps: a bit for each overflow page, set if it is in use.

use super::opaque::{BITMAP, Opaque, SPECIAL, init_alone};
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::{HEADER, PageView};

/// `hash_xlog_init_bitmap_page` for the bitmap. `xl_hash_init_bitmap_page` is its size.
pub(super) fn init(page: &mut PageView<'_>, mut main: Cursor<'_>) -> Result<(), Fault> {
    let size = main.u16()?;
    main.end()?;
    init_with(page, size)
}

/// `_hash_initbitmapbuffer`: all pages are in use until it is said that they are there.
pub(super) fn init_with(page: &mut PageView<'_>, size: u16) -> Result<(), Fault> {
    init_alone(page, BITMAP)?;
    let bits = page.bytes_mut()[HEADER..SPECIAL].get_mut(..usize::from(size));
    bits.ok_or(Fault::Value { what: "size of a bitmap", value: size.into() })?.fill(0xFF);
    page.set_lower(HEADER + usize::from(size));
    Ok(())
}

/// Sets or clears the bit whose number is the block's data.
pub(super) fn set(page: &mut PageView<'_>, mut data: Cursor<'_>, in_use: bool) -> Result<(), Fault> {
    let number = data.u32()?;
    data.end()?;
    Opaque::of(page, BITMAP)?;
    let byte = page.bytes_mut()[HEADER..SPECIAL].get_mut(number as usize / 8);
    let byte = byte.ok_or(Fault::Value { what: "bit of a bitmap", value: number.into() })?;
    let bit = 1 << (number % 8);
    *byte = if in_use { *byte | bit } else { *byte & !bit };
    Ok(())
}
