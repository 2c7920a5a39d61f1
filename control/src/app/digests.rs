//! Digests that clients give for data that lies somewhere already.

use common::model::{Image, Status};
use common::{Error, Result};
use serde_json::Value;

/// Digests that a client says the data has, as far as the image does not have them yet.
#[derive(Debug, Default)]
pub(crate) struct Digests {
    new: Vec<(String, String)>,
}

impl Digests {
    /// The `validation_data` of `locations`.
    ///
    /// # Errors
    /// 409 when they contradict each other or the image, or cannot be digests.
    pub(crate) fn read(image: &Image, locations: &[Value], hashing_algorithm: &str) -> Result<Digests> {
        let mut given: Vec<(&str, &str)> = Vec::new();
        let parts =
            locations.iter().filter_map(|location| location.get("validation_data")).filter_map(Value::as_object);
        for (key, value) in parts.flatten() {
            let value = value.as_str().unwrap_or_default();
            match given.iter().find(|(known, _)| known == key) {
                Some((_, same)) if *same == value => {}
                Some(_) => return Err(Error::conflict(format!("Conflicting values for {key}"))),
                None => given.push((key, value)),
            }
        }
        let mut new = Vec::new();
        for (key, value) in given {
            match current(image, key) {
                Some(current) if current == value => {}
                Some(current) if !current.is_empty() => {
                    return Err(Error::conflict(format!("{key} is already set with a different value")));
                }
                _ => new.push((key.to_owned(), value.to_owned())),
            }
        }
        let digests = Digests { new };
        if !digests.new.is_empty() {
            digests.check(image, hashing_algorithm)?;
        }
        Ok(digests)
    }

    fn check(&self, image: &Image, hashing_algorithm: &str) -> Result<()> {
        if image.status != Status::Queued {
            let keys: Vec<&str> = self.new.iter().map(|(key, _)| key.as_str()).collect();
            let keys = keys.join(", ");
            let text = format!("New value(s) for {keys} may only be provided when image status is 'queued'");
            return Err(Error::conflict(text));
        }
        if let Some(checksum) = self.get("checksum") {
            match hexadecimal_bytes(checksum) {
                None => return Err(not_hexadecimal("checksum", checksum)),
                Some(16) => {}
                Some(_) => {
                    return Err(Error::conflict(format!(
                        "checksum ({checksum}) is not the correct size for md5 (should be 16 bytes)"
                    )));
                }
            }
        }
        let algorithm = self.get("os_hash_algo").unwrap_or("None");
        if algorithm != hashing_algorithm {
            return Err(Error::conflict(format!("os_hash_algo must be {hashing_algorithm}, not {algorithm}")));
        }
        let value = self.get("os_hash_value").unwrap_or_default();
        let wanted = digest_bytes(algorithm);
        match hexadecimal_bytes(value) {
            None => Err(not_hexadecimal("os_hash_value", value)),
            Some(bytes) if wanted == Some(bytes) => Ok(()),
            Some(_) => {
                let wanted = wanted.unwrap_or_default();
                Err(Error::conflict(format!(
                    "os_hash_value ({value}) is not the correct size for {algorithm} (should be {wanted} bytes)"
                )))
            }
        }
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.new.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// Makes them the image's.
    pub(crate) fn give(&self, image: &mut Image) {
        for (key, value) in &self.new {
            match key.as_str() {
                "checksum" => image.checksum = Some(value.clone()),
                "os_hash_algo" => image.os_hash_algo = Some(value.clone()),
                "os_hash_value" => image.os_hash_value = Some(value.clone()),
                _ => {}
            }
        }
    }
}

fn current<'i>(image: &'i Image, key: &str) -> Option<&'i str> {
    match key {
        "checksum" => image.checksum.as_deref(),
        "os_hash_algo" => image.os_hash_algo.as_deref(),
        "os_hash_value" => image.os_hash_value.as_deref(),
        _ => None,
    }
}

fn not_hexadecimal(key: &str, value: &str) -> Error {
    Error::conflict(format!("{key} ({value}) is not a valid hexadecimal value"))
}

/// Bytes that `text` stands for; `None` when it is not hexadecimal.
pub(crate) fn hexadecimal_bytes(text: &str) -> Option<usize> {
    let is_hexadecimal = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hexadecimal.then_some(text.len() / 2)
}

