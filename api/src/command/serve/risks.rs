//! What the operator chose that can cost money, said aloud at the start.

use florin_actors::Durability;

use crate::config::{Config, Exposure};
use crate::keys;
use crate::tls::TlsFiles;

/// Each risk in a sentence.
pub(super) fn of(config: &Config) -> Vec<String> {
    let listen = config.listen;
    let mut risks = Vec::new();
    if config.durability == Durability::Memory {
        risks.push(
            "DURABILITY IS MEMORY: transfers are acknowledged before they are on disk, and a crash or power loss loses them; \
             never use this for money that matters"
                .to_owned(),
        );
    }
    match &config.api_keys {
        None if config.exposure == Exposure::AnyoneWhoReachesIt => risks.push(format!(
            "callers are not asked who they are: whoever reaches {listen} may move money"
        )),
        None => {}
        Some(_) if config.tls.is_none() && !listen.is_loopback() => risks.push(format!(
            "API KEYS TRAVEL IN THE CLEAR: {listen} speaks no TLS, and whoever listens on the way can use a key that he sees; \
             give --tls-cert and --tls-key, unless something in front of it encrypts"
        )),
        Some(path) if keys::anybody_can_read(path) => risks.push(format!(
            "everybody on this machine can read the keys file {}, which tells ids, names and scopes, though no key",
            path.display()
        )),
        Some(_) => {}
    }
    if let Some(TlsFiles { key, .. }) = &config.tls
        && keys::anybody_can_read(key)
    {
        risks.push(format!(
            "everybody on this machine can read the private key {}: `chmod o-r` it",
            key.display()
        ));
    }
    risks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ListenAddress;

    #[test]
    fn what_can_cost_money_is_said() {
        let check = |change: fn(&mut Config), expected: &str| {
            let mut config = Config::of_own_server("data".into()).unwrap();
            change(&mut config);
            let risks = of(&config).join("; ");
            let fits =
                if expected.is_empty() { risks.is_empty() } else { risks.contains(expected) };
            assert!(fits, "{risks}");
        };
        check(|_| {}, "");
        check(|config| config.durability = Durability::Memory, "DURABILITY IS MEMORY");
        check(
            |config| config.exposure = Exposure::AnyoneWhoReachesIt,
            "whoever reaches 127.0.0.1:0",
        );
        check(|config| config.api_keys = Some("/nowhere/keys".into()), "");
        check(
            |config| {
                config.listen = ListenAddress(([0, 0, 0, 0], 80).into());
                config.api_keys = Some("/nowhere/keys".into());
            },
            "API KEYS TRAVEL IN THE CLEAR: 0.0.0.0:80",
        );
        check(
            |config| {
                config.listen = ListenAddress(([0, 0, 0, 0], 80).into());
                config.api_keys = Some("/nowhere/keys".into());
                let (cert, key) = ("/nowhere/c".into(), "/nowhere/k".into());
                config.tls = Some(TlsFiles { cert, key });
            },
            "",
        );
    }

    #[test]
    fn secrets_that_everybody_can_read_are_said() {
        use std::os::unix::fs::PermissionsExt;
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("file");
        std::fs::write(&path, "").unwrap();
        let mut config = Config::of_own_server("data".into()).unwrap();
        config.api_keys = Some(path.clone());
        config.tls = Some(TlsFiles { cert: path.clone(), key: path.clone() });
        for (mode, expected) in [(0o600, 0), (0o640, 0), (0o644, 2)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let risks = of(&config);
            let told = risks.iter().filter(|risk| risk.contains("everybody on this machine"));
            assert_eq!(told.count(), expected, "{mode:o}: {risks:?}");
        }
    }
}
