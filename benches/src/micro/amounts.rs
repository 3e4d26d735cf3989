//! Amounts: arithmetic and texts.

use std::hint::black_box;

use florin_engine::{Amount, AmountInput, Scale};
use florin_tests::random::Random;

use super::{Case, Named, fed, unfed};

const COUNT: u64 = 1_000;
const GROUP: &str = "amounts";

pub(super) const CASES: [Named; 3] = [
    Named::new(GROUP, "added and taken away again, checked", COUNT, arithmetic),
    Named::new(GROUP, "read from a text, resolved by the ledger's digits", COUNT, read),
    Named::new(GROUP, "shown as a text", COUNT, shown),
];

fn amounts() -> Vec<Amount> {
    let mut random = Random::new(1);
    // Up to a hundred thousand, in cents.
    (0..COUNT).map(|_| Amount::from_minor(1 + random.below(10_000_000))).collect()
}

fn scale() -> Scale {
    Scale::try_new(2).expect("2 is no more than 28")
}

fn arithmetic() -> Box<dyn Case> {
    let beginning = Amount::from_minor(1 << 40);
    unfed(amounts(), move |amounts| {
        let mut balance = beginning;
        for amount in amounts.iter() {
            let sum = balance.checked_add(*amount).expect("it fits");
            balance = black_box(sum).checked_sub(*amount).expect("it was added");
        }
        assert_eq!(balance, beginning);
        balance
    })
}

fn read() -> Box<dyn Case> {
    let texts = amounts().into_iter().map(|amount| amount.display(scale()).to_string());
    let texts: Vec<String> = texts.collect();
    fed(
        (texts, amounts()),
        |_| Vec::with_capacity(COUNT as usize),
        |(texts, amounts), mut found| {
            found.extend(texts.iter().map(|text| {
                let input = AmountInput::parse(text).expect("it is an amount");
                input.resolve(scale()).expect("it has two digits")
            }));
            assert!(found.first() == amounts.first() && found.last() == amounts.last());
            found
        },
    )
}

fn shown() -> Box<dyn Case> {
    unfed(amounts(), |amounts| {
        let length =
            |amount: &Amount| amount.display(scale()).with_text(|text| black_box(text).len());
        amounts.iter().map(length).sum::<usize>()
    })
}
