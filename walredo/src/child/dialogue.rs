//! Questions for a redo process, and what becomes of the answers.

use pgdata::{Object, PAGE_SIZE, Page, RelTag};

use super::protocol;
use crate::request::{MaskRequest, RedoRequest};

/// A row of questions, each answered by the same number of bytes, in order.
pub(super) trait Dialogue {
    /// How many questions there are.
    fn questions(&self) -> usize;

    /// How many bytes an answer has.
    fn answer_size(&self) -> usize {
        PAGE_SIZE
    }

    /// Writes the messages of one question.
    fn ask(&self, index: usize, out: &mut Vec<u8>);

    /// Takes the answer to one question.
    fn answered(&mut self, index: usize, answer: &[u8]);
}

/// Is anybody there?
pub(super) struct Ping;

impl Dialogue for Ping {
    fn questions(&self) -> usize {
        1
    }

    fn ask(&self, _index: usize, out: &mut Vec<u8>) {
        protocol::ping(out);
    }

    fn answered(&mut self, _index: usize, _answer: &[u8]) {}
}

/// Pages to be made. A page is replaced only by its whole answer, so that a base page is there for a second try.
pub(super) struct Pages<'a, 'r> {
    pub(super) requests: &'a [RedoRequest<'r>],
    pub(super) pages: &'a mut [Page],
}

/// The relation and block that a request is about, if a redo process can make it.
pub(super) fn relation_block(request: &RedoRequest<'_>) -> Option<(RelTag, u32)> {
    match request.key.object {
        Object::Relation(rel) => Some((rel, request.key.block)),
        Object::Slru(_) => None,
    }
}

impl Dialogue for Pages<'_, '_> {
    fn questions(&self) -> usize {
        self.requests.len()
    }

    fn ask(&self, index: usize, out: &mut Vec<u8>) {
        let request = &self.requests[index];
        let (rel, block) = relation_block(request).expect("only relation pages are put into a dialogue");
        protocol::begin(out, rel, block);
        if request.has_base {
            protocol::push_page(out, rel, block, &self.pages[index]);
        }
        for record in request.records {
            protocol::apply(out, record.lsn, record.bytes);
        }
        protocol::get_page(out, rel, block);
    }

    fn answered(&mut self, index: usize, answer: &[u8]) {
        self.pages[index].copy_from_slice(answer);
    }
}

/// Pages to be masked as a resource manager masks them before it compares.
pub(super) struct Masks<'a, 'p> {
    pub(super) requests: &'a mut [MaskRequest<'p>],
}

impl Dialogue for Masks<'_, '_> {
    fn questions(&self) -> usize {
        self.requests.len()
    }

    fn answer_size(&self) -> usize {
        2 * PAGE_SIZE
    }

    fn ask(&self, index: usize, out: &mut Vec<u8>) {
        let MaskRequest { rmid, block, pages: [first, second] } = &self.requests[index];
        protocol::mask(out, *rmid, *block, [first, second]);
    }

    fn answered(&mut self, index: usize, answer: &[u8]) {
        let (first, second) = answer.split_at(PAGE_SIZE);
        let pages = &mut self.requests[index].pages;
        pages[0].copy_from_slice(first);
        pages[1].copy_from_slice(second);
    }
}
