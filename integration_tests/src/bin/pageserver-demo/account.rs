//! The account that the demo watches, in SQL and in the bytes of a page.

use anyhow::{Context, Result, bail, ensure};
use pgdata::{Fork, Page, RelTag};
use postgres::Client;

/// Its number: `pgbench` counts from 1, so that nobody else changes it.
pub const NUMBER: i32 = 0;
/// Tablespace oid of `pg_default` (`catalog/pg_tablespace.dat`).
const DEFAULT_TABLESPACE: u32 = 1663;

/// Where line pointers begin in a page, and their size (`PageHeaderData`, `ItemIdData`: `storage/bufpage.h`, `storage/itemid.h`).
const LINE_POINTERS: usize = 24;
const LINE_POINTER: usize = 4;
/// `LP_NORMAL`: the line pointer leads to a row version.
const LP_NORMAL: u32 = 1;
/// Offset of `t_hoff`, the length of the header, in `HeapTupleHeaderData` (`access/htup_details.h`).
const T_HOFF: usize = 22;

/// Where PostgreSQL has put a version of a row: its `ctid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The block of the table.
    pub block: u32,
    /// The line pointer in it, from 1.
    pub item: u16,
}

/// Adds the account to pgbench's.
pub fn open(client: &mut Client) -> Result<()> {
    let sql = format!("INSERT INTO pgbench_accounts (aid, bid, abalance) VALUES ({NUMBER}, 1, 0)");
    client.batch_execute(&sql).context("adding an account")
}

/// Sets its balance, and says where the row is from then on.
pub fn set_balance(client: &mut Client, balance: i32) -> Result<Place> {
    let sql = "UPDATE pgbench_accounts SET abalance = $1 WHERE aid = $2 RETURNING ctid::text";
    let row = client.query_one(sql, &[&balance, &NUMBER]).context("updating the account")?;
    let text: &str = row.get(0);
    parse_ctid(text).with_context(|| format!("PostgreSQL answers with the ctid {text:?}"))
}

/// `(block,item)`
fn parse_ctid(text: &str) -> Option<Place> {
    let (block, item) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    Some(Place { block: block.parse().ok()?, item: item.parse().ok()? })
}

/// The files of pgbench's table of accounts.
pub fn table(client: &mut Client) -> Result<RelTag> {
    let sql = "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()), pg_relation_filenode('pgbench_accounts')";
    let row = client.query_one(sql, &[]).context("looking up the table")?;
    Ok(RelTag { spc: DEFAULT_TABLESPACE, db: row.get(0), rel: row.get(1), fork: Fork::Main })
}

/// Reads the balance out of the bytes of a page, as PostgreSQL lays them out: the line pointer `item` leads to a row version,
/// which begins with a header and goes on with the columns `aid`, `bid`, `abalance`, four bytes each.
pub fn balance_in(page: &Page, item: u16) -> Result<i32> {
    ensure!(item > 0, "items are counted from 1");
    let pointer = word(page, LINE_POINTERS + LINE_POINTER * (usize::from(item) - 1))?;
    let (offset, flags) = ((pointer & 0x7FFF) as usize, (pointer >> 15) & 3);
    ensure!(flags == LP_NORMAL, "line pointer {item} leads to no row (flags {flags})");
    let header = usize::from(*page.get(offset + T_HOFF).context("the row lies outside of the page")?);
    let column = |number: usize| Ok::<_, anyhow::Error>(word(page, offset + header + 4 * number)?.cast_signed());
    let aid = column(0)?;
    if aid != NUMBER {
        bail!("line pointer {item} leads to account {aid}, not to account {NUMBER}");
    }
    column(2)
}

fn word(page: &Page, at: usize) -> Result<u32> {
    let bytes = page.get(at..at + 4).with_context(|| format!("offset {at} lies outside of the page"))?;
    Ok(u32::from_le_bytes(bytes.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ctid_is_a_block_and_an_item() {
        assert_eq!(parse_ctid("(3279,62)"), Some(Place { block: 3279, item: 62 }));
        assert_eq!(parse_ctid("3279,62"), None);
    }

    #[test]
    fn a_balance_is_read_from_the_bytes() {
        let mut page = [0; pgdata::PAGE_SIZE];
        // The second line pointer: offset 8000, LP_NORMAL, length 40.
        page[28..32].copy_from_slice(&(8000u32 | LP_NORMAL << 15 | 40 << 17).to_le_bytes());
        page[8000 + T_HOFF] = 24;
        page[8024 + 8..8024 + 12].copy_from_slice(&(-5i32).to_le_bytes());
        assert_eq!(balance_in(&page, 2).ok(), Some(-5));
        assert!(balance_in(&page, 1).is_err(), "an unused line pointer");
        assert!(balance_in(&page, 0).is_err());
        assert!(balance_in(&page, u16::MAX).is_err(), "outside of the page");
        page[8024] = 1;
        assert!(balance_in(&page, 2).is_err(), "another account");
    }
}
