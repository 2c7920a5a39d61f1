//! The digest algorithms Vitrine offers, under the names that Glance's `hashing_algorithm` carries.

use std::fmt;
use std::str::FromStr;

/// A digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5 (RFC 1321): the image's `checksum`.
    Md5,
    /// SHA-1 (FIPS 180-4).
    Sha1,
    /// SHA-224 (FIPS 180-4).
    Sha224,
    /// SHA-256 (FIPS 180-4).
    Sha256,
    /// SHA-384 (FIPS 180-4).
    Sha384,
    /// SHA-512 (FIPS 180-4): the default of `os_hash_algo`.
    Sha512,
    /// SHA-512/256 (FIPS 180-4).
    Sha512_256,
    /// SHA-512/224 (FIPS 180-4).
    Sha512_224,
}

impl Algorithm {
    /// Every algorithm, in the order of their indices.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Md5,
        Self::Sha1,
        Self::Sha224,
        Self::Sha256,
        Self::Sha384,
        Self::Sha512,
        Self::Sha512_256,
        Self::Sha512_224,
    ];

    /// How many algorithms there are.
    pub(super) const COUNT: usize = 8;

    /// The name, as it stands in `hashing_algorithm` and `os_hash_algo`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Sha512_256 => "sha512_256",
            Self::Sha512_224 => "sha512_224",
        }
    }

    /// Whether its words have 64 bits and its blocks 128 bytes, instead of 32 and 64.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::Sha384 | Self::Sha512 | Self::Sha512_256 | Self::Sha512_224)
    }

    /// Bytes of a digest.
    pub(super) const fn digest_bytes(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 | Self::Sha512_224 => 28,
            Self::Sha256 | Self::Sha512_256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The place in tables that hold one entry per algorithm.
    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A name that is no [`Algorithm`]. Its message lists what is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm {
    name: String,
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown digest algorithm {:?}: accepted are ", self.name)?;
        for (index, algorithm) in Algorithm::ALL.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{algorithm}")?;
        }
        Ok(())
    }
}

impl std::error::Error for UnknownAlgorithm {}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    /// Finds an algorithm by its name, in any case, as Python's `hashlib.new` does.
    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| UnknownAlgorithm { name: name.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_algorithm() {
        for (index, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            assert_eq!(algorithm.index(), index);
            assert_eq!(algorithm.name().parse(), Ok(algorithm));
            assert_eq!(algorithm.name().to_uppercase().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_accepted_ones() {
        let error = "sha3_256".parse::<Algorithm>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "unknown digest algorithm \"sha3_256\": accepted are md5, sha1, sha224, sha256, sha384, sha512, \
             sha512_256, sha512_224"
        );
        assert!("".parse::<Algorithm>().is_err());
        assert!("sha512 ".parse::<Algorithm>().is_err());
    }
}
