//! TLS to PostgreSQL servers, with the words of libpq: `sslmode` and `sslrootcert` of a URL.
//!
//! | `sslmode` | encrypted | certificate |
//! |---|---|---|
//! | `disable` | never | |
//! | `prefer` (default) | if the server can | any |
//! | `require` | always | any; with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | always | of an authority in `sslrootcert` |
//! | `verify-full` | always | that, and for the name of the host |
//!
//! Certificates of clients and channel binding are not supported. Called by `server.rs`.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Config, Socket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream as Stream;

use super::StoreError;
use super::error::whole;

/// What a URL says of the server, and how connections to it are encrypted.
pub(super) fn read(url: &str) -> Result<(Config, Tls), StoreError> {
    let (config, check) = parse(url)?;
    Ok((config, Tls::new(check)?))
}

/// What a URL says, without a look at the files that it names.
pub(super) fn parse(url: &str) -> Result<(Config, Check), StoreError> {
    // The text of the errors does not have the URL in it, which has a password.
    let wrong =
        |what: &dyn fmt::Display| StoreError::unusable(format_args!("a PostgreSQL URL: {what}"));
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match name {
            "sslmode" => mode = Some(value),
            "sslrootcert" => roots = Some(decoded(value)),
            "sslcert" | "sslkey" => return Err(wrong(&format_args!("`{name}` is not supported"))),
            _ => rest.push(pair),
        }
    }
    let mut config: Config = [place, "?", &rest.join("&")]
        .concat()
        .parse()
        .map_err(|error: tokio_postgres::Error| wrong(&whole(&error)))?;
    let check = match (mode.unwrap_or("prefer"), roots) {
        ("disable" | "prefer", _) | ("require", None) => Check::Nothing,
        ("require" | "verify-ca", Some(file)) => Check::Authority(file),
        ("verify-full", Some(file)) => Check::Name(file),
        (mode @ ("verify-ca" | "verify-full"), None) => {
            let what = format_args!("`sslmode={mode}` needs `sslrootcert`, a file of certificates")
                .to_string();
            return Err(wrong(&what));
        }
        (_, _) => {
            let modes = "disable, prefer, require, verify-ca and verify-full";
            return Err(wrong(&format_args!("`sslmode` is one of {modes}")));
        }
    };
    config.ssl_mode(match mode {
        Some("disable") => SslMode::Disable,
        None | Some("prefer") => SslMode::Prefer,
        Some(_) => SslMode::Require,
    });
    Ok((config, check))
}

/// A value of a query, with its `%XX` replaced; `+` is itself.
fn decoded(value: &str) -> String {
    let value = ["=", &value.replace('+', "%2B")].concat();
    let mut pairs = url::form_urlencoded::parse(value.as_bytes());
    pairs.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// What must be so of the certificate of a server. The texts are names of files.
#[derive(Debug)]
pub(super) enum Check {
    Nothing,
    Authority(String),
    Name(String),
}

/// What connects.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
}

impl Tls {
    fn new(check: Check) -> Result<Tls, StoreError> {
        let provider = Arc::new(ring::default_provider());
        let (roots, is_named) = match check {
            Check::Nothing => (None, false),
            Check::Authority(file) => (Some(roots(&file, &provider)?), false),
            Check::Name(file) => (Some(roots(&file, &provider)?), true),
        };
        let verifier = Verifier { provider: provider.clone(), roots, is_named };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(StoreError::unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Tls { connector: Arc::new(config).into() })
    }
}

fn roots(
    file: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, StoreError> {
    let wrong = |what: &dyn fmt::Display| {
        StoreError::unusable(format_args!("the certificates in {file}: {what}"))
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .build()
        .map_err(|error| wrong(&error))
}

/// Checks certificates as far as `sslmode` wants it. That whoever has sent one has its key too is
/// checked always.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Authorities that are believed; `None`: any certificate will do.
    roots: Option<Arc<WebPkiServerVerifier>>,
    /// The certificate must be for the host.
    is_named: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        // The name is what is checked last there.
        match roots.verify_server_cert(certificate, chain, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.is_named => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Encrypted;
    type TlsConnect = Handshake;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Self::Error> {
        // Over a Unix socket, which has no such name, nothing is encrypted.
        let host = if host.is_empty() { "localhost" } else { host };
        let name = ServerName::try_from(host)?.to_owned();
        Ok(Handshake { connector: self.connector.clone(), name })
    }
}

/// A connection that is about to be encrypted.
pub(super) struct Handshake {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { self.connector.connect(self.name, socket).await.map(Encrypted) })
    }
}

/// An encrypted connection.
pub(super) struct Encrypted(Stream<Socket>);

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_how_connections_are_encrypted() {
        let mode = |query: &str| {
            let url = format!("postgres://user:secret@host/db{query}");
            read(&url).map(|(config, _)| config.get_ssl_mode()).map_err(|error| error.to_string())
        };
        assert_eq!(mode(""), Ok(SslMode::Prefer));
        assert_eq!(mode("?"), Ok(SslMode::Prefer));
        assert_eq!(mode("?application_name=x&sslmode=disable"), Ok(SslMode::Disable));
        assert_eq!(mode("?sslmode=prefer"), Ok(SslMode::Prefer));
        assert_eq!(mode("?sslmode=require&connect_timeout=3"), Ok(SslMode::Require));
        for (query, expect) in [
            ("?sslmode=verify-full", "`sslmode=verify-full` needs `sslrootcert`"),
            ("?sslmode=allow", "`sslmode` is one of disable"),
            ("?sslmode", "`sslmode` is one of disable"),
            ("?sslkey=x", "`sslkey` is not supported"),
            ("?sslmode=verify-ca&sslrootcert=/no/such%20file", "certificates in /no/such file"),
            ("?colour=red", "unknown option `colour`"),
        ] {
            let error = mode(query).expect_err(query);
            assert!(error.contains(expect) && !error.contains("secret"), "{query}: {error}");
        }
        assert_eq!(decoded("a%20b+c%2B"), "a b+c+");
    }
}
