//! Freezing tuples: tuple by tuple in 15, by plans that many tuples share since 16.

use super::tuple::Tuple;
use crate::native::cursor::Cursor;
use crate::native::fault::Fault;
use crate::native::page::PageView;
use crate::native::target::Target;

/// `frzflags`.
const FREEZE_XVAC: u8 = 0x02;
const INVALID_XVAC: u8 = 0x04;
/// `FrozenTransactionId`.
const FROZEN: u32 = 2;
/// `sizeof(xlhp_freeze_plan)`, in 16 `xl_heap_freeze_plan`.
const PLAN: usize = 12;

/// How a tuple is frozen.
struct Freeze {
    xmax: u32,
    infomask2: u16,
    infomask: u16,
    flags: u8,
}

impl Freeze {
    /// `heap_execute_freeze_tuple`.
    fn execute(&self, page: &mut PageView<'_>, number: u16) -> Result<(), Fault> {
        let mut tuple = Tuple::at(page, number)?;
        tuple.set_xmax(self.xmax);
        if self.flags & FREEZE_XVAC != 0 {
            tuple.set_xvac(FROZEN);
        }
        if self.flags & INVALID_XVAC != 0 {
            tuple.set_xvac(0);
        }
        tuple.set_infomasks(self.infomask, self.infomask2);
        Ok(())
    }
}

/// 15: `xl_heap_freeze_page` is a transaction id and the number of tuples, the block's data an `xl_heap_freeze_tuple` for each.
pub(super) fn tuples(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let count = main.u16()?;
    let mut data = target.data();
    for _ in 0..count {
        let (xmax, number) = (data.u32()?, data.u16()?);
        let freeze = Freeze { xmax, infomask2: data.u16()?, infomask: data.u16()?, flags: data.u8()? };
        data.skip(1)?;
        freeze.execute(page, number)?;
    }
    Ok(())
}

/// 16: `xl_heap_freeze_page` is a transaction id and the number of plans, the block's data the plans and the tuples' numbers.
pub(super) fn page(target: &Target<'_, '_>, page: &mut PageView<'_>) -> Result<(), Fault> {
    let mut main = target.main();
    main.skip(4)?;
    let count = main.u16()?;
    let mut data = target.data();
    let plans = Plans::read(&mut data, count)?;
    plans.execute(&mut data, page)
}

/// Plans, each for some tuples, whose numbers come after all plans.
pub(super) struct Plans<'a>(&'a [[u8; PLAN]]);

impl<'a> Plans<'a> {
    pub(super) fn none() -> Plans<'a> {
        Plans(&[])
    }

    pub(super) fn read(data: &mut Cursor<'a>, count: u16) -> Result<Plans<'a>, Fault> {
        Ok(Plans(data.bytes(usize::from(count) * PLAN)?.as_chunks().0))
    }

    pub(super) fn execute(&self, numbers: &mut Cursor<'_>, page: &mut PageView<'_>) -> Result<(), Fault> {
        for plan in self.0 {
            let mut plan = Cursor::new("a freeze plan", plan);
            let freeze = Freeze { xmax: plan.u32()?, infomask2: plan.u16()?, infomask: plan.u16()?, flags: plan.u8()? };
            plan.skip(1)?;
            let tuples = plan.u16()?;
            for number in numbers.u16s(usize::from(tuples))?.iter() {
                freeze.execute(page, number)?;
            }
        }
        Ok(())
    }
}
