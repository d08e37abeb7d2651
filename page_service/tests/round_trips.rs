//! Whatever is written is read back, and whatever is read was bytes that could have been written.

use page_service::messages::{
    BackendMessage, FrontendMessage, Startup, backend, frontend, write_answer, write_startup,
};
use page_service::{Answer, Header, Operation, ReadLsn, Request, Response, Value, Version};
use pgdata::{Fork, Lsn, RelTag, SlruKind, SlruSegment};
use proptest::prelude::*;
use proptest::sample::select;

fn rel() -> impl Strategy<Value = RelTag> {
    (any::<[u32; 3]>(), select(&Fork::ALL[..])).prop_map(|([spc, db, rel], fork)| RelTag { spc, db, rel, fork })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        rel().prop_map(Operation::Exists),
        rel().prop_map(Operation::Size),
        (rel(), any::<u32>()).prop_map(|(rel, block)| Operation::Page { rel, block }),
        any::<u32>().prop_map(|db| Operation::DatabaseSize { db }),
        (select(&SlruKind::ALL[..]), any::<u32>())
            .prop_map(|(kind, segno)| Operation::SlruSegment(SlruSegment { kind, segno })),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    (any::<[u64; 3]>(), operation()).prop_map(|([reqid, request, since], operation)| {
        let at = ReadLsn { request: Lsn(request), not_modified_since: Lsn(since) };
        Request { header: Header { reqid, at }, operation }
    })
}

fn version() -> impl Strategy<Value = Version> {
    select(&Version::ALL[..])
}

/// The content of the one CopyData message in these bytes.
fn content(bytes: &[u8]) -> &[u8] {
    match FrontendMessage::parse(bytes) {
        Ok(Some((FrontendMessage::CopyData(body), size))) if size == bytes.len() => body,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn requests(version in version(), mut request in request()) {
        let mut bytes = Vec::new();
        request.write(&mut bytes, version);
        if version == Version::V2 {
            request.header.reqid = 0;
        }
        prop_assert_eq!(Request::parse(version, content(&bytes)), Ok(request));
    }

    #[test]
    fn answers(version in version(), request in request(), seed: u64, text in "[^\0]{0,200}") {
        let page = [seed as u8; 8192];
        let pages = vec![seed as u8; 8192 * (seed % 33) as usize];
        let answer = match request.operation {
            _ if seed.is_multiple_of(5) => Answer::Error(&text),
            Operation::Exists(_) => Answer::Exists(seed.is_multiple_of(2)),
            Operation::Size(_) => Answer::Size(seed as u32),
            Operation::Page { .. } => Answer::Page(&page),
            Operation::DatabaseSize { .. } => Answer::DatabaseSize(seed >> 1),
            Operation::SlruSegment(_) => Answer::SlruSegment(&pages),
        };
        let mut bytes = Vec::new();
        write_answer(&mut bytes, version, &request.header, Some(&request.operation), &answer);
        let Ok(Some((BackendMessage::CopyData(body), _))) = BackendMessage::parse(&bytes) else { panic!("no CopyData") };
        let response = Response::parse(version, body).expect("understood");
        prop_assert_eq!(response.answer, answer);
        prop_assert_eq!(response.header, (version == Version::V3).then_some(request.header));
    }

    #[test]
    fn queries_in_any_pieces(text in "[^\0]{0,300}", cut: prop::sample::Index) {
        let mut bytes = Vec::new();
        frontend::query(&mut bytes, &text);
        prop_assert_eq!(FrontendMessage::parse(&bytes), Ok(Some((FrontendMessage::Query(&text), bytes.len()))));
        prop_assert_eq!(FrontendMessage::parse(&bytes[..cut.index(bytes.len())]), Ok(None));
    }

    #[test]
    fn startup_parameters(parameters in prop::collection::vec(("[^\0]{1,20}", "[^\0]{0,20}"), 0..8)) {
        let borrowed: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let mut bytes = Vec::new();
        write_startup(&mut bytes, &borrowed);
        let Ok(Some((Startup::Start(start), size))) = Startup::parse(&bytes) else { panic!("no startup") };
        prop_assert_eq!((start.minor, start.parameters, size), (0, parameters, bytes.len()));
    }

    #[test]
    fn rows(texts in prop::collection::vec(prop::option::of(any::<String>()), 0..20), number: i64, bytes: Vec<u8>) {
        let mut values: Vec<Value<'_>> = texts.iter().map(|text| text.as_ref().into()).collect();
        values.extend([Value::Int8(number), Value::Bytea(&bytes)]);
        let mut out = Vec::new();
        backend::data_row(&mut out, &values).expect("short enough");
        let Ok(Some((BackendMessage::DataRow(row), _))) = BackendMessage::parse(&out) else { panic!("no row") };
        prop_assert_eq!(row.len(), values.len());
        for (index, text) in texts.iter().enumerate() {
            prop_assert_eq!(row.text(index), text.as_deref());
        }
        prop_assert_eq!((row.int8(texts.len()), row.bytea(texts.len() + 1)), (Some(number), Some(bytes)));
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes: Vec<u8>, tag in select(&b"QdXRSKZETDCWNv"[..])) {
        let framed = [&[tag], &(bytes.len() as u32 + 4).to_be_bytes()[..], &bytes].concat();
        for bytes in [&bytes, &framed] {
            let sizes = [
                FrontendMessage::parse(bytes).ok().flatten().map(|(_, size)| size),
                BackendMessage::parse(bytes).ok().flatten().map(|(_, size)| size),
                Startup::parse(bytes).ok().flatten().map(|(_, size)| size),
            ];
            prop_assert!(sizes.into_iter().flatten().all(|size| size > 0 && size <= bytes.len()));
        }
    }

    #[test]
    fn what_is_understood_as_a_request_is_written_the_same(version in version(), bytes in prop::collection::vec(0..6_u8, 0..48)) {
        if let Ok(request) = Request::parse(version, &bytes) {
            let mut out = Vec::new();
            request.write(&mut out, version);
            prop_assert_eq!(content(&out), bytes);
        }
    }
}
