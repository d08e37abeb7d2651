//! Page checksums (`storage/checksum_impl.h`): 32 parallel FNV-1a sums with an extra shift, folded to 16 bits.

use crate::page::{PAGE_SIZE, Page, page_is_new};

/// Sums computed side by side, so that the compiler can keep them in vector registers.
const SUMS: usize = 32;
/// Bytes that one round over all sums takes in.
const ROUND: usize = SUMS * 4;
/// Multiplier of the FNV-1a hash.
const FNV_PRIME: u32 = 16_777_619;
/// Offset of `pd_checksum` in the page header.
const PD_CHECKSUM: usize = 8;

/// Where each of the parallel sums begins (`checksumBaseOffsets`). Part of the on-disk format.
#[rustfmt::skip]
const BASE_OFFSETS: [u32; SUMS] = [
    0x5B1F_36E9, 0xB852_5960, 0x02AB_50AA, 0x1DE6_6D2A, 0x79FF_467A, 0x9BB9_F8A3, 0x217E_7CD2, 0x83E1_3D2C,
    0xF8D4_474F, 0xE39E_B970, 0x42C6_AE16, 0x9932_16FA, 0x7B09_3B5D, 0x98DA_FF3C, 0xF718_902A, 0x0B1C_9CDB,
    0xE58F_764B, 0x1876_36BC, 0x5D7B_3BB1, 0xE73D_E7DE, 0x92BE_C979, 0xCCA6_C0B2, 0x304A_0979, 0x85AA_43D4,
    0x7831_25BB, 0x6CA8_EAA2, 0xE407_EAC6, 0x4B5C_FC3E, 0x9FBF_8C76, 0x15CA_20BE, 0xF2CA_9FD3, 0x959B_D756,
];

fn mix(sum: u32, value: u32) -> u32 {
    let mixed = sum ^ value;
    mixed.wrapping_mul(FNV_PRIME) ^ (mixed >> 17)
}

fn absorb(sums: &mut [u32; SUMS], round: &[u8; ROUND]) {
    for (sum, word) in sums.iter_mut().zip(round.as_chunks::<4>().0) {
        *sum = mix(*sum, u32::from_le_bytes(*word));
    }
}

/// The checksum that a page carries in `pd_checksum` when it is block `block` of its fork, counted over all its 1 GiB files.
///
/// The field itself counts as zero, so the page may hold any checksum or none. Never zero.
#[must_use]
pub fn page_checksum(page: &Page, block: u32) -> u16 {
    let mut sums = BASE_OFFSETS;
    let (rounds, _) = page.as_chunks::<ROUND>();
    let mut first = rounds[0];
    first[PD_CHECKSUM..PD_CHECKSUM + 2].fill(0);
    absorb(&mut sums, &first);
    for round in &rounds[1..PAGE_SIZE / ROUND] {
        absorb(&mut sums, round);
    }
    for _ in 0..2 {
        absorb(&mut sums, &[0; ROUND]);
    }
    let folded = sums.iter().fold(0, |all, sum| all ^ sum);
    ((folded ^ block) % 65535) as u16 + 1
}

/// Writes the right checksum into a page that leaves for a cluster with checksums on. A new page (`PageIsNew`) has none.
pub fn set_page_checksum(page: &mut Page, block: u32) {
    if !page_is_new(page) {
        let sum = page_checksum(page, block);
        page[PD_CHECKSUM..PD_CHECKSUM + 2].copy_from_slice(&sum.to_le_bytes());
    }
}

/// A page whose checksum does not fit its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("page checksum mismatch at block {block}: the page carries {found:#06X}, its content makes {computed:#06X}")]
pub struct ChecksumError {
    /// The block number that went into the sum.
    pub block: u32,
    /// `pd_checksum` as it is on the page.
    pub found: u16,
    /// What it should be.
    pub computed: u16,
}

/// Checks a page of a cluster with checksums on, by the rule of `PageIsVerified`: a page that was never initialised carries
/// none and must be zeros throughout.
///
/// # Errors
/// [`ChecksumError`] if the page is damaged or belongs elsewhere.
pub fn verify_page_checksum(page: &Page, block: u32) -> Result<(), ChecksumError> {
    let found = u16::from_le_bytes([page[PD_CHECKSUM], page[PD_CHECKSUM + 1]]);
    let computed = page_checksum(page, block);
    let intact = if page_is_new(page) { page.iter().all(|byte| *byte == 0) } else { found == computed };
    if intact { Ok(()) } else { Err(ChecksumError { block, found, computed }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C code's shape, word by word.
    fn naive(page: &Page, block: u32) -> u16 {
        let mut copy = *page;
        copy[8] = 0;
        copy[9] = 0;
        let mut sums = BASE_OFFSETS;
        for i in 0..PAGE_SIZE / 4 + 2 * SUMS {
            let at = i * 4;
            let word = if at < PAGE_SIZE {
                u32::from_le_bytes([copy[at], copy[at + 1], copy[at + 2], copy[at + 3]])
            } else {
                0
            };
            let mixed = sums[i % SUMS] ^ word;
            sums[i % SUMS] = mixed.wrapping_mul(16_777_619) ^ (mixed >> 17);
        }
        let mut all = block;
        for sum in sums {
            all ^= sum;
        }
        (all % 65535 + 1) as u16
    }

    fn sample(seed: u32) -> Page {
        let mut state = seed;
        std::array::from_fn(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
    }

    #[test]
    fn agrees_with_the_plain_reading_of_the_c_code() {
        for seed in 1..20 {
            let page = sample(seed);
            assert_eq!(page_checksum(&page, seed * 7), naive(&page, seed * 7));
        }
    }

    /// Block 0 of `pg_class` as `initdb --data-checksums` of PostgreSQL 15 wrote it: see `tests/data/README.md`.
    #[test]
    fn accepts_a_page_of_a_real_cluster() {
        let page: &Page = include_bytes!("../tests/data/page15_block3.bin");
        verify_page_checksum(page, 3).unwrap();
        assert!(verify_page_checksum(page, 4).is_err());
    }

    #[test]
    fn a_set_checksum_verifies_and_any_changed_byte_does_not() {
        let mut page = sample(7);
        set_page_checksum(&mut page, 131_072);
        verify_page_checksum(&page, 131_072).unwrap();
        page[5000] ^= 1;
        assert!(verify_page_checksum(&page, 131_072).is_err());
    }

    #[test]
    fn a_zero_page_has_no_checksum() {
        let mut page = [0; PAGE_SIZE];
        set_page_checksum(&mut page, 1);
        assert_eq!(page, [0; PAGE_SIZE]);
        verify_page_checksum(&page, 1).unwrap();
        page[100] = 1;
        assert!(verify_page_checksum(&page, 1).is_err());
    }
}
