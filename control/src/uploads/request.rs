//! What the headers of an upload say.

use common::rpc::OpenUpload;
use common::{Error, Kind, Result};

/// The only media type of image data.
const MEDIA_TYPE: &str = "application/octet-stream";

/// The checked headers of an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Bytes that must arrive; `None`: not known.
    pub(crate) size: Option<u64>,
}

/// Checks what needs no catalog, in Glance's order.
///
/// # Errors
/// 415 for another content type, 400 for a size that is none.
pub(crate) fn decode(message: &OpenUpload) -> Result<Wanted> {
    // Parameters of the media type say nothing about bytes.
    let given = message.content_type.as_deref().map(|text| text.split(';').next().unwrap_or("").trim());
    if !given.is_some_and(|given| given.eq_ignore_ascii_case(MEDIA_TYPE)) {
        let given = given.unwrap_or("None");
        return Err(Error::new(Kind::UnsupportedMedia, format!("Invalid content type {given}")));
    }
    let size = match &message.image_size {
        Some(text) => Some(
            text.trim()
                .parse::<u64>()
                .map_err(|_| Error::bad_request("Invalid or missing image size in request headers."))?,
        ),
        None => message.content_length,
    };
    // An empty image is uploaded as one of unknown size: that is what 0 means to the stores.
    Ok(Wanted { size: size.filter(|size| *size > 0) })
}

#[cfg(test)]
mod tests {
    use common::rpc::UploadTarget;

    use super::*;

    fn message(content_type: Option<&str>, image_size: Option<&str>, content_length: Option<u64>) -> OpenUpload {
        OpenUpload {
            instance: "i".to_owned(),
            image_id: "x".to_owned(),
            proof: Default::default(),
            request_id: "req-1".to_owned(),
            content_type: content_type.map(str::to_owned),
            image_size: image_size.map(str::to_owned),
            content_length,
            store: None,
            target: UploadTarget::Store,
        }
    }

    #[test]
    fn only_plain_bytes_are_taken() {
        let text = |content_type| {
            decode(&message(content_type, Some("bad"), None)).map_err(|error| (error.kind, error.message))
        };
        let refused = |what: &str| Err((Kind::UnsupportedMedia, format!("Invalid content type {what}")));
        assert_eq!(text(None), refused("None"));
        assert_eq!(text(Some("application/json; charset=x")), refused("application/json"));
        assert_eq!(text(Some("")), refused(""));
        for good in ["application/octet-stream", "Application/Octet-Stream; a=b"] {
            let bad_size = Err((Kind::BadRequest, "Invalid or missing image size in request headers.".to_owned()));
            assert_eq!(text(Some(good)), bad_size, "the size is looked at after the type");
        }
    }

    #[test]
    fn the_size_comes_from_the_first_header_that_says_one() {
        let size = |image_size, length| decode(&message(Some(MEDIA_TYPE), image_size, length)).map(|w| w.size);
        assert_eq!(size(None, None), Ok(None));
        assert_eq!(size(None, Some(7)), Ok(Some(7)));
        assert_eq!(size(None, Some(0)), Ok(None));
        assert_eq!(size(Some(" 5 "), Some(7)), Ok(Some(5)));
        assert_eq!(size(Some("0"), Some(7)), Ok(None));
        for bad in ["", "-1", "1.5", "0x10", "18446744073709551616", "many"] {
            assert!(size(Some(bad), Some(7)).is_err(), "{bad}");
        }
    }
}
