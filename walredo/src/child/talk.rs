//! Writing to and reading from a redo process at the same time.
//!
//! All three pipes are non-blocking and one `poll` waits for whichever is ready, so neither side can wait for the other for ever:
//! the process may answer, or complain, while it is still being asked. There is no other thread and no runtime.
//!
//! A small request is answered sooner than a sleeping thread wakes up, above all on a virtual processor that the host has to wake. So
//! once all is asked, the answer is looked for a little while before it is waited for with `poll`; the process does the same with the next
//! request (`postgres/protocol.c`). Neither does after a wait that was long: an idle pair sleeps, and so does one that others leave no
//! processor.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::dialogue::Dialogue;
use super::error::FailureKind;

/// Questions are written down ahead up to about this many bytes.
const WRITE_AHEAD: usize = 256 * 1024;
/// Room for answers of one read.
const READ_SIZE: usize = 128 * 1024;
/// Asked of the kernel for each pipe, so that both sides can work for a while without waking each other. It may refuse.
const PIPE_SIZE: usize = 1024 * 1024;
/// How long to look for an answer before waiting for it: longer than a sleeping process takes to wake up, or else two that have both fallen
/// asleep once would go on missing each other.
const LOOK: Duration = Duration::from_micros(150);
/// An answer that comes within this, a sleeper's waking up included, lets the next one be looked for.
const SOON: Duration = Duration::from_micros(200);
/// How much of the process's stderr is kept: the last of it.
const STDERR_KEPT: usize = 8 * 1024;

/// The three pipes of a process.
#[derive(Debug)]
pub(super) struct Talk {
    to: OwnedFd,
    from: OwnedFd,
    /// `None` once the process has closed it.
    errors: Option<OwnedFd>,
    out: Vec<u8>,
    sent: usize,
    answers: Vec<u8>,
    unread: usize,
    stderr: Vec<u8>,
    /// Whether the last answer came soon enough to look for the next one.
    soon: bool,
}

/// A dialogue that broke off.
#[derive(Debug)]
pub(super) struct Interrupted {
    /// How many questions were answered before.
    pub(super) answered: usize,
    pub(super) kind: FailureKind,
}

/// What is ready.
struct Ready {
    answers: bool,
    errors: bool,
}

impl Talk {
    pub(super) fn new(to: OwnedFd, from: OwnedFd, errors: OwnedFd) -> io::Result<Talk> {
        for pipe in [&to, &from, &errors] {
            rustix::io::ioctl_fionbio(pipe, true)?;
        }
        for pipe in [&to, &from] {
            // A smaller pipe is only slower; the kernel limits what one user may have of them.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, PIPE_SIZE);
        }
        Ok(Talk {
            to,
            from,
            errors: Some(errors),
            out: Vec::new(),
            sent: 0,
            answers: vec![0; READ_SIZE],
            unread: 0,
            stderr: Vec::new(),
            soon: true,
        })
    }

    /// Asks all questions and takes all answers. `timeout` is for each answer.
    pub(super) fn talk(&mut self, dialogue: &mut dyn Dialogue, timeout: Duration) -> Result<(), Interrupted> {
        self.out.clear();
        self.sent = 0;
        self.unread = 0;
        let mut answered = 0;
        let result = self.exchange(dialogue, timeout, &mut answered);
        self.out.shrink_to(WRITE_AHEAD);
        result.map_err(|kind| Interrupted { answered, kind })
    }

    fn exchange(
        &mut self,
        dialogue: &mut dyn Dialogue,
        timeout: Duration,
        answered: &mut usize,
    ) -> Result<(), FailureKind> {
        let total = dialogue.questions();
        let mut asked = 0;
        let mut deadline = Instant::now() + timeout;
        while *answered < total {
            if self.sent == self.out.len() {
                self.write_down(dialogue, &mut asked);
            }
            self.send()?;
            let more = self.sent < self.out.len() || asked < total;
            let waiting = Instant::now();
            if !more && self.look(dialogue, answered)? {
                deadline = Instant::now() + timeout;
                continue;
            }
            let ready = self.wait(deadline, more)?.ok_or(FailureKind::TimedOut(timeout))?;
            if ready.errors {
                self.read_errors();
            }
            if ready.answers && self.receive(dialogue, answered)? {
                self.soon = waiting.elapsed() < SOON;
                deadline = Instant::now() + timeout;
            }
        }
        if self.unread > 0 { Err(FailureKind::ExtraAnswer) } else { Ok(()) }
    }

