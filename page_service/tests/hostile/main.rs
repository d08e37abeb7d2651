//! Clients that mean no good, against a server in a process of its own: it keeps serving others meanwhile, and its memory stays flat.

#[path = "../common/mod.rs"]
mod common;
mod good;
mod members;
mod server;
mod strangers;

use good::GoodClient;
use server::{Access, ServerProcess};

/// What a server may take for 300 strangers at once over what it has after its first few connections: a stack, a small buffer and TLS
/// for each. A single announced length that was believed would be more.
const FOR_STRANGERS: u64 = 32 << 20;
/// The same for members, who may send queries of a mebibyte, 30 of them at once.
const FOR_MEMBERS: u64 = 120 << 20;
/// How much more it may have at its worst in the second round than in the first: nothing, but for what allocators do.
const DRIFT: u64 = 24 << 20;

/// Its name, and what it does until the server has dealt with it.
type Attack = (&'static str, fn(&ServerProcess, &GoodClient));

/// The attacks of one kind, one after another, twice.
fn attack(access: Access, most: u64, attacks: &[Attack]) {
    let server = ServerProcess::start(access);
    let good = GoodClient::start(&server);
    good.await_rounds(3);
    let before = server.memory();
    let mut worst = Vec::new();
    for round in 0..2 {
        // The flood is long, and the second would tell nothing new.
        for (name, attack) in attacks.iter().filter(|(name, _)| round == 0 || *name != strangers::FLOOD) {
            attack(&server, &good);
            good.await_rounds(1);
            assert!(good.refused() == 0 || *name == strangers::FLOOD, "{name}: the good client was refused");
            println!("round {round}, {name}: {:?}", server.memory());
        }
        worst.push(server.memory().worst);
    }
    good.stop();
    assert!(worst[0] < before.worst + most, "memory grew from {before:?} to {} bytes", worst[0]);
    assert!(worst[1] < worst[0] + DRIFT, "memory grows with every round: {worst:?}");
}

#[test]
fn strangers_get_nothing_and_keep_nobody_out() {
    attack(Access::Locked, FOR_STRANGERS, strangers::ALL);
}

#[test]
fn members_harm_nobody_but_themselves() {
    attack(Access::Open, FOR_MEMBERS, members::ALL);
}

#[test]
#[ignore = "the server under test, in a process of its own: the other tests start it"]
fn the_server() {
    server::run_if_asked();
}
