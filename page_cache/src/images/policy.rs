//! When an image of a page is worth its place.

/// Fewer records are applied about as fast as an image is read.
const FEW: usize = 16;
/// With so many, the WAL that they take is several times an image's bytes, whatever they are.
const MANY: usize = 1024;

/// From how many pending records on an image of a page should be kept, where images may take `percent` of the WAL's bytes; `None` if there should
/// be none.
///
/// The more of this is taken, the more records it has to be, so that images go to the pages that need them most, and the disk that they take
/// grows with the WAL and no faster.
pub(crate) fn pending_limit(image_bytes: u64, wal_bytes: u64, percent: u32) -> Option<usize> {
    if percent == 0 {
        return None;
    }
    let allowed = u128::from(wal_bytes) * u128::from(percent);
    let taken = u128::from(image_bytes) * 100;
    // In eighths of what is allowed.
    let eighths = if taken >= allowed { 8 } else { taken * 8 / allowed };
    Some(match eighths {
        0..4 => FEW,
        4..6 => FEW * 2,
        6 => FEW * 4,
        7 => FEW * 8,
        _ => MANY,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuller_it_is_the_more_has_to_be_gained() {
        let limits: Vec<_> = (0..=9).map(|eighth| pending_limit(eighth * 100, 800, 100).unwrap()).collect();
        assert_eq!(limits, [16, 16, 16, 16, 32, 32, 64, 128, 1024, 1024]);
        assert_eq!(pending_limit(400, 800, 50), Some(1024));
        assert_eq!(pending_limit(400, 800, 200), Some(16));
    }

    #[test]
    fn nothing_is_kept_if_nothing_may_be() {
        assert_eq!(pending_limit(0, u64::MAX, 0), None);
        assert_eq!(pending_limit(0, 0, 100), Some(MANY));
        assert_eq!(pending_limit(u64::MAX, u64::MAX, u32::MAX), Some(FEW));
    }

    /// However the WAL is made, images stay within what is allowed, but for the few pages that have very many records.
    #[test]
    fn the_disk_taken_follows_the_wal() {
        const RECORD: u64 = 50;
        let (mut wal, mut images, mut pending) = (0, 0, vec![0_usize; 1000]);
        for turn in 0..2_000_000_u64 {
            let page = (turn * 7919 % 1000) as usize;
            wal += RECORD;
            pending[page] += 1;
            if pending[page] >= pending_limit(images, wal, 100).unwrap() {
                pending[page] = 0;
                images += 8224;
            }
        }
        assert!(images <= wal + 8224 && images > wal / 2, "{images} for {wal}");
    }
}
