//! Making certificates, and telling whether one still serves.

use super::{Pair, PkiError};
use meta::Time;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use std::net::IpAddr;
use std::time::Duration;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

const DAY: i64 = 24 * 60 * 60;
/// Life of the CA.
const CA_SECONDS: i64 = 10 * 365 * DAY;
/// Life of every other certificate.
const LEAF_SECONDS: i64 = 365 * DAY;
/// A certificate with less than this left is renewed at the next start.
const RENEW_BEFORE_SECONDS: i64 = 30 * DAY;
/// Certificates are good from a little before they are made, for peers whose clock is behind.
const BACKDATE_SECONDS: i64 = 60 * 60;

/// A host in a serving certificate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

/// What a certificate says of its owner, and what it is good for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// CommonName: the user name of a client.
    pub common_name: String,
    /// Organization: the group of a client.
    pub organization: Option<String>,
    /// Hosts of a server; without any, the certificate is a client's.
    pub hosts: Vec<Host>,
}

impl Profile {
    /// A client's certificate.
    pub fn client(common_name: &str, organization: Option<&str>) -> Self {
        let organization = organization.map(str::to_owned);
        Self { common_name: common_name.to_owned(), organization, hosts: Vec::new() }
    }

    /// A server's certificate.
    pub fn server(common_name: &str, hosts: Vec<Host>) -> Self {
        Self { common_name: common_name.to_owned(), organization: None, hosts }
    }
}

/// What all certificates have in common.
fn params(common_name: &str, now: Time, life: i64) -> CertificateParams {
    let at = |seconds| Time::from_second(now.as_second() + seconds);
    params_between(common_name, at(-BACKDATE_SECONDS), at(life))
}

/// [`params`] with both ends of the certificate's life.
pub(super) fn params_between(common_name: &str, not_before: Time, not_after: Time) -> CertificateParams {
    let since_epoch = |t: Time| Duration::from_secs(u64::try_from(t.as_second()).unwrap_or(0));
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.not_before = epoch + since_epoch(not_before);
    params.not_after = epoch + since_epoch(not_after);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

/// A CA certificate for `key` (a new one if there is none).
pub(super) fn ca(name: &str, key: Option<&str>, now: Time) -> Result<Pair, PkiError> {
    let key = match key {
        Some(pem) => KeyPair::from_pem(pem)?,
        None => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?,
    };
    let mut params = params(name, now, CA_SECONDS);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let cert = params.self_signed(&key)?;
    Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
}

/// A certificate and a new key, signed by `ca`.
pub(super) fn leaf(ca: &Pair, profile: &Profile, now: Time) -> Result<Pair, PkiError> {
    let issuer = Issuer::from_ca_cert_pem(&ca.cert, KeyPair::from_pem(&ca.key)?)?;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = params(&profile.common_name, now, LEAF_SECONDS);
    if let Some(organization) = &profile.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![match profile.hosts.is_empty() {
        true => ExtendedKeyUsagePurpose::ClientAuth,
        false => ExtendedKeyUsagePurpose::ServerAuth,
    }];
    for host in &profile.hosts {
        params.subject_alt_names.push(match host {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Ip(ip) => SanType::IpAddress(*ip),
        });
    }
    let cert = params.signed_by(&key, &issuer)?;
    Ok(Pair { cert: cert.pem(), key: key.serialize_pem() })
}

/// A new P-256 key in PKCS #8, as PEM: private and public.
pub(super) fn signing_key() -> Result<(String, String), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

/// Whether `pair` can go on being used: certificate and key belong together, it is signed by `ca`, names what
/// `profile` asks for, and has enough time left.
pub(super) fn still_serves(pair: &Pair, ca: &Pair, profile: &Profile, now: Time) -> bool {
    let (Some(der), Some(ca_der)) = (pair.cert_der(), ca.cert_der()) else { return false };
    let (Ok((_, cert)), Ok((_, ca))) = (X509Certificate::from_der(&der), X509Certificate::from_der(&ca_der))
    else {
        return false;
    };
    let name = cert.subject();
    let names: Vec<&str> = name.iter_common_name().filter_map(|a| a.as_str().ok()).collect();
    let organizations: Vec<&str> = name.iter_organization().filter_map(|a| a.as_str().ok()).collect();
    has_time_left(&cert, now)
        && cert.issuer() == ca.subject()
        && cert.verify_signature(Some(ca.public_key())).is_ok()
        && is_key_of(&pair.key, &cert)
        && names == [profile.common_name.as_str()]
        && organizations == profile.organization.as_deref().into_iter().collect::<Vec<_>>()
        && profile.hosts.iter().all(|h| hosts(&cert).contains(h))
}

/// Whether the CA has enough time left.
pub(super) fn ca_still_serves(pair: &Pair, now: Time) -> Result<bool, PkiError> {
    let der = pair.cert_der().ok_or(PkiError::Damaged("the CA certificate"))?;
    let (_, cert) = X509Certificate::from_der(&der).map_err(|_| PkiError::Damaged("the CA certificate"))?;
    if !cert.is_ca() || !is_key_of(&pair.key, &cert) {
        return Err(PkiError::Damaged("the CA: certificate and key don't belong together"));
    }
    Ok(has_time_left(&cert, now))
}

/// Subject CommonName of a certificate.
pub(super) fn common_name(pair: &Pair) -> Option<String> {
    let der = pair.cert_der()?;
    let (_, cert) = X509Certificate::from_der(&der).ok()?;
    cert.subject().iter_common_name().next()?.as_str().ok().map(str::to_owned)
}

fn has_time_left(cert: &X509Certificate<'_>, now: Time) -> bool {
    let validity = cert.validity();
    validity.not_before.timestamp() <= now.as_second()
        && now.as_second() + RENEW_BEFORE_SECONDS < validity.not_after.timestamp()
}

fn is_key_of(key: &str, cert: &X509Certificate<'_>) -> bool {
    KeyPair::from_pem(key)
        .is_ok_and(|key| key.public_key_raw() == cert.public_key().subject_public_key.data.as_ref())
}

pub(super) fn hosts(cert: &X509Certificate<'_>) -> Vec<Host> {
    let Ok(Some(names)) = cert.subject_alternative_name() else { return Vec::new() };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(Host::Name((*name).to_owned())),
        GeneralName::IPAddress(b) => match b.len() {
            4 => <[u8; 4]>::try_from(*b).ok().map(|b| Host::Ip(b.into())),
            _ => <[u8; 16]>::try_from(*b).ok().map(|b| Host::Ip(b.into())),
        },
        _ => None,
    };
    names.value.general_names.iter().filter_map(host).collect()
}
