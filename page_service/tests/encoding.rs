//! The bytes of every request and answer, against the protocol's table, and that nothing else is understood.

use page_service::messages::{RequestError, RequestKind, write_answer};
use page_service::{Answer, Header, Operation, ReadLsn, Request, Response, Version};
use pgdata::{Fork, Lsn, RelTag, SlruKind, SlruSegment};

const REL: RelTag = RelTag { spc: 0x0102_0304, db: 0x0506_0708, rel: 0x090A_0B0C, fork: Fork::Vm };
const REL_BYTES: &[u8] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 2];
const HEADER: Header = Header {
    reqid: 0xA1A2_A3A4_A5A6_A7A8,
    at: ReadLsn { request: Lsn(0xB1B2_B3B4_B5B6_B7B8), not_modified_since: Lsn(0x1112_1314_1516_1718) },
};
const V3_ID: &[u8] = &[0xA1, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8];
const LSNS: &[u8] = &[0xB1, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6, 0xB7, 0xB8, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18];
const SEGMENT: SlruSegment = SlruSegment { kind: SlruKind::MultiXactOffsets, segno: 0x2122_2324 };

/// Operations with the bytes of their operands.
fn operations() -> Vec<(u8, Operation, Vec<u8>)> {
    vec![
        (0, Operation::Exists(REL), REL_BYTES.to_vec()),
        (1, Operation::Size(REL), REL_BYTES.to_vec()),
        (2, Operation::Page { rel: REL, block: 0x0D0E_0F10 }, [REL_BYTES, &[13, 14, 15, 16]].concat()),
        (3, Operation::DatabaseSize { db: 0x0506_0708 }, vec![5, 6, 7, 8]),
        (4, Operation::SlruSegment(SEGMENT), vec![2, 0x21, 0x22, 0x23, 0x24]),
    ]
}

fn header_bytes(version: Version) -> Vec<u8> {
    match version {
        Version::V2 => LSNS.to_vec(),
        Version::V3 => [V3_ID, LSNS].concat(),
    }
}

/// The header as it comes back from the wire.
fn header(version: Version) -> Header {
    if version == Version::V3 { HEADER } else { Header { reqid: 0, ..HEADER } }
}

