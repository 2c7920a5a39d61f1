//! TLS records of application data as they are on the wire, sealed and opened in place (RFC 8446 §5, RFC 5246 §6.2,
//! RFC 5288, RFC 7905).

use std::io;
use std::ops::Range;

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use rustls::ConnectionTrafficSecrets;

/// Most bytes of plaintext in a record.
pub(super) const PLAIN_BYTES_MAX: usize = 16 * 1024;

/// Bytes of a record's header: type, version, length.
pub(super) const HEADER_BYTES: usize = 5;

/// Bytes of a tag.
const TAG_BYTES: usize = 16;

/// Bytes of the nonce that TLS 1.2 sends along with AES-GCM.
const EXPLICIT_NONCE_BYTES: usize = 8;

/// Most bytes that a record of ours has besides its plaintext.
pub(super) const OVERHEAD_BYTES_MAX: usize = HEADER_BYTES + EXPLICIT_NONCE_BYTES + TAG_BYTES;

/// Most bytes of a record that is accepted: a peer may add so much to the plaintext (RFC 5246 §6.2.3; RFC 8446 allows less).
pub(super) const RECORD_BYTES_MAX: usize = HEADER_BYTES + PLAIN_BYTES_MAX + 2048;

/// Records after which TLS 1.3 gets new keys: full ones of AES-GCM stay safe up to 2^24.5 (RFC 8446 §5.5).
const RENEW_AFTER: u64 = if cfg!(test) { 100 } else { 1 << 24 };

/// Records that one key seals at most. TLS 1.2 cannot renew its keys without renegotiation; 2^32 full records are 64 TiB.
const RECORDS_MAX: u64 = 1 << 32;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Content {
    ChangeCipherSpec = 20,
    Alert = 21,
    Handshake = 22,
    Data = 23,
}

impl Content {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::ChangeCipherSpec, Self::Alert, Self::Handshake, Self::Data]
            .into_iter()
            .find(|known| *known as u8 == byte)
    }
}

/// The version of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl TlsVersion {
    /// As it is written: `1.2`, `1.3`.
    pub fn label(self) -> &'static str {
        match self {
            TlsVersion::V1_2 => "1.2",
            TlsVersion::V1_3 => "1.3",
        }
    }
}

/// What is wrong with what the peer sent, and the alert that tells it (RFC 8446 §6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) alert: u8,
    pub(super) what: &'static str,
}

impl Fault {
    pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(super) const BAD_RECORD_MAC: u8 = 20;
    pub(super) const RECORD_OVERFLOW: u8 = 22;
    pub(super) const ILLEGAL_PARAMETER: u8 = 47;
    pub(super) const NO_RENEGOTIATION: u8 = 100;

    pub(super) const fn new(alert: u8, what: &'static str) -> Self {
        Fault { alert, what }
    }
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, fault.what)
    }
}

/// Bytes of the record that begins with `bytes`; `None` while its header is not whole.
pub(super) fn record_bytes(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let length = HEADER_BYTES + usize::from(u16::from_be_bytes([header[3], header[4]]));
    if length > RECORD_BYTES_MAX {
        return Err(Fault::new(Fault::RECORD_OVERFLOW, "a TLS record is too long"));
    }
    Ok(Some(length))
}

/// One direction's key and where it stands.
struct Direction {
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    version: TlsVersion,
    /// Bytes between header and ciphertext.
    explicit: usize,
}

impl Direction {
    fn new(version: TlsVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> io::Result<Self> {
        let (algorithm, key, iv, is_gcm) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return Err(io::Error::other("a cipher that was not offered")),
        };
        let key = UnboundKey::new(algorithm, key.as_ref()).map_err(|_| io::Error::other("a key of another length"))?;
        let iv = iv.as_ref().try_into().map_err(|_| io::Error::other("a nonce of another length"))?;
        let explicit = if version == TlsVersion::V1_2 && is_gcm { EXPLICIT_NONCE_BYTES } else { 0 };
        Ok(Direction { key: LessSafeKey::new(key), iv, sequence, version, explicit })
    }

