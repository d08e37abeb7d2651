//! The files of relations and SLRU segments.

use std::io::Write;
use std::thread;

use pgdata::{Object, PAGE_SIZE};

use crate::archive::Archive;
use crate::plan::{Plan, PlannedFile};
use crate::read_ahead::ReadAhead;
use crate::{Backup, BackupError};

/// Writes all objects that belong into a part's archive, in their order.
pub(crate) fn write<W: Write>(
    backup: &Backup<'_>,
    archive: &mut Archive<W>,
    part: Option<u32>,
    objects: &[(Object, u32)],
) -> Result<(), BackupError> {
    let plan = Plan::new(backup, part, objects)?;
    thread::scope(|scope| {
        let mut pages = ReadAhead::start(scope, backup, &plan);
        plan.files().iter().try_for_each(|file| write_file(backup, archive, part, file, &mut pages))
    })
}

fn write_file<W: Write>(
    backup: &Backup<'_>,
    archive: &mut Archive<W>,
    part: Option<u32>,
    file: &PlannedFile,
    pages: &mut ReadAhead,
) -> Result<(), BackupError> {
    let path = file.path(backup);
    let Some(path) = backup.place_in(part, &path) else { return Ok(()) };
    let mut out = archive.file(path, u64::from(file.blocks) * PAGE_SIZE as u64)?;
    let mut left = file.blocks as usize;
    while left > 0 {
        let taken = pages.take(left)?;
        left -= taken.len();
        out.write(taken.as_flattened())?;
    }
    out.finish()
}
