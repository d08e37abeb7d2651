//! The rows of a command, on their way to the client.

use crate::messages::backend;
use crate::wire::Wire;
use crate::{Column, ColumnType, RowSink, ServiceError, Value};

/// Writes rows to the socket as they come.
pub(super) struct Rows<'a> {
    wire: &'a mut Wire,
    columns: Option<Vec<ColumnType>>,
}

impl<'a> Rows<'a> {
    pub fn new(wire: &'a mut Wire) -> Self {
        Rows { wire, columns: None }
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

impl RowSink for Rows<'_> {
    fn columns(&mut self, columns: &[Column<'_>]) -> Result<(), ServiceError> {
        if self.columns.is_some() {
            return Err(ServiceError::internal("the columns of a result were given twice"));
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

    fn notice(&mut self, text: &str) -> Result<(), ServiceError> {
        backend::notice(&mut self.wire.out, text);
        Ok(self.wire.flush()?)
    }
}