/// Bytes of a digest.
pub(crate) fn digest_bytes(algorithm: &str) -> Option<usize> {
    match algorithm {
        "md5" => Some(16),
        "sha1" => Some(20),
        "sha224" => Some(28),
        "sha256" | "sha512_256" => Some(32),
        "sha384" => Some(48),
        "sha512" => Some(64),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::patch::tests::image as plain_image;

    /// What comes of these `validation_data` for an image of this status and digest, where MD5 is used.
    fn read(status: Status, digest: Option<&str>, parts: &[Value]) -> (Result<Digests, (u16, String)>, Image) {
        let locations: Vec<Value> = parts.iter().map(|data| json!({"validation_data": data})).collect();
        let algorithm = digest.map(|_| "md5".to_owned());
        let image =
            Image { status, os_hash_algo: algorithm, os_hash_value: digest.map(str::to_owned), ..plain_image() };
        (Digests::read(&image, &locations, "md5").map_err(|error| (error.status().as_u16(), error.message)), image)
    }

    fn refused(text: &str) -> (u16, String) {
        (409, text.to_owned())
    }

    #[test]
    fn a_queued_image_takes_digests() {
        let value = "ab".repeat(16);
        let data = json!({"checksum": "CD".repeat(16), "os_hash_algo": "md5", "os_hash_value": value});
        let (digests, mut image) = read(Status::Queued, None, &[data.clone(), json!({}), data]);
        digests.expect("good").give(&mut image);
        assert_eq!(image.checksum, Some("CD".repeat(16)));
        assert_eq!((image.os_hash_algo.as_deref(), image.os_hash_value), (Some("md5"), Some(value)));
        let mut untouched = plain_image();
        Digests::read(&untouched, &[json!({"url": "x"})], "md5").expect("nothing given").give(&mut untouched);
        assert_eq!(untouched, plain_image());
    }

    #[test]
    fn what_cannot_be_a_digest_is_refused() {
        let md5 = "ab".repeat(16);
        let cases = [
            (
                json!({"os_hash_algo": "sha512", "os_hash_value": md5}),
                "os_hash_algo must be md5, not sha512".to_owned(),
            ),
            (
                json!({"os_hash_algo": "md5", "os_hash_value": "xy"}),
                "os_hash_value (xy) is not a valid hexadecimal value".to_owned(),
            ),
            (
                json!({"os_hash_algo": "md5", "os_hash_value": "abc"}),
                "os_hash_value (abc) is not a valid hexadecimal value".to_owned(),
            ),
            (
                json!({"os_hash_algo": "md5", "os_hash_value": "ab"}),
                "os_hash_value (ab) is not the correct size for md5 (should be 16 bytes)".to_owned(),
            ),
            (
                json!({"os_hash_algo": "md5", "os_hash_value": md5, "checksum": "é".repeat(32)}),
                format!("checksum ({}) is not a valid hexadecimal value", "é".repeat(32)),
            ),
            (
                json!({"os_hash_algo": "md5", "os_hash_value": md5, "checksum": "ab"}),
                "checksum (ab) is not the correct size for md5 (should be 16 bytes)".to_owned(),
            ),
        ];
        for (data, text) in cases {
            assert_eq!(read(Status::Queued, None, &[data]).0.map(|_| ()), Err(refused(&text)));
        }
    }

    #[test]
    fn an_image_keeps_its_digests() {
        let (own, other) = ("ab".repeat(16), "cd".repeat(16));
        let data = |value: &str| json!({"os_hash_algo": "md5", "os_hash_value": value});
        let outcome = |status, digest: Option<&str>, parts: &[Value]| read(status, digest, parts).0.map(|_| ());
        assert_eq!(outcome(Status::Active, Some(&own), &[data(&own)]), Ok(()));
        let text = "os_hash_value is already set with a different value";
        assert_eq!(outcome(Status::Active, Some(&own), &[data(&other)]), Err(refused(text)));
        let text = "New value(s) for os_hash_algo, os_hash_value may only be provided when image status is 'queued'";
        assert_eq!(outcome(Status::Active, None, &[data(&own)]), Err(refused(text)));
        let text = "Conflicting values for os_hash_value";
        assert_eq!(outcome(Status::Queued, None, &[data(&own), data(&other)]), Err(refused(text)));
    }

    #[test]
    fn every_algorithm_that_can_be_configured_has_a_size() {
        for algorithm in ["sha512", "sha384", "sha256", "sha224", "sha512_256", "sha1", "md5"] {
            assert!(digest_bytes(algorithm).is_some(), "{algorithm}");
        }
        assert_eq!(digest_bytes("crc32"), None);
    }
}
