//! JSON schemas: what clients are told that objects look like, and the same rules applied to what they send.
//!
//! `image` holds the table of an image's fields, from which both the document and the checks come; `check` tests one
//! value; `documents` writes the schemas of members and tasks; `metadefs` has those of metadata definitions, and `rules` asks them
//! of what clients send.

mod check;
mod documents;
mod image;
mod metadefs;
mod rules;

pub(crate) use check::{shorten, validate_new_location};
pub(crate) use documents::Documents;
pub(crate) use image::ImageSchema;
pub(crate) use metadefs::MetadefSchemas;
pub(crate) use rules::Rules;

#[cfg(test)]
pub(crate) use image::tests::schema as test_schema;
