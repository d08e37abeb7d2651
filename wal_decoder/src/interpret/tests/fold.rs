//! Invariants over any records.

use pgdata::{Change, Fork, PgVersion};
use proptest::prelude::*;

use crate::interpret::invariants::{folded, interpreter_state_is_its_changes};
use crate::interpret::testing::*;
use crate::rmgr::*;
use crate::{Interpreter, Record};

/// Resource manager, `xl_info`, transaction, main data, blocks (id, fork, number).
type Parts = (u8, u8, u32, Vec<u8>, Vec<(u8, u8, u32)>);

fn any_version() -> impl Strategy<Value = PgVersion> {
    prop::sample::select(PgVersion::ALL.to_vec())
}

/// Records that are mostly nonsense, with heads that are often right.
fn any_record() -> impl Strategy<Value = Parts> {
    let rmid = prop_oneof![0_u8..22, Just(128)];
    let word = prop_oneof![0_u32..4, 900_u32..1100, any::<u32>()];
    let data = prop::collection::vec(word, 0..30).prop_map(|words| Bytes::default().u32s(&words).0);
    let blocks = prop::collection::vec((0_u8..4, 0_u8..3, 0_u32..70_000), 0..4);
    (rmid, any::<u8>(), prop_oneof![Just(0_u32), 900_u32..1100, any::<u32>()], data, blocks)
}

fn build<'a>(version: PgVersion, parts: &'a Parts) -> Record<'a> {
    let (rmid, info, xid, data, blocks) = parts;
    let mut made = record(version, *rmid, *info, data);
    made.xid = *xid;
    made.blocks = blocks
        .iter()
        .map(|(id, fork, number)| block(*id, REL.with_fork(Fork::from_number(*fork).unwrap_or_default()), *number))
        .collect();
    made
}

proptest! {
    #[test]
    fn the_changes_folded_are_the_state(
        version in any_version(),
        track in any::<bool>(),
        records in prop::collection::vec(any_record(), 1..40),
    ) {
        let mut first = state(version);
        first.control.track_commit_timestamp = track;
        let mut interpreter = Interpreter::new(version, first.clone());
        let mut all = Vec::new();
        for parts in &records {
            let record = build(version, parts);
            let before = all.len();
            match interpreter.changes(&record, &mut all) {
                Ok(()) => prop_assert_eq!(interpreter.state(), &folded(first.clone(), &all)),
                Err(error) => {
                    prop_assert_eq!(all.len(), before);
                    prop_assert!(error.to_string().contains("0/5000"));
                    // An interpreter that failed is not used any more: go on with a fresh one.
                    interpreter = Interpreter::new(version, folded(first.clone(), &all));
                }
            }
        }
    }

    #[test]
    fn the_fuzzed_invariant_holds(input in prop::collection::vec(any::<u8>(), 0..600)) {
        interpreter_state_is_its_changes(&input);
    }

    #[test]
    fn the_state_comes_last_and_once(version in any_version(), parts in any_record()) {
        if let Ok(changes) = changes_of(&build(version, &parts)) {
            let is_state =
                |change: &&Change| matches!(change, Change::Cluster(_) | Change::NextXid(_) | Change::NextMulti { .. });
            let states = changes.iter().filter(is_state).count();
            prop_assert_eq!(changes.iter().rev().take_while(is_state).count(), states);
            let whole = changes.iter().filter(|change| matches!(change, Change::Cluster(_))).count();
            prop_assert!(whole <= 1 && (whole == 0 || states == 1));
        }
    }
}

#[test]
fn every_version_and_manager_survives_every_operation_with_any_length() {
    for version in PgVersion::ALL {
        for rmid in (RM_XLOG_ID..=RM_LOGICALMSG_ID).chain([128, 255]) {
            for info in 0..=255 {
                for length in [0, 1, 7, 8, 11, 64, 300] {
                    let data = vec![0xFF; length];
                    let blocks = [block(0, REL, 5), block(1, REL.with_fork(Fork::Vm), 9)];
                    let _ = changes_of(&with_blocks(record(version, rmid, info, &data), &blocks));
                    let _ = changes_of(&record(version, rmid, info, &vec![0; length]));
                }
            }
        }
    }
}