    /// The nonce of the next record: no two records of a key have the same.
    fn nonce(&self) -> [u8; 12] {
        let mut nonce = self.iv;
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(self.sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside a record's content.
    fn context(&self, header: &[u8], plain_bytes: usize) -> [u8; 13] {
        let mut context = [0; 13];
        context[..8].copy_from_slice(&self.sequence.to_be_bytes());
        context[8..11].copy_from_slice(&header[..3]);
        let length = u16::try_from(plain_bytes).unwrap_or(u16::MAX);
        context[11..].copy_from_slice(&length.to_be_bytes());
        context
    }
}

/// Seals what we send.
pub(super) struct Sealer(Direction);

impl Sealer {
    pub(super) fn new(version: TlsVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> io::Result<Self> {
        Direction::new(version, sequence, secrets).map(Sealer)
    }

    /// Bytes before the plaintext of a record.
    pub(super) fn prefix(&self) -> usize {
        HEADER_BYTES + self.0.explicit
    }

    /// Bytes of a record besides its plaintext.
    pub(super) fn overhead(&self) -> usize {
        let inner_type = if self.0.version == TlsVersion::V1_3 { 1 } else { 0 };
        self.prefix() + inner_type + TAG_BYTES
    }

    /// Whether the key has sealed so much that it should be replaced, and can be.
    pub(super) fn is_worn(&self) -> bool {
        self.0.version == TlsVersion::V1_3 && self.0.sequence >= RENEW_AFTER
    }

    /// Makes `record`, which has its plaintext at [`Sealer::prefix`] and is longer by [`Sealer::overhead`], a record.
    pub(super) fn seal(&mut self, content: Content, record: &mut [u8]) -> io::Result<()> {
        let direction = &mut self.0;
        if direction.sequence >= RECORDS_MAX {
            return Err(io::Error::other("the TLS key has sealed as much as it may"));
        }
        let nonce = direction.nonce();
        let length = u16::try_from(record.len() - HEADER_BYTES).map_err(|_| io::Error::other("a record too long"))?;
        let (header, rest) = record.split_at_mut(HEADER_BYTES);
        let outer = if direction.version == TlsVersion::V1_3 { Content::Data } else { content };
        header[..3].copy_from_slice(&[outer as u8, 3, 3]);
        header[3..].copy_from_slice(&length.to_be_bytes());
        let (rest, tag) = rest.split_at_mut(rest.len() - TAG_BYTES);
        let (explicit, body) = rest.split_at_mut(direction.explicit);
        let sealed = match direction.version {
            TlsVersion::V1_3 => {
                if let Some(last) = body.last_mut() {
                    *last = content as u8;
                }
                let nonce = Nonce::assume_unique_for_key(nonce);
                direction.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body)
            }
            TlsVersion::V1_2 => {
                explicit.copy_from_slice(&nonce[12 - explicit.len()..]);
                let context = direction.context(header, body.len());
                let nonce = Nonce::assume_unique_for_key(nonce);
                direction.key.seal_in_place_separate_tag(nonce, Aad::from(context), body)
            }
        };
        let sealed = sealed.map_err(|_| io::Error::other("a record cannot be sealed"))?;
        tag.copy_from_slice(sealed.as_ref());
        direction.sequence += 1;
        Ok(())
    }
}

/// Opens what the peer sends.
pub(super) struct Opener(Direction);

impl Opener {
    pub(super) fn new(version: TlsVersion, sequence: u64, secrets: &ConnectionTrafficSecrets) -> io::Result<Self> {
        Direction::new(version, sequence, secrets).map(Opener)
    }

    /// Opens `record`, header included: what it holds, and where in it the plaintext now stands.
    pub(super) fn open(&mut self, record: &mut [u8]) -> Result<(Content, Range<usize>), Fault> {
        const FORGED: Fault = Fault::new(Fault::BAD_RECORD_MAC, "a TLS record was damaged on its way");
        let direction = &mut self.0;
        let (header, rest) = record.split_at_mut_checked(HEADER_BYTES).ok_or(FORGED)?;
        let content = Content::from_byte(header[0]);
        if direction.version == TlsVersion::V1_3 && content != Some(Content::Data) {
            return Err(Fault::new(Fault::UNEXPECTED_MESSAGE, "a TLS record is not encrypted"));
        }
        let sealed = rest.len().checked_sub(TAG_BYTES).ok_or(FORGED)?;
        let (rest, tag) = rest.split_at_mut(sealed);
        let tag = Tag::try_from(&*tag).map_err(|_| FORGED)?;
        let (explicit, body) = rest.split_at_mut_checked(direction.explicit).ok_or(FORGED)?;
        let mut nonce = direction.nonce();
        if !explicit.is_empty() {
            nonce[..4].copy_from_slice(&direction.iv[..4]);
            nonce[4..].copy_from_slice(explicit);
        }
        let nonce = Nonce::assume_unique_for_key(nonce);
        let opened = match direction.version {
            TlsVersion::V1_3 => direction.key.open_in_place_separate_tag(nonce, Aad::from(&*header), tag, body, 0..),
            TlsVersion::V1_2 => {
                let context = direction.context(header, body.len());
                direction.key.open_in_place_separate_tag(nonce, Aad::from(context), tag, body, 0..)
            }
        };
        let plain: &[u8] = opened.map_err(|_| FORGED)?;
        direction.sequence = direction.sequence.checked_add(1).ok_or(FORGED)?;
        let start = HEADER_BYTES + direction.explicit;
        let (content, length) = match direction.version {
            // The type stands behind the plaintext, and zeroes may follow it.
            TlsVersion::V1_3 => match plain.iter().rposition(|byte| *byte != 0) {
                Some(at) => (Content::from_byte(plain[at]), at),
                None => (None, 0),
            },
            TlsVersion::V1_2 => (content, plain.len()),
        };
        if length > PLAIN_BYTES_MAX {
            return Err(Fault::new(Fault::RECORD_OVERFLOW, "a TLS record holds too much"));
        }
        let content = content.ok_or(Fault::new(Fault::UNEXPECTED_MESSAGE, "a TLS record of an unknown type"))?;
        Ok((content, start..start + length))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::*;

    fn pair(version: TlsVersion, chacha: bool, sequence: u64) -> (Sealer, Opener) {
        let (key, iv) = (AeadKey::from([9; 32]), Iv::new([5; 12]));
        let secrets = match chacha {
            true => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
            false => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
        };
        (Sealer::new(version, sequence, &secrets).unwrap(), Opener::new(version, sequence, &secrets).unwrap())
    }

    fn sealed(sealer: &mut Sealer, content: Content, plain: &[u8]) -> Vec<u8> {
        let mut record = vec![0xaa; plain.len() + sealer.overhead()];
        let prefix = sealer.prefix();
        record[prefix..prefix + plain.len()].copy_from_slice(plain);
        sealer.seal(content, &mut record).unwrap();
        record
    }

    fn versions() -> impl Strategy<Value = TlsVersion> {
        prop_oneof![Just(TlsVersion::V1_2), Just(TlsVersion::V1_3)]
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_and_nothing_else(
            version in versions(),
            chacha: bool,
            sequence in 0..1u64 << 31,
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            damage in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let (mut sealer, mut opener) = pair(version, chacha, sequence);
            for content in [Content::Data, Content::Alert, Content::Handshake] {
                let mut record = sealed(&mut sealer, content, &plain);
                prop_assert_eq!(record_bytes(&record), Ok(Some(record.len())));
                prop_assert!(!plain.is_empty() || record.len() <= OVERHEAD_BYTES_MAX);
                let (opened, place) = opener.open(&mut record).unwrap();
                prop_assert_eq!((opened, &record[place]), (content, &plain[..]));
            }
            let mut record = sealed(&mut sealer, Content::Data, &plain);
            // Not the length: that decides where the record ends before it is opened.
            let at = damage.index(record.len() - 2);
            let at = if at < 3 { at } else { at + 2 };
            record[at] ^= 1 << bit;
            prop_assert!(opener.open(&mut record).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(version in versions(), mut bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let (_, mut opener) = pair(version, false, 0);
            let _ = record_bytes(&bytes);
            prop_assert!(opener.open(&mut bytes).is_err());
        }
    }

    #[test]
    fn no_two_records_have_the_same_nonce() {
        for version in [TlsVersion::V1_2, TlsVersion::V1_3] {
            let (mut sealer, _) = pair(version, false, 250);
            let nonces: std::collections::HashSet<_> = (0..10)
                .map(|_| {
                    sealed(&mut sealer, Content::Data, b"x");
                    sealer.0.nonce()
                })
                .collect();
            assert_eq!(nonces.len(), 10);
        }
    }

    #[test]
    fn a_key_ends_in_time() {
        let (mut sealer, _) = pair(TlsVersion::V1_2, false, RECORDS_MAX - 1);
        assert!(!sealer.is_worn(), "TLS 1.2 has no way to renew");
        let mut record = vec![0; sealer.overhead()];
        sealer.seal(Content::Data, &mut record).unwrap();
        assert!(sealer.seal(Content::Data, &mut record).is_err());
        assert!(pair(TlsVersion::V1_3, false, RENEW_AFTER).0.is_worn());
    }

    #[test]
    fn padding_is_taken_off() {
        let (mut sealer, mut opener) = pair(TlsVersion::V1_3, false, 0);
        // The inner type is written last: a plaintext that ends in one and zeroes is what a padding peer makes.
        let mut record = vec![0; 5 + 10 + TAG_BYTES];
        record[5..8].copy_from_slice(b"abc");
        record[8] = Content::Alert as u8;
        let direction = &mut sealer.0;
        let (header, rest) = record.split_at_mut(5);
        header.copy_from_slice(&[23, 3, 3, 0, 26]);
        let (body, tag) = rest.split_at_mut(10);
        let nonce = Nonce::assume_unique_for_key(direction.nonce());
        tag.copy_from_slice(
            direction.key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body).unwrap().as_ref(),
        );
        assert_eq!(opener.open(&mut record), Ok((Content::Alert, 5..8)));
    }

    #[test]
    fn records_beyond_the_limit_are_refused_by_their_header() {
        assert!(record_bytes(&[23, 3, 3, 0x48, 1]).is_err());
        assert_eq!(record_bytes(&[23, 3, 3, 0x48, 0]), Ok(Some(RECORD_BYTES_MAX)));
        assert_eq!(record_bytes(&[23, 3, 3, 0]), Ok(None));
    }
}
