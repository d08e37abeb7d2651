//! A chain of records, one after the other.

use pgdata::{Fork, Object, Page, RelTag};
use wal_decoder::{PageRecord, Record};

use super::dispatch::{self, Manager};
use super::image;
use super::page::PageView;
use super::scratch::{Scratch, with_scratch};
use super::site::Site;
use super::step::Step;
use super::target::{Outcome, Target};
use super::{slru, vm};
use crate::{Redo, RedoError, RedoRecord, RedoRequest};

/// A record with all its parts.
pub(crate) fn parse<'a>(request: &RedoRequest<'_>, raw: &RedoRecord<'a>) -> Result<Record<'a>, RedoError> {
    Record::parse(request.version, raw.lsn, raw.bytes).map_err(|source| Site::bad_record(request.key, source))
}

/// A record as the requested page, of the relation `rel`, sees it.
#[inline]
pub(crate) fn page_record<'a>(
    request: &RedoRequest<'_>,
    rel: RelTag,
    raw: &RedoRecord<'a>,
) -> Result<PageRecord<'a>, RedoError> {
    PageRecord::parse(request.version, raw.lsn, raw.bytes, rel, request.key.block)
        .map_err(|source| Site::bad_record(request.key, source))
}

/// Makes a page. Those that no resource manager's routine makes are made here, for every engine; `relation` makes the others.
pub(crate) fn make(
    request: &RedoRequest<'_>,
    page: &mut Page,
    relation: impl FnOnce(RelTag, &mut Page) -> Result<(), RedoError>,
) -> Result<(), RedoError> {
    if request.records.is_empty() {
        return if request.has_base { Ok(()) } else { Err(RedoError::Nothing { key: request.key }) };
    }
    match request.key.object {
        Object::Slru(_) => each_record(request, page, slru::apply),
        Object::Relation(rel) if rel.fork == Fork::Vm => each_record(request, page, vm::apply),
        Object::Relation(rel) => relation(rel, page),
    }
}

/// Applies all records in their order. Without a base page, the first record makes the page or starts from zeros.
fn each_record(
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
            let record = page_record(request, rel, raw)?;
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
    #[inline]
    fn apply(&self, record: &PageRecord<'_>, page: &mut Page, scratch: &mut Scratch) -> Result<bool, RedoError> {
        let site = || Site::of(self.request.key, record);
        let Some(block) = &record.block else { return Err(site().not_applicable()) };
        let target = Target { record, block, hint_bits_logged: self.hint_bits_logged };
        match dispatch::manager(record.rmid) {
            Some(manager) => self.apply_to(&target, &manager, page, scratch).map(|()| true),
            None => match block.image.filter(|image| image.apply && image::is_all(record.rmid)) {
                Some(image) => {
                    image::restore(&image, record.lsn, page).map(|()| true).map_err(|source| site().bad_image(source))
                }
                None => Ok(false),
            },
        }
    }

    /// `XLogReadBufferForRedo`, and what the resource manager does with the page.
    #[inline]
    fn apply_to(
        &self,
        target: &Target<'_, '_>,
        manager: &Manager,
        page: &mut Page,
        scratch: &mut Scratch,
    ) -> Result<(), RedoError> {
        let Target { record, block, .. } = *target;
        let site = || Site::of(self.request.key, record);
        let routine = if let Some(image) = block.image.filter(|image| image.apply) {
            image::restore(&image, record.lsn, page).map_err(|source| site().bad_image(source))?;
            match manager.after_image {
                Some(routine) => routine,
                None => return Ok(()),
            }
        } else {
            match (block.will_init, self.has_base) {
                (true, true) => {}
                (true, false) => page.fill(0),
                (false, false) => return Err(site().no_base()),
                (false, true) => {
                    let view = PageView::new(page);
                    // Redo finds no valid page where there are zeros, and passes it over.
                    if view.is_new() || record.lsn <= view.lsn() {
                        return Ok(());
                    }
                }
            }
            manager.redo
        };
        let mut view = PageView::new(page);
        let outcome = routine(target, &mut view, scratch).map_err(|fault| site().fault(&fault))?;
        if outcome == Outcome::Changed {
            view.set_lsn(record.lsn);
        }
        Ok(())
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
            if dispatch::manager(page_record(self.request, self.rel, raw)?.rmid).is_some() {
                break;
            }
            count += 1;
        }
        let (records, after) = rest.split_at(count);
        behind.redo(&RedoRequest { has_base: self.has_base, records, ..*self.request }, page)?;
        Ok(after)
    }
}
