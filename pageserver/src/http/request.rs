//! The head of a request.

use super::response::{Response, Status};

/// The most bytes of a request's head.
pub const MAX_HEAD: usize = 8 << 10;
/// The most header fields.
const MAX_HEADERS: usize = 64;

/// A GET or HEAD request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whether the answer goes without its body.
    pub head_only: bool,
    /// The path, without what follows a question mark.
    pub path: String,
    /// The `Accept` field; empty if there is none.
    pub accept: String,
}

/// What the first bytes of a connection are.
#[derive(PartialEq, Eq, Debug)]
pub enum Head {
    /// Not everything is there yet.
    Partial,
    Request(Request),
    /// No request that is answered otherwise than with this.
    Refused(Response),
}

impl Request {
    /// Understands the bytes that a client has sent until now.
    pub fn parse(bytes: &[u8]) -> Head {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut fields);
        match request.parse(bytes) {
            Ok(httparse::Status::Complete(_)) => {}
            Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD => return Head::Partial,
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                let text = format!("a request's head may have {MAX_HEAD} bytes and {MAX_HEADERS} fields");
                return Head::Refused(Response::text(Status::HeadTooLarge, &text));
            }
            Err(error) => {
                return Head::Refused(Response::text(Status::BadRequest, &format!("this is no HTTP request: {error}")));
            }
        }
        let head_only = match request.method {
            Some("GET") => false,
            Some("HEAD") => true,
            _ => return Head::Refused(Response::text(Status::MethodNotAllowed, "only GET and HEAD are understood")),
        };
        let path = request.path.unwrap_or_default();
        let accept = request.headers.iter().find(|field| field.name.eq_ignore_ascii_case("accept"));
        Head::Request(Request {
            head_only,
            path: path.split_once('?').map_or(path, |(path, _)| path).to_owned(),
            accept: accept.map(|field| String::from_utf8_lossy(field.value).into_owned()).unwrap_or_default(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(bytes: &[u8]) -> Status {
        match Request::parse(bytes) {
            Head::Refused(response) => response.status,
            other => panic!("{:?} is taken for {other:?}", String::from_utf8_lossy(bytes)),
        }
    }

    #[test]
    fn a_request_is_its_path_and_what_it_accepts() {
        let text = b"GET /metrics?name=x HTTP/1.1\r\nHost: here\r\naccept: text/plain;q=0.5\r\n\r\n";
        let expected = Request { head_only: false, path: "/metrics".to_owned(), accept: "text/plain;q=0.5".to_owned() };
        assert_eq!(Request::parse(text), Head::Request(expected));
        for end in 0..text.len() {
            assert_eq!(Request::parse(&text[..end]), Head::Partial);
        }
        let old = Request { head_only: true, path: "/".to_owned(), accept: String::new() };
        assert_eq!(Request::parse(b"HEAD / HTTP/1.0\r\n\r\n"), Head::Request(old));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        assert_eq!(refused(b"\x16\x03\x01\x02\x00"), Status::BadRequest);
        assert_eq!(refused(b"GET /\r\n\r\n"), Status::BadRequest);
        assert_eq!(refused(b"POST /metrics HTTP/1.1\r\n\r\n"), Status::MethodNotAllowed);
        let long = [b"GET / HTTP/1.1\r\nx: ".as_slice(), &[b'y'; MAX_HEAD]].concat();
        assert_eq!(refused(&long[..MAX_HEAD]), Status::HeadTooLarge);
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(refused(many.as_bytes()), Status::HeadTooLarge);
    }

    proptest! {
        #[test]
        fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Request::parse(&bytes);
            Request::parse(&[b"GET /metrics HTTP/1.1\r\n".as_slice(), &bytes].concat());
        }
    }
}
