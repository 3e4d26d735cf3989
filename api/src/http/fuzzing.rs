//! What must hold of any text that a caller sends: for the fuzzer and for the tests that replay its corpora. Each function panics where it does not.

use florin_engine::{AccountId, TransferFlags, TransferId};
use serde_json::value::{RawValue, to_raw_value};

use super::key;
use super::query::Query;
use super::wire::changes::{NewMetadata, NewOverdraftLimit, NewReversal, SettleTransaction};
use super::wire::input::{
    IdsToFind, NewAccount, NewLedger, NewTransaction, NewTransfer, SettleTransfer, ShortAccount,
    ShortTransfer,
};
use super::wire::json::{Events, Place, read};
use super::wire::metadata;
use super::wire::values::{self, Id};

const NAMED: TransferId = TransferId(7);

/// A body of any route is read or refused, and read as the same again. The first byte says which route.
///
/// # Panics
/// It is not.
pub fn json_body(data: &[u8]) {
    let Some((route, body)) = data.split_first() else { return };
    // Ids that are made are new each time, so those have another word for what they are.
    let unnamed = || NAMED;
    let decode = || match route % 14 {
        0 => shown(read(body, Place::Object).map(|it: NewAccount<'_>| it.decode().ok())),
        1 => shown(read(body, Place::Object).map(|it: NewTransfer<'_>| it.decode(unnamed).ok())),
        2 => shown(read(body, Place::Batch).map(|it: Events<NewTransfer<'_>>| {
            it.0.iter().map(|it| it.decode(unnamed).ok()).collect::<Vec<_>>()
        })),
        3 => shown(read(body, Place::Batch).map(|it: Events<NewAccount<'_>>| {
            it.0.iter().map(|it| it.decode().ok()).collect::<Vec<_>>()
        })),
        4 => shown(read(body, Place::Object).map(|it: NewTransaction<'_>| it.decode().is_ok())),
        5 => shown(read(body, Place::Object).map(|it: SettleTransfer<'_>| {
            it.decode(NAMED, TransferFlags::POST_PENDING_TRANSFER).is_ok()
        })),
        6 => shown(read(body, Place::Object).map(|it: SettleTransfer<'_>| {
            it.decode(NAMED, TransferFlags::VOID_PENDING_TRANSFER).is_ok()
        })),
        7 => shown(read(body, Place::Object).map(|it: NewReversal<'_>| it.decode(NAMED).is_ok())),
        8 => shown(read(body, Place::Object).map(|it: SettleTransaction<'_>| it.decode().is_ok())),
        9 => shown(
            read(body, Place::Object).map(|it: NewOverdraftLimit<'_>| it.decode(AccountId(1)).ok()),
        ),
        10 => {
            shown(read(body, Place::Object).map(|it: NewMetadata<'_>| it.decode(AccountId(1)).ok()))
        }
        11 => shown(read(body, Place::Object).map(|it: IdsToFind<'_>| it.decode().ok())),
        12 => shown(read(body, Place::Object).map(|it: ShortTransfer<'_>| it.decode().is_ok())),
        _ => shown(read(body, Place::Object).map(|it: ShortAccount<'_>| it.decode().ok())),
    };
    assert_eq!(decode(), decode());
    let _ = read(body, Place::Object).map(|it: NewLedger<'_>| it.decode());
}

fn shown<T: std::fmt::Debug, E>(outcome: Result<T, E>) -> Option<String> {
    outcome.ok().map(|value| format!("{value:?}"))
}

/// Metadata that can be read is kept as a text that means the same, and is kept as it is when it comes back.
///
/// # Panics
/// It is not.
pub fn metadata(data: &[u8]) {
    let Ok(raw) = serde_json::from_slice::<&RawValue>(data) else { return };
    let Ok(Some(kept)) = metadata::read(raw) else { return };
    let again: &RawValue = serde_json::from_str(&kept.text).expect("what is kept is JSON");
    let again = metadata::read(again).expect("what is kept can be read");
    assert_eq!(again.as_ref(), Some(&kept));
    assert!(kept.text.len() <= metadata::TEXT_BYTES_MAX);
}

/// An id that can be read is shown as what means the same id, in a path and in a body, as a string or a number.
///
/// # Panics
/// It is not.
pub fn id(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let quoted = to_raw_value(&*text).expect("a text can be written");
    let by_text = values::id_text(&text).ok();
    assert_eq!(values::id(&quoted).ok(), by_text);
    if let Ok(raw) = serde_json::from_str::<&RawValue>(&text)
        && !raw.get().starts_with('"')
        && let Ok(number) = values::id(raw)
    {
        assert_eq!(values::id_text(raw.get()).ok(), Some(number));
    }
    let Some(id) = by_text else { return };
    let shown = Id(id).to_string();
    assert_eq!(values::id_text(&shown).ok(), Some(id));
    if let Ok(named) = values::new_id(&quoted)
        && let Some(external_id) = named.external_id
    {
        assert_eq!(format!("ext:{}", external_id.text()), text);
        assert_eq!(external_id.id(), id);
    }
}

/// A key that can be read is the same in quotes.
///
/// # Panics
/// It is not.
pub fn idempotency_key(data: &[u8]) {
    let Ok(text) = key::read(data) else { return };
    assert!((1..=255).contains(&text.len()) && text.iter().all(u8::is_ascii_graphic));
    let mut quoted = vec![b'"'];
    for byte in text.iter() {
        if matches!(byte, b'"' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*byte);
    }
    quoted.push(b'"');
    assert_eq!(key::read(&quoted).ok().as_deref(), Some(&*text));
}

/// A query is read or refused, and every value of it is.
///
/// # Panics
/// Never.
pub fn query(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(mut query) = Query::read(&text) else { return };
    let _ = query.properties();
    let _ = query.limit();
    let _ = query.id("account_id");
    let _ = query.value("min_amount", values::amount_text);
    let _ = query.text("cursor").map(|text| text.parse::<florin_persistence::store::Cursor>());
    let _ = query.finish();
}

/// A time that can be read is in the range that the durable format has.
///
/// # Panics
/// It is not.
pub fn time(data: &[u8]) {
    if let Ok(time) = values::time_text(&String::from_utf8_lossy(data)) {
        assert!(time.0 < 1 << 63);
    }
}
