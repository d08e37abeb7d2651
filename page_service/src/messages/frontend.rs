//! Writing the messages that the client here sends. Requests of a page stream write themselves:
//! [`Request::write`](super::Request::write).

use super::frame::{Counts, frame, infallible, put_cstr, with_length};
use super::frontend_message::{PASSWORD, QUERY, TERMINATE};

/// Appends a simple query.
pub fn query(out: &mut Vec<u8>, text: &str) {
    frame(out, QUERY, |out| put_cstr(out, text));
}

/// Appends SASLInitialResponse: the mechanism chosen, and its first message.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    frame(out, PASSWORD, |out| {
        put_cstr(out, mechanism);
        infallible(with_length(out, Counts::BodyOnly, |out| {
            out.extend_from_slice(data);
            Ok(())
        }));
    });
}

/// Appends SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    frame(out, PASSWORD, |out| out.extend_from_slice(data));
}

/// Appends Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    frame(out, TERMINATE, |_| {});
}
