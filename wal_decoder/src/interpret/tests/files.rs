//! Databases, tablespaces, relation maps.

use pgdata::{Change, DbTag, PgVersion};

use crate::interpret::testing::*;
use crate::rmgr::*;

#[test]
fn a_database_is_copied_from_its_template() {
    let data = Bytes::default().u32s(&[16390, 1663, 1, 16400]).0;
    for version in PgVersion::ALL {
        let changes = changes_of(&record(version, RM_DBASE_ID, 0x00, &data)).unwrap();
        let (from, to) = (DbTag { spc: 16400, db: 1 }, DbTag { spc: 1663, db: 16390 });
        assert_eq!(changes, [Change::CopyDatabase { from, to }]);
    }
}

#[test]
fn a_logged_database_starts_with_its_version() {
    let data = Bytes::default().u32s(&[16390, 16400]).0;
    let changes = changes_of(&record(PgVersion::V17, RM_DBASE_ID, 0x10, &data)).unwrap();
    let name = "pg_tblspc/16400/PG_17_202406281/16390/PG_VERSION".to_owned();
    assert_eq!(changes, [Change::Blob { name, content: b"17\n".to_vec() }]);
}

#[test]
fn a_database_is_dropped_in_all_its_tablespaces() {
    let data = Bytes::default().u32s(&[16390, 2, 1663, 16400]).0;
    let changes = changes_of(&record(PgVersion::V15, RM_DBASE_ID, 0x20, &data)).unwrap();
    assert_eq!(changes, [1663, 16400].map(|spc| Change::DropDatabase(DbTag { spc, db: 16390 })));
    assert!(changes_of(&record(PgVersion::V15, RM_DBASE_ID, 0x20, &data[..12])).is_err());
    let negative = Bytes::default().u32s(&[16390, u32::MAX]).0;
    assert!(changes_of(&record(PgVersion::V15, RM_DBASE_ID, 0x20, &negative)).is_err());
}

#[test]
fn tablespaces_are_files_with_their_path() {
    let data = Bytes::default().u32(16400).raw(b"/srv/fast\0").0;
    let name = "pg_tblspc/16400".to_owned();
    let created = changes_of(&record(PgVersion::V16, RM_TBLSPC_ID, 0x00, &data)).unwrap();
    assert_eq!(created, [Change::Blob { name: name.clone(), content: b"/srv/fast".to_vec() }]);
    let dropped = changes_of(&record(PgVersion::V16, RM_TBLSPC_ID, 0x10, &data[..4])).unwrap();
    assert_eq!(dropped, [Change::RemoveBlob { name }]);
    let endless = Bytes::default().u32(16400).raw(b"/srv/fast").0;
    assert!(changes_of(&record(PgVersion::V16, RM_TBLSPC_ID, 0x00, &endless)).is_err());
}

#[test]
fn relation_maps_are_whole_files() {
    for (version, size) in [(PgVersion::V15, 512), (PgVersion::V16, 524), (PgVersion::V17, 524), (PgVersion::V18, 524)]
    {
        let map = vec![7; size];
        for (ids, name) in [([5, 1663], "base/5/pg_filenode.map"), ([0, 1664], "global/pg_filenode.map")] {
            let data = Bytes::default().u32s(&ids).u32(size as u32).raw(&map).0;
            let changes = changes_of(&record(version, RM_RELMAP_ID, 0, &data)).unwrap();
            assert_eq!(changes, [Change::Blob { name: name.to_owned(), content: map.clone() }]);
        }
        let short = Bytes::default().u32s(&[5, 1663]).u32(size as u32 - 1).raw(&map).0;
        assert!(changes_of(&record(version, RM_RELMAP_ID, 0, &short)).is_err());
    }
}

#[test]
fn unknown_operations_are_refused() {
    for (rmid, info) in [(RM_DBASE_ID, 0x30), (RM_TBLSPC_ID, 0x20), (RM_RELMAP_ID, 0x10)] {
        assert!(changes_of(&record(PgVersion::V18, rmid, info, &[0; 600])).is_err());
    }
}
