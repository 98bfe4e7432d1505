//! Certificates that others ask for: PKCS #10 requests made, read, and signed (RFC 2986).

use super::issue::{Host, Profile, params_between};
use super::{Pair, PkiError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use meta::Time;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use ring::digest::{SHA256, digest};
use rustls::pki_types::CertificateSigningRequestDer;
use std::net::IpAddr;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

/// A new key (PKCS #8, PEM) and a request for `profile`, as base64 of PEM: what `spec.request` holds.
pub fn request(profile: &Profile) -> Result<(String, String), PkiError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, profile.common_name.as_str());
    if let Some(organization) = &profile.organization {
        params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
    }
    for host in &profile.hosts {
        params.subject_alt_names.push(match host {
            Host::Name(name) => SanType::DnsName(name.as_str().try_into()?),
            Host::Ip(ip) => SanType::IpAddress(*ip),
        });
    }
    let pem = params.serialize_request(&key)?.pem()?;
    Ok((key.serialize_pem(), STANDARD.encode(pem)))
}

/// Bytes as JSON holds them.
pub fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// What a request asks to be certified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// CommonName; the last one, as Go has it.
    pub common_name: String,
    /// Each Organization.
    pub organizations: Vec<String>,
    /// Alternative names that are DNS names.
    pub dns_names: Vec<String>,
    /// Alternative names that are addresses.
    pub ip_addresses: Vec<IpAddr>,
    /// Alternative names that are e-mail addresses.
    pub email_addresses: Vec<String>,
    /// Alternative names that are URIs.
    pub uris: Vec<String>,
    /// Whether it asks for something else that nobody of us certifies.
    pub others: bool,
}

impl Asked {
    /// Reads `spec.request` of a CertificateSigningRequest as it stands in JSON.
    pub fn from_base64(request: &str) -> Result<Self, String> {
        Self::from_pem(&STANDARD.decode(request).map_err(|_| KIND)?)
    }

    /// Reads a request. The error is what upstream's parser says.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der = der_of(pem)?;
        let (_, request) = X509CertificationRequest::from_der(&der).map_err(|e| e.to_string())?;
        let info = &request.certification_request_info;
        let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().map(str::to_owned);
        let mut asked = Self::default();
        for name in info.subject.iter_common_name() {
            asked.common_name = text(name).map_err(|e| e.to_string())?;
        }
        for organization in info.subject.iter_organization() {
            asked.organizations.push(text(organization).map_err(|e| e.to_string())?);
        }
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            names.general_names.iter().for_each(|name| asked.name(name));
        }
        Ok(asked)
    }

    fn name(&mut self, name: &GeneralName<'_>) {
        match name {
            GeneralName::DNSName(name) => self.dns_names.push((*name).to_owned()),
            GeneralName::RFC822Name(address) => self.email_addresses.push((*address).to_owned()),
            GeneralName::URI(uri) => self.uris.push((*uri).to_owned()),
            GeneralName::IPAddress(bytes) => {
                match (<[u8; 4]>::try_from(*bytes), <[u8; 16]>::try_from(*bytes)) {
                    (Ok(four), _) => self.ip_addresses.push(four.into()),
                    (_, Ok(sixteen)) => self.ip_addresses.push(sixteen.into()),
                    _ => self.others = true,
                }
            }
            _ => self.others = true,
        }
    }
}

const KIND: &str = "PEM block type must be CERTIFICATE REQUEST";

fn der_of(pem: &[u8]) -> Result<Vec<u8>, String> {
    let block = Pem::iter_from_buffer(pem).next().and_then(Result::ok);
    Ok(block.filter(|b| b.label == "CERTIFICATE REQUEST").ok_or(KIND)?.contents)
}

/// What is certified, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Upstream's names of usages: `client auth`.
    pub usages: Vec<String>,
    /// From when.
    pub not_before: Time,
    /// Until when.
    pub not_after: Time,
}