/// A CopyData message.
fn copy_data(body: &[u8]) -> Vec<u8> {
    [b"d", &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
}

#[test]
fn requests_have_the_bytes_of_the_table() {
    for version in Version::ALL {
        for (tag, operation, operands) in operations() {
            let body = [&[tag], &header_bytes(version)[..], &operands].concat();
            let mut out = Vec::new();
            Request { header: HEADER, operation }.write(&mut out, version);
            assert_eq!(out, copy_data(&body), "{version:?} {operation:?}");
            let expected = Request { header: header(version), operation };
            assert_eq!(Request::parse(version, &body), Ok(expected));
        }
    }
}

#[test]
fn requests_that_are_cut_short_or_too_long_are_refused() {
    for version in Version::ALL {
        for (tag, _, operands) in operations() {
            let body = [&[tag], &header_bytes(version)[..], &operands, &[0]].concat();
            for length in (0..body.len() - 1).chain([body.len()]) {
                let result = Request::parse(version, &body[..length]);
                assert!(matches!(result, Err(RequestError::Malformed(_))), "{version:?} {tag} {length}: {result:?}");
            }
        }
        for tag in [5, 99, 100, 102, 255] {
            let body = [&[tag], &header_bytes(version)[..], REL_BYTES].concat();
            assert!(matches!(Request::parse(version, &body), Err(RequestError::Malformed(_))), "{tag}");
        }
    }
}

#[test]
fn a_request_for_no_fork_or_slru_can_still_be_answered() {
    for version in Version::ALL {
        let mut operands = REL_BYTES.to_vec();
        operands[12] = 4;
        let body = [&[0], &header_bytes(version)[..], &operands].concat();
        let expected =
            RequestError::NoSuch { header: header(version), kind: RequestKind::Exists, field: "fork", value: 4 };
        assert_eq!(Request::parse(version, &body), Err(expected));

        let body = [&[4], &header_bytes(version)[..], &[4, 0, 0, 0, 1]].concat();
        let expected =
            RequestError::NoSuch { header: header(version), kind: RequestKind::SlruSegment, field: "SLRU", value: 4 };
        assert_eq!(Request::parse(version, &body), Err(expected));
    }
}

#[test]
fn answers_have_the_bytes_of_the_table() {
    let page = std::array::from_fn(|index| index as u8);
    let pages = [page, page].concat();
    let results = [
        (100, Answer::Exists(true), vec![1]),
        (101, Answer::Size(0x3132_3334), vec![0x31, 0x32, 0x33, 0x34]),
        (102, Answer::Page(&page), page.to_vec()),
        (104, Answer::DatabaseSize(0x4142_4344_4546_4748), vec![0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48]),
        (105, Answer::SlruSegment(&pages), [&[0, 0, 0, 2], &pages[..]].concat()),
    ];
    for ((tag, answer, result), (_, operation, operands)) in results.into_iter().zip(operations()) {
        for version in Version::ALL {
            let echo = if version == Version::V3 { [V3_ID, LSNS, &operands].concat() } else { Vec::new() };
            let body = [&[tag], &echo[..], &result].concat();
            let mut out = Vec::new();
            write_answer(&mut out, version, &HEADER, Some(&operation), &answer);
            assert_eq!(out, copy_data(&body), "{version:?} {operation:?}");

            let told = version == Version::V3;
            let expected = Response { header: told.then_some(HEADER), operation: told.then_some(operation), answer };
            assert_eq!(Response::parse(version, &body), Ok(expected));
            for wrong in [&body[..body.len() - 1], &[&body[..], &[0]].concat()] {
                assert!(Response::parse(version, wrong).is_err(), "{version:?} {operation:?} {} bytes", wrong.len());
            }
        }
    }
}

#[test]
fn errors_have_the_bytes_of_the_table() {
    for (version, head) in [(Version::V2, Vec::new()), (Version::V3, [V3_ID, LSNS].concat())] {
        let body = [&[103], &head[..], b"no\0"].concat();
        for operation in [None, Some(&Operation::Exists(REL))] {
            let mut out = Vec::new();
            write_answer(&mut out, version, &HEADER, operation, &Answer::Error("no"));
            assert_eq!(out, copy_data(&body));
        }
        let response = Response::parse(version, &body).expect("understood");
        assert_eq!((response.answer, response.operation), (Answer::Error("no"), None));
    }
}

#[test]
fn error_texts_are_cut_where_a_character_ends() {
    let mut out = Vec::new();
    let text = format!("x{}", "ä".repeat(5000));
    write_answer(&mut out, Version::V2, &HEADER, None, &Answer::Error(&text));
    let response = Response::parse(Version::V2, &out[5..]).expect("understood");
    assert_eq!(response.answer, Answer::Error(&text[..4095]));
}

#[test]
fn impossible_answers_are_refused() {
    for body in [
        &[100, 2][..],
        &[99],
        &[106, 0],
        &[],
        &[104, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[105, 0, 0, 0, 33],
        &[105, 0xFF, 0xFF, 0xFF, 0xFF],
        &[103, 0xFF, 0],
        &[103, b'x'],
    ] {
        assert!(Response::parse(Version::V2, body).is_err(), "{body:?}");
    }
    let mut out = Vec::new();
    write_answer(&mut out, Version::V3, &HEADER, Some(&Operation::Exists(REL)), &Answer::Exists(true));
    let fork = out.len() - 2;
    assert_eq!(out[fork], 2);
    out[fork] = 4;
    assert!(Response::parse(Version::V3, &out[5..]).is_err());
}
