//! Turns tables into what pgwire sends.

use std::sync::Arc;

use futures_util::stream;
use pgwire::api::Type;
use pgwire::api::portal::Format;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo, QueryResponse, Response};
use pgwire::error::PgWireResult;
use pgwire::messages::data::DataRow;
use pgwire::types::format::FormatOptions;

use super::table::{Column, Kind, Table, Value, postgres_micros, timestamp_text};

/// RowDescription's fields. A format that the client did not give is text: pgwire's own look-up
/// would panic.
pub(super) fn fields(columns: &[Column], formats: &Format) -> Vec<FieldInfo> {
    let field = |(index, column): (usize, &Column)| {
        let format = match formats {
            Format::UnifiedText => FieldFormat::Text,
            Format::UnifiedBinary => FieldFormat::Binary,
            Format::Individual(codes) => {
                codes.get(index).map_or(FieldFormat::Text, |code| FieldFormat::from(*code))
            }
        };
        let (datatype, size) = match column.kind {
            Kind::Int8 => (Type::INT8, 8),
            Kind::Float8 => (Type::FLOAT8, 8),
            Kind::Text => (Type::TEXT, -1),
            Kind::Timestamptz => (Type::TIMESTAMPTZ, 8),
        };
        FieldInfo::new(column.name.to_owned(), None, None, datatype, format).with_type_size(size)
    };
    columns.iter().enumerate().map(field).collect()
}

/// A table as an answer, with the word that CommandComplete begins with.
pub(super) fn rows(table: &Table, word: &str, formats: &Format) -> PgWireResult<Response> {
    let fields = Arc::new(fields(table.columns, formats));
    let mut encoder = DataRowEncoder::new(Arc::clone(&fields));
    let mut encode = |row: &Vec<Value>| encode_row(&mut encoder, &fields, row);
    let rows: Vec<PgWireResult<DataRow>> = table.rows.iter().map(&mut encode).collect();
    let mut response = QueryResponse::new(fields, stream::iter(rows));
    response.set_command_tag(word);
    Ok(Response::Query(response))
}

fn encode_row(encoder: &mut DataRowEncoder, fields: &[FieldInfo], row: &[Value]) -> PgWireResult<DataRow> {
    for (field, value) in fields.iter().zip(row) {
        match value {
            Value::Int(value) => encoder.encode_field(value)?,
            Value::Float(value) => encoder.encode_field(value)?,
            Value::Text(value) => encoder.encode_field(value)?,
            // Without chrono pgwire writes no times: int8 and text have the same bytes.
            Value::Time(time) => {
                let (format, options) = (field.format(), FormatOptions::default());
                match format {
                    FieldFormat::Binary => {
                        let micros = time.map(postgres_micros);
                        encoder.encode_field_with_type_and_format(&micros, &Type::INT8, format, &options)?;
                    }
                    FieldFormat::Text => {
                        let text = time.map(timestamp_text);
                        encoder.encode_field_with_type_and_format(&text, &Type::TEXT, format, &options)?;
                    }
                }
            }
        }
    }
    Ok(encoder.take_row())
}
