//! How single values are described in the OpenAPI text: ids, amounts, times, flags and metadata, as they are read and as they are shown.

use std::borrow::Cow;

use florin_engine::{AccountFlags, TransferFlags};
use utoipa::openapi::schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{KnownFormat, RefOr, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::values::{
    Decimal64, FlagList, FlagNames, Id, Money, MoneyNumber, NumberId, Time, Verbatim,
};

macro_rules! schema {
    ($($(#[$doc:meta])* $name:ident = $build:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T($build)
            }
        }

        impl ToSchema for $name {}
    )*};
}

macro_rules! shown_as {
    ($($value:ty => $schema:ident;)*) => {$(
        impl PartialSchema for $value {
            fn schema() -> RefOr<Schema> {
                $schema::schema()
            }
        }

        impl ToSchema for $value {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($schema))
            }
        }
    )*};
}

fn text(description: &str, pattern: &str, example: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(Some(pattern))
        .examples([example])
}

fn bytes(description: &str) -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Binary)))
        .description(Some(description))
        .into()
}

fn whole_number(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).description(Some(description))
}

const ID_PATTERN: &str =
    "^([0-9]{1,39}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|ext:[!-~]{1,128})$";
const DATA_128_PATTERN: &str = "^([0-9]{1,39}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$";
const SUM_PATTERN: &str = r"^-?([0-9]+(\.[0-9]+)?|max)$";
const AMOUNT_PATTERN: &str = r"^([0-9]+(\.[0-9]+)?|max)$";

schema! {
    /// The schema of a binary batch.
    BinaryBatch = bytes(
        "A binary batch, little-endian: a header of 16 bytes (`FLRB`, version 1, kind 1 for transfers or 2 for accounts, how many events, zero) and 128 bytes for each event, laid out \
         as api/BINARY.md says. Amounts are minor units, the ledger is named; metadata, external ids, conditions and `effective_at` go as JSON",
    );
    /// The schema of the answer to a binary batch.
    BinaryOutcomes = bytes(
        "The answer to a binary batch, little-endian: a header of 64 bytes (counts, first and last timestamp, position) and 16 bytes for each event that was not created: its index, \
         0 where it existed already or else the number of the refusal, and when what existed was created",
    );
    /// The schema of an id in answers.
    IdShown = text(
        "A 128-bit id: decimal below 2^64, else a lower-case UUID",
        "^([0-9]{1,20}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$",
        "1",
    )
    .into();
    /// The schema of an id in paths and queries.
    IdText = text(
        "A 128-bit id: decimal, a hyphenated UUID, or `ext:` and a text of your own, percent-encoded",
        ID_PATTERN,
        "1",
    )
    .into();
    /// The schema of a text that an id stands for.
    ExternalIdShown = text(
        "The text that it was created by, as `ext:` and this text; its id is the UUIDv5 of the text in the namespace eca5d0dc-b315-5162-9531-fd9f8dcbd0ed",
        "^[!-~]{1,128}$",
        "order-4711",
    )
    .into();
    /// The schema of a caller's 128-bit reference in queries.
    Data128Text = text("128 bits: decimal, or a hyphenated UUID", DATA_128_PATTERN, "1").into();
    /// The schema of a caller's 128-bit reference in bodies.
    Data128Input = AnyOfBuilder::new()
        .item(whole_number("An integer from 0 to 2^128-1"))
        .item(text("The same as a decimal string, or a hyphenated UUID", DATA_128_PATTERN, "1"))
        .into();
    /// The schema of an id in bodies.
    IdInput = AnyOfBuilder::new()
        .item(whole_number("An integer from 0 to 2^128-1; 0 and 2^128-1 are rejected with their status"))
        .item(text(
            "The same as a decimal string, a hyphenated UUID, or `ext:` and a text of your own: 1 to 128 visible ASCII characters, whose UUIDv5 is the id",
            ID_PATTERN,
            "1",
        ))
        .description(Some("A 128-bit id, 1 to 2^128-2"))
        .into();
    /// The schema of an amount in answers.
    MoneyShown = text(
        "Major units with exactly the ledger's digits after the point",
        r"^-?[0-9]+(\.[0-9]+)?$",
        "12.50",
    )
    .into();
    /// The schema of an amount in bodies.
    MoneyInput = AnyOfBuilder::new()
        .item(text("Major units; `max` is the largest amount", AMOUNT_PATTERN, "12.50"))
        .item(ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).description(Some(
            "Major units, read digit for digit; no exponent",
        )))
        .description(Some("An amount in major units, with at most the ledger's digits after the point"))
        .into();
    /// The schema of a sum in bodies, which may be below zero.
    SumInput = AnyOfBuilder::new()
        .item(text("Major units", SUM_PATTERN, "-12.50"))
        .item(ObjectBuilder::new().schema_type(Type::Number).description(Some(
            "Major units, read digit for digit; no exponent",
        )))
        .description(Some("A sum in major units, with at most the ledger's digits after the point"))
        .into();
    /// The schema of an amount in queries.
    MoneyText = text("Major units", AMOUNT_PATTERN, "12.50").into();
    /// The schema of an amount in the short forms.
    MoneyAsNumber = ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some("Major units with exactly the ledger's digits after the point"))
        .into();
    /// The schema of an id in the short forms.
    IdAsNumber = AnyOfBuilder::new()
        .item(whole_number("The id, below 2^53"))
        .item(text("The id, from 2^53 on", DATA_128_PATTERN, "9007199254740993"))
        .into();
    /// The schema of a 64-bit integer in answers.
    Decimal64Shown = text("An unsigned 64-bit integer", "^[0-9]{1,20}$", "0").into();
    /// The schema of a 64-bit integer in bodies.
    Decimal64Input = AnyOfBuilder::new()
        .item(whole_number("An unsigned 64-bit integer"))
        .item(text("The same as a decimal string", "^[0-9]{1,20}$", "0"))
        .into();
    /// The schema of a moment.
    TimeShown = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
        .description(Some("RFC 3339, in UTC with nanoseconds"))
        .into();
    /// The schema of metadata.
    MetadataObject = ObjectBuilder::new()
        .schema_type(Type::Object)
        .additional_properties(Some(utoipa::openapi::schema::AdditionalProperties::FreeForm(true)))
        .description(Some("A JSON object, at most 4 KiB and 8 levels deep"))
        .into();
    /// The schema of an account's flags.
    AccountFlagNames = flag_array::<AccountFlags>();
    /// The schema of a transfer's flags.
    TransferFlagNames = flag_array::<TransferFlags>();
}

fn flag_array<F: FlagNames>() -> Schema {
    utoipa::openapi::schema::ArrayBuilder::new()
        .items(
            ObjectBuilder::new()
                .schema_type(SchemaType::new(Type::String))
                .enum_values(Some(F::names().iter().map(|(_, name)| *name))),
        )
        .unique_items(true)
        .into()
}

shown_as! {
    Id => IdShown;
    Decimal64 => Decimal64Shown;
    Money => MoneyShown;
    MoneyNumber => MoneyAsNumber;
    NumberId => IdAsNumber;
    Time => TimeShown;
    Verbatim<'_> => MetadataObject;
    FlagList<AccountFlags> => AccountFlagNames;
    FlagList<TransferFlags> => TransferFlagNames;
}
