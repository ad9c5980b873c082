//! The operating system's randomness, in the form in which the crates below take it.
//!
//! Refuses to know: what the bytes become.

use muster_identity::Entropy;

/// A source of random bytes that does not return when it fails: without randomness nothing here is safe.
pub(crate) fn system_entropy() -> impl Entropy {
    |bytes: &mut [u8]| {
        aws_lc_rs::rand::fill(bytes).expect("the crypto library's random generator never runs dry");
    }
}

/// A fresh random UUID (version 4, RFC 9562), lower case with hyphens.
pub(crate) fn random_uuid() -> String {
    let mut bytes = [0_u8; 16];
    system_entropy().fill(&mut bytes);
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let number = u128::from_be_bytes(bytes);
    let hex = format!("{number:032x}");
    [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_carry_version_and_variant_and_differ() {
        let one = random_uuid();
        assert_eq!((one.len(), &one[14..15]), (36, "4"));
        assert!(matches!(&one[19..20], "8" | "9" | "a" | "b"), "{one}");
        assert_ne!(one, random_uuid());
    }
}
