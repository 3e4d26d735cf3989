//! Who may come in: the one place where a request is asked who sends it.
//!
//! It is asked before the body is read, and once. What comes of it, a [`Caller`], goes with the request; other ways to say who
//! one is would make one here.

use std::fmt;

use actix_web::http::header::{self, HeaderMap};

use crate::keys::{AuthFailure, Holder, Keyring, Scope};

/// What a route asks of those who use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Door {
    /// Nothing.
    Open,
    /// A key with at least this scope, where the server has keys.
    Needs(Scope),
}

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Nobody was asked: the route is open, or the server has no keys.
    Anyone,
    /// The holder of a key.
    Holder(Holder),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Caller::Anyone => f.write_str("anyone"),
            Caller::Holder(Holder { key, scope }) => write!(f, "key {key} ({scope})"),
        }
    }
}

impl Door {
    /// Lets the sender of a request with these headers in.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(
        self,
        keys: Option<&Keyring>,
        headers: &HeaderMap,
    ) -> Result<Caller, AuthFailure> {
        let (Door::Needs(needs), Some(keys)) = (self, keys) else {
            return Ok(Caller::Anyone);
        };
        let holder = keys.holder(bearer(headers)?)?;
        if holder.scope < needs {
            return Err(AuthFailure::Scope { needs, has: holder.scope });
        }
        Ok(Caller::Holder(holder))
    }
}

/// What stands after `Bearer` in the one `Authorization` header.
fn bearer(headers: &HeaderMap) -> Result<&[u8], AuthFailure> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let value = values.next().ok_or(AuthFailure::Missing)?;
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len()).unwrap_or_default();
    if values.next().is_some() || !scheme.eq_ignore_ascii_case(b"Bearer ") {
        return Err(AuthFailure::Malformed);
    }
    Ok(token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;
    use crate::keys;

    #[test]
    fn only_a_good_key_in_one_header_comes_in() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("keys.toml");
        let (token, _) = keys::add(&path, None, Scope::Write).unwrap();
        let keyring = Keyring::open(&path).unwrap();
        let key = token.reveal();
        let admit = |door: Door, values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            door.admit(Some(&keyring), &headers)
        };
        let check = |values: &[&str], expected: Result<(), AuthFailure>| {
            let admitted = admit(Door::Needs(Scope::Read), values);
            assert_eq!(admitted.map(|_| ()), expected, "{values:?}");
            assert_eq!(admit(Door::Open, values), Ok(Caller::Anyone), "{values:?}");
        };
        check(&[&format!("Bearer {key}")], Ok(()));
        check(&[&format!("bearer   {key}")], Ok(()));
        check(&[], Err(AuthFailure::Missing));
        for malformed in
            [&key, "Bearer", "Bearer ", &format!("Basic {key}"), &format!("Bearer{key}")]
        {
            check(&[malformed], Err(AuthFailure::Malformed));
        }
        let good = format!("Bearer {key}");
        check(&[&good, &good], Err(AuthFailure::Malformed));

        let caller = admit(Door::Needs(Scope::Write), &[&good]).unwrap();
        assert_eq!(caller.to_string(), format!("key {} (write)", token.id()));
        let failure = AuthFailure::Scope { needs: Scope::Admin, has: Scope::Write };
        assert_eq!(admit(Door::Needs(Scope::Admin), &[&good]), Err(failure));
        let nobody_asks = Door::Needs(Scope::Admin).admit(None, &HeaderMap::new());
        assert_eq!(nobody_asks, Ok(Caller::Anyone));
    }
}
