//! Commands over a real connection: rows, notices, errors, and what is not served.

mod common;

use common::{Raw, connect, serve};
use page_service::messages::frontend;
use page_service::{ClientError, Config, QueryItem};

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> (String, String, Option<String>) {
    match result {
        Err(ClientError::Server(error)) => (error.code, error.message, error.hint),
        other => panic!("expected an error of the server, got {other:?}"),
    }
}

#[test]
fn rows_and_notices_come_in_their_order() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    let mut kinds = String::new();
    let mut rows = Vec::new();
    for item in client.query("rows 3;").expect("query") {
        kinds.push(match item.expect("an item") {
            QueryItem::Columns(columns) => {
                let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.type_oid)).collect();
                assert_eq!(columns, [("n", 20), ("square", 25), ("bytes", 17), ("odd", 16)]);
                'c'
            }
            QueryItem::Row(row) => {
                rows.push(row);
                'r'
            }
            QueryItem::Notice(notice) => {
                assert_eq!(notice.message, format!("{} of 3", rows.len()));
                'n'
            }
            QueryItem::Complete(tag) => {
                assert_eq!(tag, "ROWS 3");
                '.'
            }
            QueryItem::Copy(bytes) => panic!("rows came as a copy of {} bytes", bytes.len()),
        });
    }
    assert_eq!(kinds, "cnrnrnr.");
    assert_eq!((rows[2].int8(0), rows[2].text(1), rows[1].bytea(2)), (Some(2), Some("4"), Some(vec![1, 0xAB])));
    assert_eq!((rows[1].text(3), rows[2].text(3), rows[2].text(4)), (Some("t"), Some("f"), None));
}

#[test]
fn a_copy_comes_in_pieces_and_whole() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    for size in [0, 1, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 300_000] {
        let result = client.query_all(&format!("copy {size}")).expect("a copy");
        assert_eq!(result.tag, format!("COPY {size}"));
        assert!(result.copy.iter().copied().eq((0..size).map(|n| n as u8)), "{size}");
    }
}

#[test]
fn a_copy_that_fails_leaves_the_connection_usable() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    assert_eq!(refusal(client.query_all("copy 13")).1, "bad luck");
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn a_null_is_not_an_empty_text() {
    let server = serve(Config::default());
    let result = connect(&server).query_all("null").expect("a row");
    assert_eq!((result.rows[0].len(), result.rows[0].text(0)), (1, None));
}

#[test]
fn white_space_and_semicolons_around_a_command_do_not_matter() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    assert_eq!(client.query_all(" \n echo Some; Thing ; ;\t").expect("echo").tag, "Some; Thing");
    assert_eq!(client.query_all(" ; ").expect("nothing").tag, "");
}

#[test]
fn an_unknown_command_lists_the_known_ones_and_the_connection_goes_on() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    let (code, message, hint) = refusal(client.query_all("select 1"));
    assert_eq!((code.as_str(), message.as_str()), ("42601", "unknown command \"select\""));
    assert_eq!(hint.as_deref(), Some("commands are: rows, echo"));
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn rows_that_do_not_fit_are_the_backends_error() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    for (command, expected) in [("wrong", "XX000"), ("headless", "XX000"), ("large", "54000")] {
        assert_eq!(refusal(client.query_all(command)).0, expected, "{command}");
    }
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn an_answer_left_unread_does_not_disturb_the_next() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    assert!(client.query("rows 100").expect("query").next().is_some());
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
    assert_eq!(client.query("nonsense").expect("query").count(), 1);
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn a_page_stream_of_nothing_is_refused_and_the_connection_goes_on() {
    let server = serve(Config::default());
    let mut client = connect(&server);
    assert_eq!(refusal(client.query_all("pagestream_v2 t other")).0, "42704");
    assert_eq!(refusal(client.query_all("PageStream_V3 t")).0, "42601");
    assert_eq!(refusal(client.query_all("pagestream_v3 t main x")).0, "42601");
    assert_eq!(client.query_all("echo on").expect("echo").tag, "on");
}

#[test]
fn names_that_would_be_more_than_one_word_are_not_sent() {
    let server = serve(Config::default());
    for name in ["", "a b", "a;", "a\0"] {
        let result = connect(&server).page_stream("t", name, page_service::Version::V2);
        assert!(matches!(result, Err(ClientError::Name(_))), "{name:?}");
    }
}

#[test]
fn the_extended_protocol_is_refused_once_and_up_to_sync() {
    let server = serve(Config::default());
    let mut raw = Raw::welcomed(server.local_addr());
    let parse = b"P\0\0\0\x08\0\0\0\0";
    raw.send(&[&parse[..], parse, b"H\0\0\0\x04", b"E\0\0\0\x09\0\0\0\0\0", b"S\0\0\0\x04"].concat());
    assert_eq!(raw.error().code, "0A000");
    assert_eq!(raw.read_to_ready(), "Z");
    raw.send(b"F\0\0\0\x04");
    assert_eq!(raw.error().code, "0A000");
    assert_eq!(raw.read_to_ready(), "Z");
    let mut query = Vec::new();
    frontend::query(&mut query, "");
    raw.send(&query);
    assert_eq!(raw.read_to_ready(), "IZ");
}
