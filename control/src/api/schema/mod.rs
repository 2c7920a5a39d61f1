//! JSON schemas: what clients are told that objects look like, and the same rules applied to what they send.
//!
//! `image` holds the table of an image's fields, from which both the document and the checks come; `check` tests one
//! value; `documents` writes the other schemas.

mod check;
mod documents;
mod image;

pub(crate) use check::validate_new_location;
pub(crate) use documents::Documents;
pub(crate) use image::ImageSchema;

#[cfg(test)]
pub(crate) use image::tests::schema as test_schema;
