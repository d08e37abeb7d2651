//! What must hold for any records at all.

use pgdata::{Change, ClusterState, ControlFile, Fork, Lsn, PgVersion, RelTag};

use super::Interpreter;
use crate::{BlockRef, Record};

/// What a reader of the changes has as the state: the last whole one, and what came after it.
pub(crate) fn folded(mut state: ClusterState, changes: &[Change]) -> ClusterState {
    for change in changes {
        state = match change {
            Change::Cluster(whole) => (**whole).clone(),
            Change::NextXid(next) => state.with_next_xid(*next),
            Change::NextMulti { multi, offset } => state.with_next_multi(*multi, *offset),
            _ => state,
        };
    }
    state
}

/// An interpreter given any records refuses them without leaving changes, or its state is what its changes make when they are
/// folded into its first state.
///
/// # Panics
/// If that does not hold.
pub fn interpreter_state_is_its_changes(input: &[u8]) {
    let mut rest = input;
    let version = PgVersion::ALL[usize::from(byte(&mut rest) % 4)];
    let mut first = ClusterState::new(ControlFile::initial(version, 7)).with_next_xid(1000);
    first.control.track_commit_timestamp = byte(&mut rest) % 2 == 1;
    let mut interpreter = Interpreter::new(version, first.clone());
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let record = record(version, &mut rest);
        let before = changes.len();
        if interpreter.changes(&record, &mut changes).is_err() {
            assert_eq!(changes.len(), before);
            return;
        }
        first = folded(first, &changes);
        changes.clear();
        assert_eq!(interpreter.state(), &first);
    }
}

fn byte(rest: &mut &[u8]) -> u8 {
    bytes(rest, 1).first().copied().unwrap_or(0)
}

fn bytes<'a>(rest: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(count.min(rest.len()));
    *rest = left;
    taken
}

fn number(rest: &mut &[u8]) -> u32 {
    let mut word = [0; 4];
    let taken = bytes(rest, 4);
    word[..taken.len()].copy_from_slice(taken);
    u32::from_le_bytes(word)
}

fn record<'a>(version: PgVersion, rest: &mut &'a [u8]) -> Record<'a> {
    let (rmid, info, xid) = (byte(rest) % 24, byte(rest), number(rest));
    let blocks = byte(rest) % 4;
    let blocks = (0..blocks).map(|id| {
        let fork = Fork::from_number(byte(rest) % 4).unwrap_or_default();
        let rel = RelTag { spc: 1663, db: 5, rel: 16384, fork };
        BlockRef { id, rel, block: number(rest), will_init: false, image: None, data: &[] }
    });
    let blocks = blocks.collect();
    let length = usize::from(byte(rest));
    let main_data = bytes(rest, length);
    let (lsn, prev) = (Lsn(0x5000), Lsn(0x4000));
    Record { version, lsn, xid, prev, info, rmid, origin: None, top_xid: None, blocks, main_data }
}
