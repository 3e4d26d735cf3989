//! TLS: the listener's certificate, which can change while it serves, and what clients of ours trust.
//!
//! One stack for all of it: rustls with aws-lc-rs, named wherever it is used, so that no other can come in by a default.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Where the listener's certificate and its key are; PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsFiles {
    /// The certificate, then those that lead from it to its authority.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Why TLS can not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file can not be read.
    #[error("cannot read the {what} {path}", path = .path.display())]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    /// A file has no certificate in it.
    #[error("{path} has no certificate: no section that begins with BEGIN CERTIFICATE", path = .path.display())]
    NoCertificate { path: PathBuf },
    /// A file has something in it that is no PEM or no certificate.
    #[error("{path} has a certificate that can not be read: {why}", path = .path.display())]
    Certificate { path: PathBuf, why: String },
    /// A file has no key in it, or one that can not be read.
    #[error("{path} has no private key that can be read: {why}", path = .path.display())]
    Key { path: PathBuf, why: String },
    /// The key belongs to another certificate.
    #[error(
        "the private key in {key} does not belong to the first certificate in {cert}",
        key = .files.key.display(), cert = .files.cert.display()
    )]
    Mismatch { files: TlsFiles },
    /// The library can not be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] rustls::Error),
}

/// The one provider of cryptography.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Every certificate in a file, at least one.
///
/// # Errors
/// The file can not be read, or has none, or something that is none.
pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read("certificate", path)?;
    let unreadable = |why: String| TlsError::Certificate { path: path.to_owned(), why };
    let chain = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unreadable(error.to_string()))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    for certificate in &chain {
        ParsedCertificate::try_from(certificate).map_err(|error| unreadable(error.to_string()))?;
    }
    Ok(chain)
}

/// How clients of ours speak TLS: with those who are signed for by this file, or by whom the system trusts.
///
/// # Errors
/// As [`certificates`].
pub(crate) fn trusting(file: Option<&Path>) -> Result<TlsConfig, TlsError> {
    let authorities = match file {
        Some(path) => certificates(path)?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let authorities: Vec<Certificate<'static>> =
        authorities.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    Ok(TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .unversioned_rustls_crypto_provider(provider())
        .build())
}

fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { what, path: path.to_owned(), source })
}

/// The listener's certificate and key, as they were last read.
pub(crate) struct Certificates {
    files: TlsFiles,
    current: ArcSwap<CertifiedKey>,
}

impl fmt::Debug for Certificates {
    /// Where they come from, and nothing of the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// One can not be read, has not in it what it should, or the two do not belong together.
    pub(crate) fn open(files: &TlsFiles) -> Result<Certificates, TlsError> {
        let current = ArcSwap::from_pointee(certified_key(files)?);
        Ok(Certificates { files: files.clone(), current })
    }

    /// Reads both files again. Connections that begin from then on see the new certificate.
    ///
    /// # Errors
    /// As [`Certificates::open`]; the old certificate stays in use.
    pub(crate) fn reread(&self) -> Result<(), TlsError> {
        self.current.store(Arc::new(certified_key(&self.files)?));
        Ok(())
    }

    /// How a listener speaks TLS with them: 1.2 or 1.3, and nobody has to show a certificate of his own.
    ///
    /// # Errors
    /// The library can not be set up, which no file can cause.
    pub(crate) fn server_config(self: Arc<Self>) -> Result<ServerConfig, TlsError> {
        let config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(self);
        Ok(config)
    }
}

impl ResolvesServerCert for Certificates {
    /// One certificate, whatever name is asked for: it is the client that compares it.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

fn certified_key(files: &TlsFiles) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.cert)?;
    let unusable = |why: String| TlsError::Key { path: files.key.clone(), why };
    let pem = read("private key", &files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unusable(error.to_string()))?;
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok(certified),
        Err(rustls::Error::InconsistentKeys(_)) => Err(TlsError::Mismatch { files: files.clone() }),
        Err(error) => Err(unusable(error.to_string())),
    }
}
