//! The rows of a command, or its bytes, on their way to the client.

use std::io::{self, Write};

use crate::messages::backend;
use crate::wire::Wire;
use crate::{Column, ColumnType, RowSink, ServiceError, Value};

/// A piece of a copy goes out when it has this many bytes.
const PIECE: usize = 64 << 10;

/// Writes rows to the socket as they come.
pub(super) struct Rows<'a> {
    wire: &'a mut Wire,
    columns: Option<Vec<ColumnType>>,
    /// Bytes of a copy that have not been sent yet; none if the result is no copy.
    copy: Option<Vec<u8>>,
}

impl<'a> Rows<'a> {
    pub fn new(wire: &'a mut Wire) -> Self {
        Rows { wire, columns: None, copy: None }
    }

    /// Ends a copy, if there is one: the command has succeeded. After a failure the error's message ends it.
    pub fn finish(mut self) -> io::Result<()> {
        self.send_piece()?;
        if self.copy.is_some() {
            backend::copy_done(&mut self.wire.out);
        }
        Ok(())
    }

    fn send_piece(&mut self) -> io::Result<()> {
        if let Some(piece) = self.copy.as_mut().filter(|piece| !piece.is_empty()) {
            send_copy(self.wire, piece)?;
            piece.clear();
        }
        Ok(())
    }

    fn check(&self, values: &[Value<'_>]) -> Result<(), ServiceError> {
        let Some(columns) = &self.columns else {
            return Err(ServiceError::internal("a row was given before its columns"));
        };
        if columns.len() != values.len() {
            let message = format!("a row of {} values was given for {} columns", values.len(), columns.len());
            return Err(ServiceError::internal(message));
        }
        match columns.iter().zip(values).position(|(&kind, value)| !value.fits(kind)) {
            None => Ok(()),
            Some(at) => {
                let message = format!("the value given for column {at} is not of its type, {:?}", columns[at]);
                Err(ServiceError::internal(message))
            }
        }
    }
}

/// Sends a piece of a copy from where it lies.
fn send_copy(wire: &mut Wire, piece: &[u8]) -> io::Result<()> {
    backend::copy_data(&mut wire.out, piece.len());
    wire.flush_with(piece)
}

/// The bytes of a copy.
impl Write for Rows<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() >= PIECE {
            // A whole piece need not be collected.
            self.send_piece()?;
            send_copy(self.wire, &bytes[..PIECE])?;
            return Ok(PIECE);
        }
        let piece = self.copy.get_or_insert_default();
        let taken = bytes.len().min(PIECE - piece.len());
        piece.extend_from_slice(&bytes[..taken]);
        if piece.len() == PIECE {
            self.send_piece()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send_piece()
    }
}

impl RowSink for Rows<'_> {
    fn columns(&mut self, columns: &[Column<'_>]) -> Result<(), ServiceError> {
        if self.columns.is_some() || self.copy.is_some() {
            return Err(ServiceError::internal("the columns of a result were given twice, or after a copy began"));
        }
        backend::row_description(&mut self.wire.out, columns)?;
        self.columns = Some(columns.iter().map(|column| column.kind).collect());
        Ok(self.wire.flush()?)
    }

    fn row(&mut self, values: &[Value<'_>]) -> Result<(), ServiceError> {
        self.check(values)?;
        backend::data_row(&mut self.wire.out, values)?;
        Ok(self.wire.flush()?)
    }

    fn copy_out(&mut self) -> Result<&mut dyn Write, ServiceError> {
        if self.columns.is_some() || self.copy.is_some() {
            return Err(ServiceError::internal("a copy was begun twice, or after rows"));
        }
        backend::copy_out(&mut self.wire.out);
        self.wire.flush()?;
        self.copy = Some(Vec::with_capacity(PIECE));
        Ok(self)
    }

    fn notice(&mut self, text: &str) -> Result<(), ServiceError> {
        backend::notice(&mut self.wire.out, text);
        Ok(self.wire.flush()?)
    }
}