/// Signs what a request (PEM) asks for, on these terms; gives PEM.
pub fn sign(ca: &Pair, pem: &[u8], asked: &Asked, terms: &Terms) -> Result<String, PkiError> {
    let der = der_of(pem).map_err(|_| PkiError::Damaged("the certificate request"))?;
    // Key and signature are the request's; all else is ours to say.
    let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(der))?;
    let mut params = params_between(&asked.common_name, terms.not_before, terms.not_after);
    for organization in &asked.organizations {
        params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
    }
    for name in &asked.dns_names {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    params.subject_alt_names.extend(asked.ip_addresses.iter().map(|ip| SanType::IpAddress(*ip)));
    for address in &asked.email_addresses {
        params.subject_alt_names.push(SanType::Rfc822Name(address.as_str().try_into()?));
    }
    for uri in &asked.uris {
        params.subject_alt_names.push(SanType::URI(uri.as_str().try_into()?));
    }
    params.key_usages = terms.usages.iter().filter_map(|u| key_usage(u)).collect();
    params.extended_key_usages = terms.usages.iter().filter_map(|u| extended_usage(u)).collect();
    params.use_authority_key_identifier_extension = true;
    let issuer = Issuer::from_ca_cert_pem(&ca.cert, KeyPair::from_pem(&ca.key)?)?;
    Ok(params.signed_by(&request.public_key, &issuer)?.pem())
}

fn key_usage(usage: &str) -> Option<KeyUsagePurpose> {
    Some(match usage {
        "signing" | "digital signature" => KeyUsagePurpose::DigitalSignature,
        "key encipherment" => KeyUsagePurpose::KeyEncipherment,
        _ => return None,
    })
}

fn extended_usage(usage: &str) -> Option<ExtendedKeyUsagePurpose> {
    Some(match usage {
        "client auth" => ExtendedKeyUsagePurpose::ClientAuth,
        "server auth" => ExtendedKeyUsagePurpose::ServerAuth,
        _ => return None,
    })
}

/// A certificate (DER) as PEM.
pub fn to_pem(der: &[u8]) -> String {
    const LINE: usize = 64;
    let text = STANDARD.encode(der);
    let lines = text.as_bytes().chunks(LINE).map(|l| String::from_utf8_lossy(l) + "\n");
    format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines.collect::<String>())
}

/// By what a certificate's key is known: SHA-256 of its public key info, in hexadecimal, as kubeadm pins it
/// (`cmd/kubeadm/app/util/pubkeypin`).
pub fn fingerprint(der: &[u8]) -> Option<String> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let hash = digest(&SHA256, cert.public_key().raw);
    Some(hash.as_ref().iter().map(|b| format!("{b:02x}")).collect())
}

/// From when to when a certificate (PEM) is good.
pub fn validity(pem: &str) -> Option<(Time, Time)> {
    let block = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let (_, cert) = X509Certificate::from_der(&block.contents).ok()?;
    let validity = cert.validity();
    let time = |t: x509_parser::time::ASN1Time| Time::from_second(t.timestamp());
    Some((time(validity.not_before), time(validity.not_after)))
}

/// Whether a certificate (PEM) is for this address.
pub fn serves(pem: &str, address: IpAddr) -> bool {
    let Some(Ok(block)) = Pem::iter_from_buffer(pem.as_bytes()).next() else { return false };
    X509Certificate::from_der(&block.contents)
        .is_ok_and(|(_, cert)| super::issue::hosts(&cert).contains(&Host::Ip(address)))
}

/// CommonName and Organizations of a certificate (PEM).
pub fn subject(pem: &str) -> Option<(String, Vec<String>)> {
    let block = Pem::iter_from_buffer(pem.as_bytes()).next()?.ok()?;
    let (_, cert) = X509Certificate::from_der(&block.contents).ok()?;
    let name = cert.subject().iter_common_name().last()?.as_str().ok()?.to_owned();
    let groups = cert.subject().iter_organization();
    Some((name, groups.filter_map(|a| a.as_str().ok()).map(str::to_owned).collect()))
}
