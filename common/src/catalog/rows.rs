//! Rows to values and back: Glance's encodings.

use std::io;
use std::str::FromStr;

use rusqlite::Row;
use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};
use serde_json::{Map, Value};

use super::fault::{corrupt, failed};
use crate::model::{Image, Member};
use crate::time::Timestamp;
use crate::{Error, Result};

/// The columns that [`image`] reads, in its order.
pub(super) const IMAGE_COLUMNS: &str = "images.id, images.name, images.status, images.visibility, images.protected, \
     images.os_hidden, images.owner, images.checksum, images.os_hash_algo, images.os_hash_value, images.size, \
     images.virtual_size, images.disk_format, images.container_format, images.min_disk, images.min_ram, \
     images.created_at, images.updated_at";

/// An image's row, without what hangs on it.
pub(super) fn image(row: &Row<'_>) -> Result<Image> {
    let created_at = timestamp(row, 16)?.ok_or_else(|| corrupt("images.created_at", "NULL"))?;
    Ok(Image {
        id: row.get(0).map_err(failed)?,
        name: row.get(1).map_err(failed)?,
        status: parsed(row, 2, "images.status")?,
        visibility: parsed(row, 3, "images.visibility")?,
        protected: row.get(4).map_err(failed)?,
        hidden: row.get(5).map_err(failed)?,
        owner: row.get(6).map_err(failed)?,
        checksum: row.get(7).map_err(failed)?,
        os_hash_algo: row.get(8).map_err(failed)?,
        os_hash_value: row.get(9).map_err(failed)?,
        size: bytes(row, 10, "images.size")?,
        virtual_size: bytes(row, 11, "images.virtual_size")?,
        disk_format: row.get(12).map_err(failed)?,
        container_format: row.get(13).map_err(failed)?,
        min_disk: row.get(14).map_err(failed)?,
        min_ram: row.get(15).map_err(failed)?,
        created_at,
        updated_at: timestamp(row, 17)?.unwrap_or(created_at),
        properties: Vec::new(),
        tags: Vec::new(),
        locations: Vec::new(),
    })
}

/// The columns that [`member`] reads, in its order.
pub(super) const MEMBER_COLUMNS: &str = "image_id, member, status, created_at, updated_at";

/// A member's row.
pub(super) fn member(row: &Row<'_>) -> Result<Member> {
    let created_at = timestamp(row, 3)?.ok_or_else(|| corrupt("image_members.created_at", "NULL"))?;
    Ok(Member {
        image_id: row.get(0).map_err(failed)?,
        member: row.get(1).map_err(failed)?,
        status: parsed(row, 2, "image_members.status")?,
        created_at,
        updated_at: timestamp(row, 4)?.unwrap_or(created_at),
    })
}

/// A text column that holds one of a few names.
pub(super) fn parsed<T: FromStr>(row: &Row<'_>, index: usize, what: &str) -> Result<T> {
    let text = row.get_ref(index).and_then(|value| Ok(value.as_str()?)).map_err(failed)?;
    text.parse().map_err(|_| corrupt(what, text))
}

/// A point in time, or NULL.
pub(super) fn timestamp(row: &Row<'_>, index: usize) -> Result<Option<Timestamp>> {
    let text = row.get_ref(index).and_then(|value| Ok(value.as_str_or_null()?)).map_err(failed)?;
    text.map(|text| Timestamp::from_sql(text).ok_or_else(|| corrupt("a time", text))).transpose()
}

/// A number of bytes, or NULL.
pub(super) fn bytes(row: &Row<'_>, index: usize, what: &str) -> Result<Option<u64>> {
    let number: Option<i64> = row.get(index).map_err(failed)?;
    number.map(|number| u64::try_from(number).map_err(|_| corrupt(what, &number.to_string()))).transpose()
}

/// A number of bytes as a column takes it.
pub(super) fn to_column(bytes: u64) -> Result<i64> {
    i64::try_from(bytes).map_err(|_| Error::internal(format_args!("catalog: {bytes} bytes do not fit a column")))
}

/// The object in `image_locations.meta_data`. NULL reads as empty; rows of very old releases say `backend` for `store`.
pub(super) fn location_metadata(text: Option<&str>) -> Map<String, Value> {
    let parsed = text.and_then(|text| serde_json::from_str(text).ok());
    let Some(Value::Object(mut metadata)) = parsed else { return Map::new() };
    if !metadata.contains_key("store")
        && let Some(store) = metadata.remove("backend")
    {
        metadata.insert("store".to_owned(), store);
    }
    metadata
}

/// JSON as Python's `json.dumps` writes it, which is how Glance fills its JSON columns: `", "` and `": "` as
/// separators, everything beyond ASCII escaped.
pub(super) fn json_column<T: Serialize>(value: &T) -> Result<String> {
    let mut text = Vec::new();
    value
        .serialize(&mut Serializer::with_formatter(&mut text, Spaced))
        .map_err(|error| Error::internal(format_args!("catalog: {error}")))?;
    String::from_utf8(text).map_err(|error| Error::internal(format_args!("catalog: {error}")))
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0; 2];
        for character in fragment.chars() {
            if character.is_ascii() {
                writer.write_all(character.encode_utf8(&mut [0; 4]).as_bytes())?;
                continue;
            }
            for unit in character.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }

    fn write_char_escape<W: ?Sized + io::Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        match escape {
            CharEscape::Quote => writer.write_all(b"\\\""),
            CharEscape::ReverseSolidus => writer.write_all(b"\\\\"),
            CharEscape::Solidus => writer.write_all(b"/"),
            CharEscape::Backspace => writer.write_all(b"\\b"),
            CharEscape::FormFeed => writer.write_all(b"\\f"),
            CharEscape::LineFeed => writer.write_all(b"\\n"),
            CharEscape::CarriageReturn => writer.write_all(b"\\r"),
            CharEscape::Tab => writer.write_all(b"\\t"),
            CharEscape::AsciiControl(byte) => write!(writer, "\\u{byte:04x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_columns_look_like_glances() {
        let value = json!({"store": "fäst", "list": ["a", "b"], "n": "x\"\n\u{1f600}"});
        let text = json_column(&value).expect("serialises");
        assert_eq!(text, r#"{"store": "f\u00e4st", "list": ["a", "b"], "n": "x\"\n\ud83d\ude00"}"#);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("parses"), value);
        assert_eq!(json_column(&Map::new()).expect("serialises"), "{}");
    }

    #[test]
    fn metadata_of_old_rows() {
        assert_eq!(location_metadata(None), Map::new());
        assert_eq!(location_metadata(Some("no json")), Map::new());
        assert_eq!(location_metadata(Some(r#"{"backend": "fast"}"#)).get("store"), Some(&json!("fast")));
    }
}