    /// Looks for answers for a little while, if that is likely to be worth it. Whether there was at least one.
    fn look(&mut self, dialogue: &mut dyn Dialogue, answered: &mut usize) -> Result<bool, FailureKind> {
        if !self.soon {
            return Ok(false);
        }
        let begun = Instant::now();
        while begun.elapsed() < LOOK {
            if self.receive(dialogue, answered)? {
                return Ok(true);
            }
            // The kernel likes to wake the process on this very processor, where it cannot work as long as we look.
            std::thread::yield_now();
        }
        Ok(false)
    }

    fn write_down(&mut self, dialogue: &dyn Dialogue, asked: &mut usize) {
        self.out.clear();
        self.sent = 0;
        while *asked < dialogue.questions() && self.out.len() < WRITE_AHEAD {
            dialogue.ask(*asked, &mut self.out);
            *asked += 1;
        }
    }

    /// Writes what the pipe takes now.
    fn send(&mut self) -> Result<(), FailureKind> {
        while self.sent < self.out.len() {
            match rustix::io::write(&self.to, &self.out[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(Errno::PIPE) => return Err(FailureKind::Closed),
                Err(error) => return Err(FailureKind::Io(error.into())),
            }
        }
        Ok(())
    }

    /// Waits until something can be done; `None` after the deadline.
    fn wait(&self, deadline: Instant, to_write: bool) -> Result<Option<Ready>, FailureKind> {
        const READABLE: PollFlags = PollFlags::IN.union(PollFlags::HUP).union(PollFlags::ERR);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let writing = if to_write { PollFlags::OUT } else { PollFlags::empty() };
            // A closed stderr would be "ready" for ever; in its place stdout is asked about twice.
            let errors = self.errors.as_ref().unwrap_or(&self.from);
            let mut pipes = [
                PollFd::new(&self.from, PollFlags::IN),
                PollFd::new(errors, PollFlags::IN),
                PollFd::new(&self.to, writing),
            ];
            match poll(&mut pipes, Some(&timespec(left))) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => {
                    let readable = |index: usize| pipes[index].revents().intersects(READABLE);
                    return Ok(Some(Ready { answers: readable(0), errors: readable(1) && self.errors.is_some() }));
                }
                Err(error) => return Err(FailureKind::Io(error.into())),
            }
        }
    }

    /// Reads what is there and hands out whole answers. Whether there was at least one.
    fn receive(&mut self, dialogue: &mut dyn Dialogue, answered: &mut usize) -> Result<bool, FailureKind> {
        match rustix::io::read(&self.from, &mut self.answers[self.unread..]) {
            Ok(0) => return Err(FailureKind::Closed),
            Ok(count) => self.unread += count,
            Err(Errno::INTR | Errno::AGAIN) => return Ok(false),
            Err(error) => return Err(FailureKind::Io(error.into())),
        }
        let size = dialogue.answer_size();
        let mut taken = 0;
        let before = *answered;
        while *answered < dialogue.questions() && self.unread - taken >= size {
            dialogue.answered(*answered, &self.answers[taken..taken + size]);
            *answered += 1;
            taken += size;
        }
        self.answers.copy_within(taken..self.unread, 0);
        self.unread -= taken;
        Ok(*answered > before)
    }

    /// Reads what the process has printed, as far as it is there.
    pub(super) fn read_errors(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(errors) = &self.errors {
            match rustix::io::read(errors, &mut buffer) {
                Ok(0) => self.errors = None,
                Ok(count) => {
                    self.stderr.extend_from_slice(&buffer[..count]);
                    let excess = self.stderr.len().saturating_sub(STDERR_KEPT);
                    self.stderr.drain(..excess);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => self.errors = None,
            }
        }
    }

    /// Reads what the process prints until it closes its stderr, which it does by ending, or the time is over.
    pub(super) fn read_last_errors(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        self.read_errors();
        while let Some(errors) = &self.errors {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut pipes = [PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN)];
            match poll(&mut pipes, Some(&timespec(left))) {
                Ok(0) => return,
                Ok(_) => self.read_errors(),
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// The last of what the process printed.
    pub(super) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }
}

fn timespec(duration: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(duration.subsec_nanos()),
    }
}
