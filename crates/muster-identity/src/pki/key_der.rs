//! The envelopes of private keys: PKCS #8 (RFC 5958), SEC1 (RFC 5915) and PKCS #1 (RFC 8017).
//!
//! It refuses to know cryptography: it finds the parts, the key itself is checked by whoever uses them.

use const_oid::ObjectIdentifier;
use const_oid::db::rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION};
use der::asn1::{AnyRef, BitStringRef, ContextSpecific, OctetStringRef, UintRef};
use der::{Decode as _, Reader, SliceReader, TagNumber};
use x509_cert::spki::AlgorithmIdentifierRef;

use super::KeyError;

/// What a PKCS #8 envelope holds.
pub(super) enum Pkcs8Content<'a> {
    /// A SEC1 key on a named curve.
    Ec {
        curve: ObjectIdentifier,
        sec1: &'a [u8],
    },
    /// A PKCS #1 key.
    Rsa { pkcs1: &'a [u8] },
}

/// The parts of a SEC1 key.
pub(super) struct EcKeyParts<'a> {
    pub(super) curve: Option<ObjectIdentifier>,
    pub(super) scalar: &'a [u8],
    pub(super) public: Option<&'a [u8]>,
}

/// Opens a PKCS #8 envelope; attributes and a repeated public key are skipped.
pub(super) fn read_pkcs8(der: &[u8]) -> Result<Pkcs8Content<'_>, KeyError> {
    let damaged = |_| KeyError::Damaged {
        encoding: "PKCS #8",
    };
    let (algorithm, key) = sequence(der, |reader| {
        let _version = u8::decode(reader)?;
        let algorithm = AlgorithmIdentifierRef::decode(reader)?;
        let key = <&OctetStringRef>::decode(reader)?;
        skip_rest(reader)?;
        Ok((algorithm, key.as_bytes()))
    })
    .map_err(damaged)?;
    match algorithm.oid {
        ID_EC_PUBLIC_KEY => match algorithm.parameters_oid() {
            Ok(curve) => Ok(Pkcs8Content::Ec { curve, sec1: key }),
            Err(_) => Err(explicit_parameters()),
        },
        RSA_ENCRYPTION => Ok(Pkcs8Content::Rsa { pkcs1: key }),
        other => Err(KeyError::Unsupported {
            kind: other.to_string(),
        }),
    }
}

/// Takes a SEC1 key apart.
pub(super) fn read_sec1(der: &[u8]) -> Result<EcKeyParts<'_>, KeyError> {
    let (scalar, parameters, public) = sequence(der, |reader| {
        let _version = u8::decode(reader)?;
        let scalar = <&OctetStringRef>::decode(reader)?.as_bytes();
        let parameters = explicit::<AnyRef<'_>>(reader, 0)?;
        let public = explicit::<BitStringRef<'_>>(reader, 1)?.and_then(|bits| bits.as_bytes());
        skip_rest(reader)?;
        Ok((scalar, parameters, public))
    })
    .map_err(|_| KeyError::Damaged { encoding: "SEC1" })?;
    let curve = match parameters {
        None => None,
        Some(any) => Some(any.decode_as().map_err(|_| explicit_parameters())?),
    };
    Ok(EcKeyParts {
        curve,
        scalar,
        public,
    })
}

/// Reads `EC PARAMETERS`: the name of a curve.
pub(super) fn read_curve(der: &[u8]) -> Result<ObjectIdentifier, KeyError> {
    ObjectIdentifier::from_der(der).map_err(|_| explicit_parameters())
}

/// The length of a PKCS #1 key's modulus, in bits.
pub(super) fn read_rsa_bits(der: &[u8]) -> Result<usize, KeyError> {
    let modulus = sequence(der, |reader| {
        let _version = u8::decode(reader)?;
        let modulus = UintRef::decode(reader)?;
        skip_rest(reader)?;
        Ok(modulus.as_bytes())
    })
    .map_err(|_| KeyError::Damaged {
        encoding: "PKCS #1",
    })?;
    Ok(bit_length(modulus))
}

/// The length of a public PKCS #1 key's modulus, in bits.
pub(super) fn read_rsa_public_bits(der: &[u8]) -> Result<usize, KeyError> {
    let modulus = sequence(der, |reader| {
        let modulus = UintRef::decode(reader)?;
        skip_rest(reader)?;
        Ok(modulus.as_bytes())
    })
    .map_err(|_| KeyError::Damaged {
        encoding: "RSA public",
    })?;
    Ok(bit_length(modulus))
}

/// Bits of a big-endian number without leading zero bytes.
fn bit_length(number: &[u8]) -> usize {
    number
        .first()
        .map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

fn explicit_parameters() -> KeyError {
    KeyError::Unsupported {
        kind: "EC with explicit parameters".to_owned(),
    }
}

fn sequence<'a, T>(
    der: &'a [u8],
    read: impl FnOnce(&mut SliceReader<'a>) -> der::Result<T>,
) -> der::Result<T> {
    let mut reader = SliceReader::new(der)?;
    let value = reader.sequence(read)?;
    reader.finish()?;
    Ok(value)
}

fn explicit<'a, T>(reader: &mut SliceReader<'a>, number: u32) -> der::Result<Option<T>>
where
    T: der::Decode<'a, Error = der::Error> + der::DecodeValue<'a> + der::Tagged,
{
    Ok(ContextSpecific::<T>::decode_explicit(reader, TagNumber(number))?.map(|field| field.value))
}

fn skip_rest<'a>(reader: &mut SliceReader<'a>) -> der::Result<()> {
    let rest = reader.remaining_len();
    reader.read_slice(rest).map(|_| ())
}
