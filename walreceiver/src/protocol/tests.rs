use super::*;
use proptest::prelude::*;

fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&(4 + body.len() as u32).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn first(bytes: &[u8]) -> Result<Option<ServerMessage>, ProtocolError> {
    next_message(&mut BytesMut::from(bytes))
}

#[test]
fn waits_for_whole_messages() {
    let bytes = [message(b'W', &[0, 0, 0]), message(b'c', &[]), message(b'd', b"kxyz")].concat();
    for len in 0..bytes.len() {
        let mut buf = BytesMut::from(&bytes[..len]);
        let mut count = 0;
        while next_message(&mut buf).unwrap().is_some() {
            count += 1;
        }
        assert_eq!(count, usize::from(len >= 8) + usize::from(len >= 13), "of {len} bytes");
    }
    assert!(matches!(first(&bytes), Ok(Some(ServerMessage::CopyBoth))));
}

#[test]
fn refuses_lengths_out_of_bounds() {
    for len in [0, 3, MAX_MESSAGE_LEN as u32 + 1, i32::MAX as u32, u32::MAX] {
        let bytes = [&b"d"[..], &len.to_be_bytes()].concat();
        assert_eq!(first(&bytes).err(), Some(ProtocolError::Length { tag: 'd', len }));
    }
}

#[test]
fn refuses_malformed_messages() {
    for (tag, body) in
        [(b'W', &[0, 0, 1][..]), (b'W', &[0]), (b'W', &[0, 0, 0, 0]), (b'Z', &[]), (b'?', &[]), (b'c', &[1])]
    {
        assert!(matches!(first(&message(tag, body)), Err(ProtocolError::Malformed { .. })), "{tag} {body:?}");
    }
    assert!(matches!(first(&message(b'W', &[0, 0, 1, 0, 0])), Ok(Some(ServerMessage::CopyBoth))));
}

#[test]
fn reads_a_keepalive() {
    let body = [&b"k"[..], &7u64.to_be_bytes(), &9i64.to_be_bytes(), &[1]].concat();
    let expected = ReplicationMessage::Keepalive { server_end: Lsn(7), reply_requested: true };
    assert_eq!(parse_replication_message(body.clone().into()), Ok(expected));
    for len in 0..body.len() {
        assert!(parse_replication_message(body[..len].to_vec().into()).is_err(), "{len} bytes");
    }
    assert!(parse_replication_message([&body[..], &[0]].concat().into()).is_err());
}

#[test]
fn refuses_wal_past_the_last_position() {
    let body = |start: u64| [&b"w"[..], &start.to_be_bytes(), &[0; 16], b"12345678"].concat();
    assert!(parse_replication_message(body(u64::MAX - 8).into()).is_ok());
    assert!(parse_replication_message(body(u64::MAX - 7).into()).is_err());
}

#[test]
fn reads_the_messages_of_a_backup() {
    let archive = BackupMessage::Archive { name: "16384.tar".to_owned() };
    assert_eq!(parse_backup_message(Bytes::from_static(b"n16384.tar\0/mnt/space\0")), Ok(archive));
    assert_eq!(parse_backup_message(Bytes::from_static(b"dxy")), Ok(BackupMessage::Data(Bytes::from_static(b"xy"))));
    assert_eq!(parse_backup_message(Bytes::from_static(b"p12345678")), Ok(BackupMessage::Progress));
    assert_eq!(parse_backup_message(Bytes::from_static(b"m")), Ok(BackupMessage::Manifest));
    for bytes in [&b""[..], b"n", b"nbase.tar", b"nbase.tar\0", b"nbase.tar\0\0x", b"n\xff\0\0", b"p", b"mx", b"?"] {
        assert!(parse_backup_message(Bytes::from_static(bytes)).is_err(), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn wal_is_given_as_it_came(start in 0..u64::MAX / 2, end: u64, wal in proptest::collection::vec(any::<u8>(), 0..300)) {
        let body = [&b"w"[..], &start.to_be_bytes(), &end.to_be_bytes(), &[0; 8], &wal].concat();
        let expected = ReplicationMessage::XLogData { start: Lsn(start), server_end: Lsn(end), wal: wal.into() };
        prop_assert_eq!(parse_replication_message(body.into()), Ok(expected));
    }

    #[test]
    fn a_status_update_has_its_fields_where_postgres_reads_them(written: u64, flushed: u64, applied: u64, now: i64, reply: bool) {
        let mut out = BytesMut::new();
        write_status_update(Lsn(written), Lsn(flushed), Lsn(applied), now, reply, &mut out);
        let body = [&b"r"[..], &written.to_be_bytes(), &flushed.to_be_bytes(), &applied.to_be_bytes(), &now.to_be_bytes(), &[u8::from(reply)]].concat();
        prop_assert_eq!(&out[..], &message(b'd', &body)[..]);
    }

    #[test]
    fn survives_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        check_any_bytes(&bytes);
    }
}
