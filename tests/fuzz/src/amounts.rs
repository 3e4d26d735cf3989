//! Texts that mean money or a name.

use florin_engine::{AmountInput, ExternalId, Scale};

/// An amount that can be read is shown with the same digits, at every scale that has room for them, and read from that as the same.
pub(crate) fn amount(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(input) = AmountInput::parse(&text) else { return };
    for digits in [0, 2, 8, Scale::MAX.digits()] {
        let Some(scale) = Scale::try_new(digits) else { continue };
        let Ok(amount) = input.resolve(scale) else { continue };
        let shown = amount.display(scale).to_string();
        let again = AmountInput::parse(&shown).map(|input| input.resolve(scale));
        assert_eq!(again, Ok(Ok(amount)), "{text} at {digits} digits");
        if text != "max" {
            assert_eq!(significant(&shown), significant(&text), "{text} at {digits} digits");
        }
    }
}

/// The digits that say how much it is.
fn significant(text: &str) -> (&str, &str) {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    (whole.trim_start_matches('0'), fraction.trim_end_matches('0'))
}

/// A text that can be an external id is kept as it is, and stands for one id that is none of the reserved ones.
pub(crate) fn external_id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(named) = ExternalId::try_new(&text) {
        assert_eq!(named.text(), text);
        assert!(named.id() != 0 && named.id() != u128::MAX);
        assert_eq!(ExternalId::try_new(&text).map(|named| named.id()), Ok(named.id()));
    }
}
