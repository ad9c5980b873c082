//! A float as Go's `%v` prints it, for messages.

/// The shortest text that reads back as the number; with an exponent below 1e-4 and from 1e6 on.
pub(super) fn text(number: f64) -> String {
    if number == 0.0 || !number.is_finite() {
        return format!("{number}");
    }
    let exponent = number.abs().log10().floor();
    if (-4.0..6.0).contains(&exponent) {
        return format!("{number}");
    }
    let scientific = format!("{number:e}");
    match scientific.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => scientific,
    }
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn floats_read_as_in_go() {
        assert_eq!(text(0.5), "0.5");
        assert_eq!(text(10.0), "10");
        assert_eq!(text(1e-7), "1e-07");
        assert_eq!(text(1e30), "1e+30");
        assert_eq!(text(123_456_789.0), "1.23456789e+08");
        assert_eq!(text(0.0), "0");
    }
}
