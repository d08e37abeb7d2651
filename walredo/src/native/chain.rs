//! A chain of records, one after the other.

use pgdata::{Page, RelTag};
use wal_decoder::Record;

use super::dispatch::{self, Manager};
use super::fault::Fault;
use super::image::{self, block_of};
use super::page::PageView;
use super::scratch::{Scratch, with_scratch};
use super::step::{Outcome, Step, Target};
use crate::{Redo, RedoError, RedoRecord, RedoRequest};

pub(crate) fn parse<'a>(request: &RedoRequest<'_>, raw: &RedoRecord<'a>) -> Result<Record<'a>, RedoError> {
    Record::parse(request.version, raw.lsn, raw.bytes)
        .map_err(|source| RedoError::Record { key: request.key, source: Box::new(source) })
}

/// Applies all records in their order. Without a base page, the first record makes the page or starts from zeros.
pub(crate) fn each_record(
    request: &RedoRequest<'_>,
    page: &mut Page,
    apply: fn(&Step<'_, '_>, &mut Page) -> Result<(), RedoError>,
) -> Result<(), RedoError> {
    let mut has_base = request.has_base;
    if !has_base {
        page.fill(0);
    }
    for raw in request.records {
        let record = parse(request, raw)?;
        apply(&Step { key: request.key, record: &record, has_base }, page)?;
        has_base = true;
    }
    Ok(())
}

/// Makes a page of a relation. Runs of records that nothing here can apply go to the engine behind.
pub(super) fn relation(
    rel: RelTag,
    request: &RedoRequest<'_>,
    page: &mut Page,
    hint_bits_logged: bool,
    behind: &impl Redo,
) -> Result<(), RedoError> {
    with_scratch(|scratch| {
        let mut chain = Chain { rel, request, hint_bits_logged, has_base: request.has_base };
        let mut rest = request.records;
        while let [raw, others @ ..] = rest {
            let record = parse(request, raw)?;
            rest = if chain.apply(&record, page, scratch)? { others } else { chain.pass_on(rest, page, behind)? };
            chain.has_base = true;
        }
        Ok(())
    })
}

/// A chain being applied.
struct Chain<'q> {
    rel: RelTag,
    request: &'q RedoRequest<'q>,
    hint_bits_logged: bool,
    has_base: bool,
}

impl<'q> Chain<'q> {
    /// Applies a record, or answers `false` if that is not possible here.
    fn apply(&self, record: &Record<'_>, page: &mut Page, scratch: &mut Scratch) -> Result<bool, RedoError> {
        let step = Step { key: self.request.key, record, has_base: self.has_base };
        let block = block_of(record, self.rel, self.request.key.block).ok_or_else(|| step.not_applicable())?;
        let target = Target { record, block: &block, hint_bits_logged: self.hint_bits_logged };
        match dispatch::manager(record.rmid) {
            Some(manager) => apply_to(&step, &target, &manager, page, scratch).map(|()| true),
            None => match block.image.filter(|image| image.apply && image::is_all(record)) {
                Some(image) => image::restore(step.key, record, &image, page).map(|()| true),
                None => Ok(false),
            },
        }
    }

    /// Has the engine behind apply the records at the beginning of `rest` that cannot be applied here; answers with those after them.
    fn pass_on(
        &self,
        rest: &'q [RedoRecord<'q>],
        page: &mut Page,
        behind: &impl Redo,
    ) -> Result<&'q [RedoRecord<'q>], RedoError> {
        let mut count = 1;
        while let Some(raw) = rest.get(count) {
            if dispatch::manager(parse(self.request, raw)?.rmid).is_some() {
                break;
            }
            count += 1;
        }
        let (records, after) = rest.split_at(count);
        behind.redo(&RedoRequest { has_base: self.has_base, records, ..*self.request }, page)?;
        Ok(after)
    }
}

/// `XLogReadBufferForRedo`, and what the resource manager does with the page.
fn apply_to(
    step: &Step<'_, '_>,
    target: &Target<'_, '_>,
    manager: &Manager,
    page: &mut Page,
    scratch: &mut Scratch,
) -> Result<(), RedoError> {
    let record = step.record;
    let routine = if let Some(image) = target.block.image.filter(|image| image.apply) {
        image::restore(step.key, record, &image, page)?;
        match manager.after_image {
            Some(routine) => routine,
            None => return Ok(()),
        }
    } else {
        match target.block.will_init {
            true if !step.has_base => page.fill(0),
            true => {}
            false => {
                step.need_base()?;
                let view = PageView::new(page);
                // Redo finds no valid page where there are zeros, and passes it over.
                if view.is_new() || step.lsn() <= view.lsn() {
                    return Ok(());
                }
            }
        }
        manager.redo
    };
    let mut view = PageView::new(page);
    let outcome = routine(target, &mut view, scratch).map_err(|fault: Fault| step.fault(fault))?;
    if outcome == Outcome::Changed {
        view.set_lsn(step.lsn());
    }
    Ok(())
}
