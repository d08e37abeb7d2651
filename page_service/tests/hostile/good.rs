//! A client that does what it should, and is served all the time.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use page_service::{Client, ClientConfig, ClientError, ClientTls, PageStream, Version};
use pgdata::Lsn;

use crate::common::{client_config, made_up_page, rel};
use crate::server::{Access, PASSWORD, ServerProcess, USER};

/// On a thread of its own: in each round it reads pages on an old connection, and makes a new one.
pub struct GoodClient {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    failed: AtomicBool,
    rounds: AtomicU64,
    refused: AtomicU64,
    lock: Mutex<()>,
    progress: Condvar,
}

impl Shared {
    fn tell(&self) {
        drop(self.lock.lock().expect("no panic"));
        self.progress.notify_all();
    }
}

/// Wakes whoever waits, however the thread ends.
struct Alarm(Arc<Shared>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.failed.store(std::thread::panicking(), Ordering::Release);
        self.0.tell();
    }
}

pub fn config(server: &ServerProcess) -> ClientConfig {
    let tls = (server.access == Access::Locked).then(|| ClientTls::required("localhost", server.verify()));
    ClientConfig { user: USER.to_owned(), password: Some(PASSWORD.to_owned().into()), tls, ..client_config() }
}

impl GoodClient {
    pub fn start(server: &ServerProcess) -> GoodClient {
        let shared = Arc::new(Shared::default());
        let (address, config) = (server.address, config(server));
        let alarm = Alarm(Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            let connect = || connect(address, &config, &alarm.0.refused);
            let mut pages = connect().page_stream("t", "main", Version::V3).expect("a page stream");
            while !alarm.0.stop.load(Ordering::Acquire) {
                read(&mut pages);
                assert_eq!(connect().query_all("echo on").expect("an answer").tag, "on");
                alarm.0.rounds.fetch_add(1, Ordering::AcqRel);
                alarm.0.tell();
            }
        });
        GoodClient { shared, thread }
    }

    /// Waits until it has been served so many more times.
    pub fn await_rounds(&self, count: u64) {
        let target = self.shared.rounds.load(Ordering::Acquire) + count;
        let reached =
            |shared: &Shared| shared.rounds.load(Ordering::Acquire) >= target || shared.failed.load(Ordering::Acquire);
        let lock = self.shared.lock.lock().expect("no panic");
        drop(self.shared.progress.wait_while(lock, |()| !reached(&self.shared)).expect("no panic"));
        assert!(!self.shared.failed.load(Ordering::Acquire), "the good client was not served");
    }

    /// How often it had to try again since it was last asked.
    pub fn refused(&self) -> u64 {
        self.shared.refused.swap(0, Ordering::AcqRel)
    }

    pub fn stop(self) {
        self.shared.stop.store(true, Ordering::Release);
        self.thread.join().expect("the good client was served to the end");
    }
}

/// Connects; and again, if there was no place.
fn connect(address: SocketAddr, config: &ClientConfig, refused: &AtomicU64) -> Client {
    loop {
        match Client::connect(address, config) {
            Ok(client) => return client,
            Err(ClientError::Server(error)) => assert_eq!(error.code, "53300", "a good client gets in: {error}"),
            // Closed without a word, or thrown away by a listener whose queue was full.
            Err(ClientError::Closed | ClientError::Socket(_) | ClientError::Connect(_) | ClientError::Handshake(_)) => {
            }
            Err(error) => panic!("a good client gets in: {error:?}"),
        }
        refused.fetch_add(1, Ordering::AcqRel);
        std::thread::yield_now();
    }
}

fn read(pages: &mut PageStream) {
    for block in 0..10 {
        let page = pages.page(rel(1), block, Lsn(8)).expect("a page");
        assert_eq!(*page, made_up_page(rel(1), block, page_service::ReadLsn::at(Lsn(8))));
    }
}
