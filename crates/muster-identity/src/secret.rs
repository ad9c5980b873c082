//! A value that must not be seen: [`Secret`].
//!
//! It cannot be printed or serialised by accident, is wiped when dropped and compares in constant time.
//! It refuses to know what it holds.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Wraps a value that must never reach a log, an event, a journal or a screen by accident.
///
/// `Debug` prints a mask, there is no `Display` and no `Serialize`, and the value is zeroed on drop.
/// The only way to the value is [`Secret::expose`], so that a search for that word finds every use.
#[derive(Clone)]
pub struct Secret<T: Zeroize>(T);

impl<T: Zeroize> Secret<T> {
    /// Takes the value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// Lends the value, for the one place that really needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }

    /// Lends the value for filling it in place.
    pub const fn expose_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Zeroize + AsRef<[u8]>> Secret<T> {
    /// Whether the value equals `other`, in time that depends on the lengths only.
    pub fn matches(&self, other: &[u8]) -> bool {
        self.0.as_ref().ct_eq(other).into()
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_ref())
    }
}

impl<T: Zeroize + AsRef<[u8]>> Eq for Secret<T> {}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

impl<T: Zeroize> Drop for Secret<T> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(****)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_a_mask_even_in_pretty_form() {
        let secret = Secret::new("hunter2hunter2".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret(****)");
        assert!(!format!("{:#?}", Some(secret)).contains("hunter2"));
    }

    #[test]
    fn equal_values_are_equal_and_others_are_not() {
        let secret = Secret::new(b"abc".to_vec());
        assert_eq!(secret, Secret::new(b"abc".to_vec()));
        assert_ne!(secret, Secret::new(b"abd".to_vec()));
        assert!(!secret.matches(b"ab"));
        assert!(secret.matches(b"abc"));
    }

    #[test]
    fn dropping_wipes_the_value() {
        use std::cell::Cell;
        use std::rc::Rc;
        struct Witness(Rc<Cell<bool>>);
        impl Zeroize for Witness {
            fn zeroize(&mut self) {
                self.0.set(true);
            }
        }
        let wiped = Rc::new(Cell::new(false));
        drop(Secret::new(Witness(Rc::clone(&wiped))));
        assert!(wiped.get());
    }
}
