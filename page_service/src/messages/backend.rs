//! Writing the messages that the server here sends. Answers of a page stream have [`write_answer`](super::write_answer) and
//! [`write_page`](super::write_page).

use std::io::Write as _;

use super::Severity;
use super::backend_message::{AUTHENTICATION_SASL, AUTHENTICATION_SASL_CONTINUE, AUTHENTICATION_SASL_FINAL};
use super::frame::{Counts, MAX_ROW, frame, infallible, put_cstr, put_length, try_frame, with_length};
use super::response::shortened;
use crate::{Column, ServiceError, SqlState, Value};

/// The longest command tag, error or notice text sent, in bytes.
const MAX_TEXT: usize = 256 << 10;

/// Appends AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    frame(out, b'R', |out| out.extend_from_slice(&0_u32.to_be_bytes()));
}

/// Appends AuthenticationSASL: the mechanisms that the client may choose from.
pub fn sasl_mechanisms(out: &mut Vec<u8>, mechanisms: &[&str]) {
    frame(out, b'R', |out| {
        out.extend_from_slice(&AUTHENTICATION_SASL.to_be_bytes());
        mechanisms.iter().for_each(|mechanism| put_cstr(out, mechanism));
        out.push(0);
    });
}

/// Appends AuthenticationSASLContinue.
pub fn sasl_continue(out: &mut Vec<u8>, data: &str) {
    frame(out, b'R', |out| {
        out.extend_from_slice(&AUTHENTICATION_SASL_CONTINUE.to_be_bytes());
        out.extend_from_slice(data.as_bytes());
    });
}

/// Appends AuthenticationSASLFinal.
pub fn sasl_final(out: &mut Vec<u8>, data: &str) {
    frame(out, b'R', |out| {
        out.extend_from_slice(&AUTHENTICATION_SASL_FINAL.to_be_bytes());
        out.extend_from_slice(data.as_bytes());
    });
}

/// Appends ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: &str) {
    frame(out, b'S', |out| {
        put_cstr(out, name);
        put_cstr(out, value);
    });
}

/// Appends BackendKeyData.
pub fn key_data(out: &mut Vec<u8>, process: u32, key: u32) {
    frame(out, b'K', |out| {
        out.extend_from_slice(&process.to_be_bytes());
        out.extend_from_slice(&key.to_be_bytes());
    });
}

/// Appends NegotiateProtocolVersion: version 3.0 is spoken, and these options are not known.
pub fn negotiate_version<'a>(out: &mut Vec<u8>, unknown_options: impl Iterator<Item = &'a str>) {
    let options: Vec<_> = unknown_options.collect();
    frame(out, b'v', |out| {
        out.extend_from_slice(&0_u32.to_be_bytes());
        out.extend_from_slice(&(options.len() as u32).to_be_bytes());
        options.iter().for_each(|option| put_cstr(out, option));
    });
}

/// Appends ReadyForQuery, outside of a transaction.
pub fn ready(out: &mut Vec<u8>) {
    frame(out, b'Z', |out| out.push(b'I'));
}

/// Appends ErrorResponse.
pub fn error(out: &mut Vec<u8>, severity: Severity, error: &ServiceError) {
    frame(out, b'E', |out| put_message(out, severity, error.code.code(), &error.message, error.hint.as_deref()));
}

/// Appends NoticeResponse.
pub fn notice(out: &mut Vec<u8>, text: &str) {
    frame(out, b'N', |out| put_message(out, Severity::Notice, "00000", text, None));
}

fn put_message(out: &mut Vec<u8>, severity: Severity, code: &str, message: &str, hint: Option<&str>) {
    let fields = [(b'S', Some(severity.name())), (b'V', Some(severity.name())), (b'C', Some(code))];
    let texts = [(b'M', Some(message)), (b'H', hint)];
    for (code, text) in fields.into_iter().chain(texts) {
        if let Some(text) = text {
            out.push(code);
            put_cstr(out, shortened(text, MAX_TEXT));
        }
    }
    out.push(0);
}

/// Appends RowDescription.
///
/// # Errors
/// If there are more columns than a row can have.
pub fn row_description(out: &mut Vec<u8>, columns: &[Column<'_>]) -> Result<(), ServiceError> {
    try_frame(out, b'T', |out| {
        put_count(out, columns.len())?;
        for column in columns {
            put_cstr(out, column.name);
            out.extend_from_slice(&[0; 4 + 2]); // of no table
            out.extend_from_slice(&column.kind.oid().to_be_bytes());
            out.extend_from_slice(&column.kind.size().to_be_bytes());
            out.extend_from_slice(&(-1_i32).to_be_bytes()); // no modifier
            out.extend_from_slice(&[0; 2]); // text format
        }
        Ok(())
    })
}

/// Appends DataRow.
///
/// # Errors
/// If the row is longer than [`MAX_ROW`] or has too many values.
pub fn data_row(out: &mut Vec<u8>, values: &[Value<'_>]) -> Result<(), ServiceError> {
    try_frame(out, b'D', |out| {
        put_count(out, values.len())?;
        let start = out.len();
        for value in values {
            put_value(out, *value);
            if out.len() - start > MAX_ROW - 2 {
                let message = format!("a row of more than {MAX_ROW} bytes cannot be sent");
                return Err(ServiceError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, message));
            }
        }
        Ok(())
    })
}

fn put_count(out: &mut Vec<u8>, count: usize) -> Result<(), ServiceError> {
    let short = i16::try_from(count).map_err(|_| {
        ServiceError::new(SqlState::PROGRAM_LIMIT_EXCEEDED, format!("a row of {count} columns cannot be sent"))
    })?;
    out.extend_from_slice(&short.to_be_bytes());
    Ok(())
}

fn put_value(out: &mut Vec<u8>, value: Value<'_>) {
    if value == Value::Null {
        out.extend_from_slice(&(-1_i32).to_be_bytes());
        return;
    }
    infallible(with_length(out, Counts::BodyOnly, |out| {
        match value {
            Value::Null => {}
            Value::Bool(truth) => out.push(if truth { b't' } else { b'f' }),
            Value::Bytea(bytes) => put_hex(out, bytes),
            Value::Int8(number) => write!(out, "{number}").expect("writing to memory does not fail"),
            Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        }
        Ok(())
    }));
}

fn put_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\\x");
    out.extend(bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]));
}

/// Appends CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    frame(out, b'C', |out| put_cstr(out, shortened(tag, MAX_TEXT)));
}

/// Appends EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    frame(out, b'I', |_| {});
}

/// Appends CopyBothResponse: text format, no columns.
pub fn copy_both(out: &mut Vec<u8>) {
    frame(out, b'W', |out| out.extend_from_slice(&[0; 3]));
}

/// Appends CopyOutResponse: binary format, no columns.
pub fn copy_out(out: &mut Vec<u8>) {
    frame(out, b'H', |out| out.extend_from_slice(&[1, 0, 0]));
}

/// Appends what CopyData begins with, before so many bytes.
pub fn copy_data(out: &mut Vec<u8>, bytes: usize) {
    out.push(b'd');
    put_length(out, Counts::Itself, bytes);
}

/// Appends CopyDone.
pub fn copy_done(out: &mut Vec<u8>) {
    frame(out, b'c', |_| {});
}
