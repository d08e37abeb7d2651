//! Memory that redo uses again and again, so that applying a record allocates nothing.

use std::cell::RefCell;

use pgdata::{PAGE_SIZE, Page};

use super::page::CompactScratch;

/// Scratch memory for one request at a time. Its content means nothing from one record to the next.
#[derive(Debug)]
pub(crate) struct Scratch {
    /// For closing gaps between items.
    pub compact: CompactScratch,
    /// For a page that is built aside (`PageGetTempPage`).
    pub page: Page,
    /// For lists of any length that a record may need; clear it before use.
    pub bytes: Vec<u8>,
}

impl Scratch {
    fn new() -> Box<Scratch> {
        Box::new(Scratch { compact: CompactScratch::new(), page: [0; PAGE_SIZE], bytes: Vec::new() })
    }
}

thread_local! {
    static SCRATCH: RefCell<Box<Scratch>> = RefCell::new(Scratch::new());
}

/// Runs with this thread's scratch memory, or with fresh memory if it is in use (an engine behind an engine).
pub(crate) fn with_scratch<T>(run: impl FnOnce(&mut Scratch) -> T) -> T {
    SCRATCH.with(|scratch| match scratch.try_borrow_mut() {
        Ok(mut scratch) => run(&mut scratch),
        Err(_) => run(&mut Scratch::new()),
    })
}
