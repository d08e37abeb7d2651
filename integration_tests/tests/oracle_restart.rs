//! The pageserver is stopped and killed while the primary works, and the network fails: nothing is lost, and nothing is wrong.

use integration_tests::workload::{self, Workload, start_pgbench};
use integration_tests::{Lab, in_scratch};
use rustix::process::Signal;

#[test]
fn pages_survive_stops_kills_and_broken_connections() {
    in_scratch("restart", |dir| {
        let mut lab = Lab::start(dir, &workload::options())?;
        lab.make_many_images()?;
        let bench = start_pgbench(&lab.primary, 2)?;
        lab.attach()?;
        let mut noted = Vec::new();
        Workload::set_up(&lab.primary)?;
        for round in 0..2 {
            lab.pageserver.kill9()?;
            let mut work = Workload::resume(&lab.primary, round);
            work.round_with(|step| match step {
                1 => lab.pageserver.start(),
                2 => {
                    lab.relay.cut();
                    Ok(())
                }
                3 => {
                    lab.pageserver.sigterm()?;
                    lab.pageserver.start()
                }
                _ => {
                    lab.pageserver.kill9()?;
                    lab.pageserver.start()
                }
            })?;
            noted.extend_from_slice(work.noted());
        }
        bench.end_by(Signal::TERM)?;
        lab.compare(&noted, 4)?;
        lab.ensure_images()
    });
}
