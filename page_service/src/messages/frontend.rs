//! Writing the messages that the client here sends. Requests of a page stream write themselves:
//! [`Request::write`](super::Request::write).

use super::frame::{frame, put_cstr};
use super::frontend_message::{QUERY, TERMINATE};

/// Appends a simple query.
pub fn query(out: &mut Vec<u8>, text: &str) {
    frame(out, QUERY, |out| put_cstr(out, text));
}

/// Appends Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    frame(out, TERMINATE, |_| {});
}
